"""The contract between objectives and the trainer: a sum of losses and the number of terms in it.

An objective never averages. The trainer divides once, by the count over all micro-batches and all processes, so that
one batch of N examples, N batches of one and two processes give the same gradient, however ragged the labels are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor, nn

from plm_core.data.batch import Batch


@dataclass(frozen=True)
class LossParts:
    """What an objective returns for one batch.

    Attributes:
        total: the *sum* of the losses in nats, a scalar that carries the gradient.
        counted: the number of summed terms (predicted tokens, pairs, ...), on the device of the loss.
        metrics: further sums over the same terms, for example ``correct``; dividing by the count gives their mean.
    """

    total: Tensor
    counted: Tensor | int
    metrics: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of summed terms as a number. On a GPU the host waits for it; a trainer counts the labels instead,
        before they are moved (:meth:`Objective.count`)."""
        return int(self.counted)

    def sums(self) -> dict[str, Tensor]:
        """All sums by name: the loss and the metrics."""
        return {"loss": self.total, **self.metrics}


class Objective(ABC):
    """One training task. A subclass defines which entries of the batch the model needs and how its output is scored.

    Splitting the forward pass from the score lets :class:`Joint` run a shared trunk once for several tasks.
    """

    name: str

    def prepare(self, batch: Batch) -> Batch:
        """Add to a batch, while it is on the host, entries whose size depends on its values; by default none.

        Computed on a GPU, such entries would make the host wait for the device.
        """
        return batch

    def for_evaluation(self) -> Self:
        """The same task without what serves training only, such as label smoothing."""
        return self

    @abstractmethod
    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The keyword arguments of the model's forward pass."""

    @abstractmethod
    def score(self, output: Any, batch: Batch) -> LossParts:
        """Score the model's output against the batch's labels."""

    @abstractmethod
    def count(self, batch: Batch) -> int:
        """The number of terms that :meth:`score` will sum, known from the labels alone."""

    def __call__(self, model: nn.Module, batch: Batch) -> LossParts:
        """Run the model on the batch and return the sum of losses, their count and the metrics."""
        return self.score(model(**self.inputs(batch)), batch)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, LossParts]:
        """The losses by name; a plain objective has one, itself."""
        return self.scores(model(**self.inputs(batch)), batch)

    def scores(self, output: Any, batch: Batch) -> dict[str, LossParts]:
        """The losses by name for an output of the model; a name that is not the objective's own is a further term."""
        return {self.name: self.score(output, batch)}

    def counts(self, batch: Batch) -> dict[str, int]:
        """The counts by name, without running the model."""
        return {self.name: self.count(batch)}

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term's mean in the loss that is minimised."""
        return {self.name: 1.0}


class Joint:
    """Several objectives on one batch and one forward pass: the loss is the weighted sum of their *means*.

    The means are taken each by its own count: BERT's loss is the mean over masked tokens plus the mean over pairs
    (Devlin et al. 2019, appendix A.2).

    Args:
        objectives: objectives whose inputs agree wherever they overlap.
        weights: the weight of each, in the same order; all ones by default.

    Raises:
        ValueError: no objective, two of one name, or weights that do not fit.
    """

    def __init__(self, objectives: Sequence[Objective], weights: Sequence[float] | None = None) -> None:
        weights = [1.0] * len(objectives) if weights is None else list(weights)
        names = [objective.name for objective in objectives]
        if not objectives or len(set(names)) != len(names):
            raise ValueError(f"a joint objective needs at least one objective and distinct names, got {names}")
        if len(weights) != len(objectives) or any(weight < 0 for weight in weights):
            raise ValueError(f"expected {len(objectives)} weights >= 0, one for each of {names}; got {weights}")
        self.objectives = list(objectives)
        self.weights = {
            term: weight * inner
            for objective, weight in zip(objectives, weights, strict=True)
            for term, inner in objective.weights.items()
        }

    def prepare(self, batch: Batch) -> Batch:
        """Prepare a batch for every objective."""
        for objective in self.objectives:
            batch = objective.prepare(batch)
        return batch

    def for_evaluation(self) -> Joint:
        """The same tasks without what serves training only."""
        tasks = [objective.for_evaluation() for objective in self.objectives]
        return Joint(tasks, [self.weights[task.name] for task in tasks])

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, LossParts]:
        """Run the model once and score its output by every objective."""
        inputs: dict[str, Any] = {}
        for objective in self.objectives:
            inputs.update(objective.inputs(batch))
        output = model(**inputs)
        terms: dict[str, LossParts] = {}
        for objective in self.objectives:
            terms |= objective.scores(output, batch)
        return terms

    def counts(self, batch: Batch) -> dict[str, int]:
        """The counts by name, without running the model."""
        return {name: count for objective in self.objectives for name, count in objective.counts(batch).items()}

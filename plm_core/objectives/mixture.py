"""Several tasks on one model, each batch one task's: training on the mixture instead of one task after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from plm_core.data.batch import Batch
from plm_core.data.mixture import TASK
from plm_core.objectives.base import LossParts, Objective


class Mixture:
    """The objective of the task that a batch belongs to.

    A :class:`~plm_core.objectives.base.Joint` objective scores one batch by all of its tasks; here every batch has one.
    Batches come from :class:`~plm_core.data.mixture.MixtureBatches`, in the same order of tasks. How much a task counts
    is decided there, by how often it is drawn. In validation the loss is the weighted sum of the tasks' mean losses, so
    batches of every task are needed (:func:`~plm_core.data.mixture.all_tagged`).

    On several processes every task must reach the same parameters, or the processes wait for each other for ever.

    Args:
        objectives: the tasks.
        weights: the weight of each task's mean loss; all ones by default.

    Raises:
        ValueError: no task, two of one name, or weights that do not fit.
    """

    def __init__(self, objectives: Sequence[Objective], weights: Sequence[float] | None = None) -> None:
        names = [objective.name for objective in objectives]
        weights = [1.0] * len(objectives) if weights is None else list(weights)
        if not objectives or len(set(names)) != len(names):
            raise ValueError(f"a mixture needs at least one task and distinct names, got {names}")
        if len(weights) != len(objectives) or min(weights) < 0:
            raise ValueError(f"expected {len(objectives)} weights >= 0, one for each of {names}; got {weights}")
        self.objectives, self._weights = list(objectives), weights

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each task's mean loss, by name."""
        pairs = zip(self.objectives, self._weights, strict=True)
        return {name: weight * inner for task, weight in pairs for name, inner in task.weights.items()}

    def prepare(self, batch: Batch) -> Batch:
        """Prepare a batch for its task."""
        return self.task(batch).prepare(batch)

    def for_evaluation(self) -> Mixture:
        """The same tasks without what serves training only."""
        return Mixture([task.for_evaluation() for task in self.objectives], self._weights)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, LossParts]:
        """The losses of the batch's task by name."""
        return self.task(batch).terms(model, batch)

    def counts(self, batch: Batch) -> dict[str, int]:
        """The counts by name: 0 for the tasks that the batch does not belong to."""
        zeros = {name: 0 for task in self.objectives for name in task.weights}
        return zeros | self.task(batch).counts(batch)

    def task(self, batch: Batch) -> Objective:
        """The task of a batch.

        Raises:
            ValueError: the batch names no task, or one that the mixture does not have.
        """
        number = int(batch[TASK]) if TASK in batch else -1
        if not 0 <= number < len(self.objectives):
            raise ValueError(
                f"the batch should name one of {len(self.objectives)} tasks, from 0, in its entry {TASK!r}; got "
                f"{number if TASK in batch else 'none'}: make batches by MixtureBatches or all_tagged"
            )
        return self.objectives[number]

"""The steps of compression of ``plm compress``: each is a configuration that can be applied to a model.

A step keeps what earlier ones did: weights that are zero stay zero while the model recovers, integer layers stay
integers, and removed units stay removed. A step that could not keep it is refused, with the order that works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from plm_core.compression.calibration import Method, calibrate
from plm_core.compression.distill import Distillation, DistillConfig, evenly_spaced, first_blocks, smaller_copy
from plm_core.compression.gptq import round_blocks
from plm_core.compression.inputs import with_padding_mask
from plm_core.compression.low_rank import (
    factorise_model,
    fisher_rows,
    input_moments,
    row_curvature,
)
from plm_core.compression.one_shot import Pattern, keep_in_rows, sparsegpt, wanda
from plm_core.compression.prune import Masks, apply_masks, choose_masks, keep_zeros, magnitude_scores, sparsity
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear, quantize_model
from plm_core.compression.rank_budget import ranks_by_budget, spectra
from plm_core.compression.rounding import Rounding, quantize_by_inputs
from plm_core.compression.structure import find_block_linears
from plm_core.compression.structured import importance, least_important, remove_heads, remove_neurons
from plm_core.config import Config
from plm_core.data.batch import Batch
from plm_core.objectives.base import Joint, Objective
from plm_core.runs.batches import Sources
from plm_core.runs.config import RunConfig
from plm_core.runs.open import Model
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

SAMPLE_BATCHES = 8
"""Training batches on which importance, ranges and moments are estimated."""
MAX_ZEROS = 0.01
"""Share of zeros among the weights up to which a model counts as dense."""


@dataclass(frozen=True)
class Workbench:
    """The data that a step may use besides the model."""

    sources: Sources
    """The objective and the text of the run."""
    quiet: bool
    """Whether to show no progress bars."""

    @cached_property
    def sample(self) -> list[Batch]:
        """A few training batches, on which importance, ranges and moments are estimated."""
        return [self.sources.train.batch(number) for number in range(SAMPLE_BATCHES)]

    @property
    def task(self) -> Objective:
        """The language model of the objective: the first of a joint one."""
        objective = self.sources.objective
        return objective.objectives[0] if isinstance(objective, Joint) else objective

    def read_sample(self, model: Any) -> None:
        """Run a model on the sample as the objective does, heads included."""
        score_all(self.sources.objective, self.sample, model)


def score_all(objective: Objective | Joint, batches: Sequence[Batch], model: Any) -> None:
    """Run a model on batches as its objective does, heads included; the scores are not kept. Padding is told apart."""
    with torch.no_grad():
        for batch in batches:
            objective.terms(model, with_padding_mask(batch))


@dataclass(frozen=True)
class Recovery(Config):
    """Training after a step of compression, on the run's own text."""

    steps: int = 0
    """Optimiser steps; 0 for none."""
    learning_rate: float = 5e-4
    """Peak rate, warmed up over the first tenth."""

    def validate(self) -> None:
        """Refuse a negative number of steps."""
        self.require_positive("learning_rate")
        if self.steps < 0:
            raise ValueError(f"{type(self).__name__}.steps must not be negative, got {self.steps}")

    def recover(self, model: Model, objective: Objective | Joint, bench: Workbench) -> None:
        """Train a model in place, if ``steps`` is not 0; weights that are zero stay zero.

        Raises:
            ValueError: layers that no gradient passes through.
        """
        if not self.steps:
            return
        if any(isinstance(m, QuantizedLinear) and m.config.activations != "none" for m in model.modules()):
            raise ValueError(
                "a model whose activations are integers cannot be trained: let `quantize` be the last step"
            )
        settings = TrainConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup_steps=self.steps // 10,
            eval_every=self.steps,
            log_every=max(1, self.steps // 20),
        )
        trainer = Trainer(model, objective, bench.sources.train, settings, quiet=bench.quiet)
        with keep_zeros(model, trainer.optimizer):
            trainer.fit()
        model.eval()


@dataclass(frozen=True)
class Prune(Recovery):
    """Remove weights, heads or neurons."""

    share: float = 0.5
    """Share of the weights, heads or neurons that is removed."""
    what: Literal["weights", "2:4", "heads", "neurons"] = "weights"
    """Single weights become zero, anywhere or two of every four neighbours; heads and neurons are removed, so that the
    tensors shrink."""
    by: Literal["magnitude", "wanda", "sparsegpt"] = "magnitude"
    """What decides about single weights: their size, size times input (``wanda``), or what their removal costs after
    the others have made up for it (``sparsegpt``, which changes the others). Heads and neurons go by the loss."""
    scope: Literal["global", "row"] | None = None
    """Whether the share of single weights is counted over the whole model or in every row of a weight; if null, over
    the model by magnitude, and in rows by the other two, which know nothing else."""

    def validate(self) -> None:
        """Refuse a share that removes nothing that is defined, or everything, and settings that do not go together."""
        super().validate()
        if not 0 <= self.share < 1:
            raise ValueError(f"Prune.share is the share that is removed: expected 0 <= share < 1, got {self.share}")
        if self.what in ("heads", "neurons") and (self.by != "magnitude" or self.scope):
            raise ValueError(f"Prune.by and scope are about single weights: leave them out with what={self.what}")
        if self.what == "2:4" and (self.share != 0.5 or self.scope):
            raise ValueError("the pattern 2:4 removes half of every four neighbours: leave share and scope out")
        if self.by != "magnitude" and self.scope == "global":
            raise ValueError(f"by={self.by} compares the weights of a row: use scope=row, or leave it out")

    def apply(self, model: Model, config: RunConfig, bench: Workbench) -> tuple[Model, RunConfig]:
        """Prune the model in place and let it recover.

        Raises:
            ValueError: a sparse model for ``sparsegpt``, which would fill its zeros.
        """
        if self.what in ("heads", "neurons"):
            heads, neurons = importance(model, bench.task, bench.sample)
            if self.what == "heads":
                remove_heads(model, least_important(heads, self.share))
            else:
                remove_neurons(model, least_important(neurons, self.share))
        elif self.by == "sparsegpt":
            refuse_zeros(model, "sparsegpt changes the weights that stay", "prune once, or by=wanda after another step")
            moments = input_moments(model, bench.read_sample)
            round_blocks(model, lambda w, found: sparsegpt(w, found, self.share, pattern=self.pattern), moments)
        else:
            apply_masks(model, self.masks(model, bench))
        self.recover(model, bench.sources.objective, bench)
        return model, config

    @property
    def pattern(self) -> Pattern:
        """The pattern in which rows are pruned."""
        return "2:4" if self.what == "2:4" else "row"

    def masks(self, model: Model, bench: Workbench) -> Masks:
        """The masks of the single weights that stay, chosen by magnitude or by Wanda."""
        if self.by == "wanda":
            return wanda(model, input_moments(model, bench.read_sample), self.share, pattern=self.pattern)
        scores = magnitude_scores(model)
        if self.scope == "row":
            return {name: keep_in_rows(score, self.share, "row") for name, score in scores.items()}
        return choose_masks(scores, self.share, scope="2:4" if self.what == "2:4" else "global")


@dataclass(frozen=True)
class LowRank(Recovery):
    """Replace each layer by a product of two thin ones."""

    share: float = 0.5
    """Share of each layer's weights that is kept at most."""
    weighting: Literal["none", "fisher", "activations", "loss"] = "activations"
    """What the error of the approximation is weighted by. With ``"loss"`` it is an estimate of the loss itself, and the
    share is a budget for all layers, spent where it reduces the error most; otherwise every layer keeps the share."""

    def apply(self, model: Model, config: RunConfig, bench: Workbench) -> tuple[Model, RunConfig]:
        """Factorise the layers of the model in place and let it recover.

        Raises:
            ValueError: a sparse model, whose zeros would not survive.
        """
        refuse_zeros(model, "the product of two thin layers is dense", "let `low-rank` come before `prune`")
        rows, moments = None, None
        ranks: float | dict[str, int] = self.share
        if self.weighting in ("fisher", "loss"):
            rows = fisher_rows(model, bench.task, bench.sample)
        if self.weighting in ("activations", "loss"):
            moments = input_moments(model, bench.read_sample)
        if rows is not None and moments is not None:
            rows = row_curvature(rows, moments)
            ranks = ranks_by_budget(model, self.share, spectra(model, row_weights=rows, moments=moments))
        factorise_model(model, ranks, row_weights=rows, moments=moments)
        self.recover(model, bench.sources.objective, bench)
        return model, config


@dataclass(frozen=True)
class Quantize(QuantizeConfig):
    """Replace weights by integers."""

    rounding: Rounding = "nearest"
    """How a weight becomes an integer: the nearest one, or one that is chosen by what flows into the layer (``gptq``,
    ``awq``)."""
    calibration: Method = "percentile"
    """How the ranges of static activations are chosen."""

    def validate(self) -> None:
        """Refuse combinations that cannot be computed."""
        super().validate()
        if self.rounding == "awq" and self.activations != "none":
            raise ValueError("rounding=awq divides a layer's input by scales: it needs activations=none")

    @property
    def layout(self) -> QuantizeConfig:
        """The settings of the integer layers."""
        return QuantizeConfig(**{name: getattr(self, name) for name in QuantizeConfig.__dataclass_fields__})

    def apply(self, model: Model, config: RunConfig, bench: Workbench) -> tuple[Model, RunConfig]:
        """Quantise the model in place.

        Raises:
            ValueError: a sparse model for ``gptq``, which would fill its zeros.
        """
        if self.rounding == "gptq":
            refuse_zeros(model, "gptq changes the weights that are not rounded yet", "use rounding=awq after `prune`")
        ranges = None
        if self.activations == "static":
            ranges = calibrate(model, bench.read_sample, method=self.calibration)
        if self.rounding == "nearest":
            quantize_model(model, self.layout, ranges=ranges)
        else:
            moments = input_moments(model, bench.read_sample)
            quantize_by_inputs(model, self.layout, moments, rounding=self.rounding, ranges=ranges)
        return model, config


@dataclass(frozen=True)
class Distill(Recovery):
    """Train a model of fewer blocks to predict what this one predicts."""

    steps: int = 500
    """Optimiser steps."""
    layers: int = 1
    """Blocks of the student, which starts from as many of the teacher's."""
    start: Literal["first", "evenly_spaced"] = "first"
    """Which of the teacher's blocks these are: see :func:`~plm_core.compression.distill.copy_layers`."""
    temperature: float = 2.0
    """See :class:`~plm_core.compression.distill.DistillConfig`."""
    soft_weight: float = 0.5
    """See :class:`~plm_core.compression.distill.DistillConfig`."""

    def validate(self) -> None:
        """Refuse settings that no distillation has."""
        super().validate()
        self.require_positive("layers", "steps")
        DistillConfig(temperature=self.temperature, soft_weight=self.soft_weight)

    def apply(self, model: Model, config: RunConfig, bench: Workbench) -> tuple[Model, RunConfig]:
        """Train a student on the model's predictions; a second task of the run is learned from its labels as before."""
        choose = first_blocks if self.start == "first" else evenly_spaced
        kept = choose(self.layers, model.config.num_hidden_layers)
        student = smaller_copy(model, self.layers, kept=kept)
        soft = DistillConfig(temperature=self.temperature, soft_weight=self.soft_weight)
        distillation = Distillation(bench.task, model, student, soft)
        joint = bench.sources.objective
        if isinstance(joint, Joint):
            both = Joint([distillation, *joint.objectives[1:]], list(joint.weights.values()))
            self.recover(student, both, bench)
        else:
            self.recover(student, distillation, bench)
        return student, config.replace(model={**config.model, "num_hidden_layers": self.layers})


Step = Prune | LowRank | Quantize | Distill
METHODS: Mapping[str, type[Step]] = {"prune": Prune, "low-rank": LowRank, "quantize": Quantize, "distill": Distill}


def refuse_zeros(model: Model, reason: str, order: str) -> None:
    """Refuse a sparse model where a step would fill its zeros.

    Raises:
        ValueError: more than MAX_ZEROS of the weights are zero; the reason and the order that works are named.
    """
    if find_block_linears(model) and (zeros := sparsity(model)) > MAX_ZEROS:
        raise ValueError(f"{zeros:.0%} of the weights are zero and would be filled, as {reason}: {order}")


def parse_method(text: str) -> Step:
    """Read a method and its options: ``quantize``, ``prune:what=heads,share=0.25``.

    Raises:
        ValueError: an unknown method or option, or a value that does not fit.
    """
    name, _, options = text.partition(":")
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: use one of {', '.join(METHODS)}, such as prune:what=heads")
    kind, values = METHODS[name], {}
    fields = kind.__dataclass_fields__
    for option in filter(None, options.split(",")):
        key, separator, value = option.partition("=")
        if not separator:
            raise ValueError(f"expected key=value after {name!r}, got {option!r}: its keys are {', '.join(fields)}")
        if key in values:
            raise ValueError(f"method {text!r} gives {key} twice")
        values[key] = typed(value)
    try:
        return kind.from_dict(values)
    except ValueError as error:
        raise ValueError(f"method {text!r}: {error}") from error


def typed(value: str) -> bool | int | float | str:
    """The value of a text: true or false, a number, or the text itself."""
    if value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value

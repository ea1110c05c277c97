"""Compress a trained run: one method after the other, into a folder that opens like the run itself."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from plm_core.compression.calibration import Method, calibrate
from plm_core.compression.distill import Distillation, DistillConfig, copy_layers
from plm_core.compression.low_rank import (
    factorise_model,
    fisher_rows,
    input_moments,
    ranks_by_budget,
    row_curvature,
    spectra,
)
from plm_core.compression.prune import Masks, apply_masks, choose_masks, magnitude_scores
from plm_core.compression.quantize import QuantizeConfig, quantize_model
from plm_core.compression.saved import save_compressed
from plm_core.compression.structure import stored_bytes
from plm_core.compression.structured import importance, least_important, remove_heads, remove_neurons
from plm_core.config import Config
from plm_core.data.batch import Batch
from plm_core.evaluation.validation import validate
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.objectives.base import Joint, Objective
from plm_core.runs.batches import Sources, make_sources
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import load_texts
from plm_core.runs.pretrain import CONFIG_FILE, open_run
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

SAMPLE_BATCHES = 8
"""Training batches on which importance, ranges and moments are estimated."""


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
        self.require_not_negative("steps")
        self.require_at_most(steps=10**9)


@dataclass(frozen=True)
class Prune(Recovery):
    """Take weights or whole units out."""

    share: float = 0.5
    """Of the weights, heads or neurons."""
    what: Literal["weights", "2:4", "heads", "neurons"] = "weights"
    """Single weights become zero; heads and neurons are removed, so that the tensors shrink."""

    def validate(self) -> None:
        """Refuse a share that leaves everything or nothing."""
        super().validate()
        if not 0 < self.share < 1:
            raise ValueError(f"Prune.share must lie between 0 and 1, got {self.share}: it is the part to take out")


@dataclass(frozen=True)
class LowRank(Recovery):
    """Exchange layers for thin pairs."""

    share: float = 0.5
    """Of each layer's weights, kept at most."""
    weighting: Literal["none", "fisher", "activations", "loss"] = "activations"
    """What the error of the approximation is weighted by. With ``"loss"`` it is an estimate of the loss itself, and the
    share is a budget for all layers together, spent where it takes away most; otherwise every layer keeps the share."""

    def validate(self) -> None:
        """Refuse a share that keeps nothing."""
        super().validate()
        if not 0 < self.share <= 1:
            raise ValueError(f"LowRank.share must lie in (0, 1], got {self.share}: it is the part to keep")


@dataclass(frozen=True)
class Quantize(QuantizeConfig):
    """Turn weights into integers."""

    calibration: Method = "percentile"
    """How the ranges of static activations are chosen."""

    @property
    def layout(self) -> QuantizeConfig:
        """What the layers themselves need to know."""
        return QuantizeConfig(**{name: getattr(self, name) for name in QuantizeConfig.__dataclass_fields__})


@dataclass(frozen=True)
class Distill(Recovery):
    """Train a model of fewer blocks to say what this one says."""

    steps: int = 500
    """Optimiser steps."""
    layers: int = 1
    """Blocks of the student, which starts from as many of the teacher's."""
    temperature: float = 2.0
    """See :class:`~plm_core.compression.distill.DistillConfig`."""
    soft_weight: float = 0.5
    """See :class:`~plm_core.compression.distill.DistillConfig`."""

    def validate(self) -> None:
        """Refuse a student without blocks or without training, and settings that DistillConfig refuses."""
        super().validate()
        self.require_positive("steps", "layers")
        DistillConfig(temperature=self.temperature, soft_weight=self.soft_weight)


Step = Prune | LowRank | Quantize | Distill
METHODS: Mapping[str, type[Step]] = {"prune": Prune, "low-rank": LowRank, "quantize": Quantize, "distill": Distill}


@dataclass(frozen=True)
class Stage:
    """A model after a step."""

    name: str
    bytes: int
    """Of parameters and buffers."""
    quality: Mapping[str, float]
    """Validation metrics of the run's objective."""

    def line(self, before: Stage) -> str:
        """One line for people, relative to the uncompressed model."""
        loss, share = self.quality["loss"], self.bytes / before.bytes
        return f"{self.name:<40} {self.bytes:>12,} bytes ({share:.0%})  validation loss {loss:.4f}"


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
            raise ValueError(f"method {text!r}: {key} is given twice")
        values[key] = typed(value)
    try:
        return kind.from_dict(values)
    except ValueError as error:
        raise ValueError(f"method {text!r}: {error}") from error


def typed(value: str) -> bool | int | float | str:
    """The value that a text stands for: true or false, a number, or itself."""
    if value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def compress_run(run: Path, output: Path, methods: Sequence[str], *, quiet: bool = False) -> list[Stage]:
    """Compress the best weights of a run and write the result.

    Args:
        run: the output folder of ``plm train`` or of this function.
        output: the folder to make: configuration, tokenizer, structure and weights.
        methods: what to do, in this order, as :func:`parse_method` reads it.
        quiet: show no progress bars.

    Returns:
        The model before the first step and after each one, with its validation metrics. What is estimated on text is
        estimated on training text.

    Raises:
        FileNotFoundError: no such run.
        FileExistsError: the output folder is not empty.
        ValueError: no method, an unknown one, or one that does not fit the model.
    """
    if not methods:
        raise ValueError(f"nothing to do: name at least one --method, of {', '.join(METHODS)}")
    steps = [parse_method(text) for text in methods]
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"{output} is not empty: choose another folder")
    config, tokenizer, model = open_run(run)
    texts = load_texts(config)
    with tempfile.TemporaryDirectory() as scratch:
        sources = make_sources(config, texts, tokenizer, Path(scratch))
        stages = [stage("as trained", model, sources)]
        for text, step in zip(methods, steps, strict=True):
            model, config = apply(step, model, config, sources, quiet=quiet)
            stages.append(stage(text, model, sources))
    output.mkdir(parents=True, exist_ok=True)
    save_compressed(model, output)
    tokenizer.save(output)
    config.save(output / CONFIG_FILE)
    return stages


def stage(name: str, model: Bert | Gpt, sources: Sources) -> Stage:
    """Measure a model."""
    return Stage(name, stored_bytes(model), validate(model, sources.objective, sources.valid))


def apply(
    step: Step, model: Bert | Gpt, config: RunConfig, sources: Sources, *, quiet: bool
) -> tuple[Bert | Gpt, RunConfig]:
    """One step: returns the smaller model, and the configuration that now describes it."""
    sample = [sources.train.batch(number) for number in range(SAMPLE_BATCHES)]
    if isinstance(step, Distill):
        return distilled(step, model, config, sources, quiet=quiet)
    if isinstance(step, Quantize):
        ranges = None
        if step.activations == "static":
            ranges = calibrate(model, partial(score_all, sources.objective, sample), method=step.calibration)
        quantize_model(model, step.layout, ranges=ranges)
        return model, config
    masks: Masks = {}
    if isinstance(step, LowRank):
        task = main_task(sources.objective)
        rows, moments = None, None
        ranks: float | dict[str, int] = step.share
        if step.weighting in ("fisher", "loss"):
            rows = fisher_rows(model, task, sample)
        if step.weighting in ("activations", "loss"):
            moments = input_moments(model, partial(score_all, sources.objective, sample))
        if rows is not None and moments is not None:
            rows = row_curvature(rows, moments)
            ranks = ranks_by_budget(model, step.share, spectra(model, row_weights=rows, moments=moments))
        factorise_model(model, ranks, row_weights=rows, moments=moments)
    elif step.what in ("heads", "neurons"):
        heads, neurons = importance(model, main_task(sources.objective), sample)
        if step.what == "heads":
            remove_heads(model, least_important(heads, step.share))
        else:
            remove_neurons(model, least_important(neurons, step.share))
    else:
        masks = choose_masks(magnitude_scores(model), step.share, scope="2:4" if step.what == "2:4" else "global")
        apply_masks(model, masks)
    if step.steps:
        trainer = make_trainer(step, model, sources.objective, sources, quiet=quiet)
        trainer.optimizer.register_step_post_hook(lambda *_: apply_masks(model, masks))  # the zeros stay zeros
        trainer.fit()
    return model.eval(), config


def distilled(
    step: Distill, teacher: Bert | Gpt, config: RunConfig, sources: Sources, *, quiet: bool
) -> tuple[Bert | Gpt, RunConfig]:
    """A student of fewer blocks, trained on its teacher's words; another task of the run is learned as before."""
    small = config.replace(model={**config.model, "num_hidden_layers": step.layers})
    student = type(teacher)(teacher.config.replace(num_hidden_layers=step.layers))  # type: ignore[arg-type]
    copy_layers(teacher, student)
    soft = DistillConfig(temperature=step.temperature, soft_weight=step.soft_weight)
    task: Objective | Joint = Distillation(main_task(sources.objective), teacher, student, soft)
    if isinstance(sources.objective, Joint):
        others = sources.objective.objectives[1:]
        task = Joint([task, *others], list(sources.objective.weights.values()))  # type: ignore[list-item]
    make_trainer(step, student, task, sources, quiet=quiet).fit()
    return student.eval(), small


def make_trainer(
    step: Recovery, model: Bert | Gpt, objective: Objective | Joint, sources: Sources, *, quiet: bool
) -> Trainer:
    """A trainer in memory for the steps of recovery or distillation."""
    settings = TrainConfig(
        steps=step.steps,
        learning_rate=step.learning_rate,
        warmup_steps=step.steps // 10,
        eval_every=step.steps,
        log_every=max(1, step.steps // 20),
    )
    return Trainer(model, objective, sources.train, settings, quiet=quiet)


def main_task(objective: Objective | Joint) -> Objective:
    """The language model of an objective: the first of a joint one."""
    return objective.objectives[0] if isinstance(objective, Joint) else objective


def score_all(objective: Objective | Joint, batches: Sequence[Batch], model: Any) -> None:
    """Run a model on batches as its objective does, heads included."""
    with torch.no_grad():
        for batch in batches:
            objective.terms(model, batch)

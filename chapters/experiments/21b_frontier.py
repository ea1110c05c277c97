"""Every method and some combinations on one chart: quality, bytes, latency.

Three teachers of one shape (next word, gaps, moods) go through each recipe. Quality is measured on unseen stories,
bytes are those of the saved file; 21d takes the times, for which weights do not matter. Every training after a step has
the teacher's answers beside the labels. The steps are unequal: a distillation takes LONG, the other methods take SHORT
at a lower rate, so the chart does not rank the methods.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plm_chapters.experiments.teachers import KINDS, Kind, Task, train
from plm_core.compression.distill import Distillation, DistillConfig
from plm_core.compression.export import export_onnx, quantize_onnx
from plm_core.compression.low_rank import factorise_model, input_moments
from plm_core.compression.onnx_model import OnnxModel
from plm_core.compression.prune import apply_masks, choose_masks, magnitude_scores
from plm_core.compression.quantization_aware import finish, prepare
from plm_core.compression.quantize import QuantizeConfig, quantize_model
from plm_core.compression.saved import save_compressed
from plm_core.compression.structured import importance, remove_heads, remove_neurons
from plm_core.evaluation.benchmark import file_bytes
from plm_core.training.blocks import only_block_list
from plm_core.training.trainer import Trainer

VARIANTS = ["kept depth", "fewer blocks", "pruned first"]
SEEDS = [0, 1, 2]

BLOCKS = 2
"""Of a student; the teachers have six."""
LONG: dict[str, dict[Kind, int]] = {
    "laptop": {"causal": 200, "masked": 300, "mood": 80},
    "gpu": {"causal": 15_000, "masked": 24_000, "mood": 2000},
}
"""Steps of a distillation."""
SHORT: dict[str, dict[Kind, int]] = {
    "laptop": {"causal": 40, "masked": 50, "mood": 30},
    "gpu": {"causal": 1500, "masked": 2400, "mood": 400},
}
"""Steps after a step that took something away."""
RATES: dict[Kind, float] = {"causal": 3e-3, "masked": 3e-3, "mood": 1e-3}
SHORT_RATE = 1e-3
SOFT = DistillConfig(temperature=2.0, soft_weight=0.5)

INT8 = QuantizeConfig(bits=8, activations="dynamic")
INT4 = QuantizeConfig(bits=4, granularity="group", group_size=32)

SHARE = 1 / 3
"""Of a layer's weights, kept by factors."""
DEPLOYED = "distil, units, int8"
"""The recipe whose file is judged through ONNX Runtime as well."""


@dataclass
class Work:
    """A model on its way through a recipe."""

    task: Task
    seed: int
    teacher: nn.Module
    model: Any

    def copy(self) -> Work:
        """The same place on the way, to go on differently."""
        return Work(self.task, self.seed, self.teacher, copy.deepcopy(self.model))

    def learn(self, steps: int, rate: float, attach: Callable[[Trainer], object] | None = None) -> None:
        """Train the model on labels and the teacher's answers."""
        objective = Distillation(self.task.objective, self.teacher, self.model, SOFT)  # type: ignore[arg-type]
        seed = 100 + self.seed
        train(self.model, self.task, steps=steps, learning_rate=rate, seed=seed, objective=objective, attach=attach)

    def recover(self, attach: Callable[[Trainer], object] | None = None) -> None:
        """The short training after a loss."""
        self.learn(SHORT[self.task.preset][self.task.kind], SHORT_RATE, attach)

    def main_batches(self) -> list[Any]:
        """Sample text for estimates."""
        return self.task.sample(self.seed)


def distil(work: Work) -> None:
    """Keep the first two blocks and train for long."""
    keep_blocks(work.model, BLOCKS)
    work.learn(LONG[work.task.preset][work.task.kind], RATES[work.task.kind])


def units(work: Work) -> None:
    """Remove two of the four heads of every block and half of its neurons, by importance."""
    cut_units(work.model, *importance(work.model, work.task.objective, work.main_batches()))
    work.recover()


def rank(work: Work) -> None:
    """A third of each layer's weights as two thin factors, weighted by the inputs."""
    moments = input_moments(work.model, lambda model: work.task.run(model, work.main_batches()))
    factorise_model(work.model, SHARE, moments=moments)
    work.recover()


def zeros(work: Work) -> None:
    """Half of the weights become zero, and stay so in training."""
    masks = choose_masks(magnitude_scores(work.model), 0.5)
    apply_masks(work.model, masks)

    def hold(trainer: Trainer) -> None:
        trainer.optimizer.register_step_post_hook(lambda *_: apply_masks(work.model, masks))

    work.recover(hold)


def int8(work: Work) -> None:
    """Eight-bit weights, a scale for each row; eight-bit activations, a scale for each token."""
    quantize_model(work.model, INT8)


def int4(work: Work) -> None:
    """Four-bit weights, a scale for 32 neighbours; activations stay floats."""
    quantize_model(work.model, INT4)


def int4_trained(work: Work) -> None:
    """Four bits, rounded in a short training first."""
    prepare(work.model, INT4)
    work.recover()
    finish(work.model, INT4)


STEPS: dict[str, Callable[[Work], None]] = {
    "distil": distil,
    "units": units,
    "rank": rank,
    "zeros": zeros,
    "int8": int8,
    "int4": int4,
    "int4 trained": int4_trained,
}
RECIPES = {
    "kept depth": [
        "teacher", "int8", "int4", "zeros", "units", "units, int8", "rank", "rank, int8", "units, rank, int8",
    ],
    "fewer blocks": [
        "distil", "distil, int8", "distil, int4", "distil, int4 trained", "distil, units", "distil, units, int8",
        "distil, rank, int8",
    ],
    "pruned first": ["units, distil, int8"],
}  # fmt: skip


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One family of recipes for the teachers of one seed."""
    kinds = KINDS if variant != "pruned first" else KINDS[:1]
    return {kind: family(Task(kind, preset), variant, seed) for kind in kinds}


def family(task: Task, variant: str, seed: int) -> dict[str, dict[str, float]]:
    """Quality and bytes after each recipe of a family; what recipes begin with in common is done once."""
    teacher = task.teacher(seed)
    done: dict[str, Work] = {"": Work(task, seed, teacher, copy.deepcopy(teacher))}
    found = {}
    for recipe in RECIPES[variant]:
        found[recipe] = measured(follow(recipe, done))
    if variant == "fewer blocks":
        found[DEPLOYED] |= deployed(done[DEPLOYED].copy())
    return found


def follow(recipe: str, done: dict[str, Work]) -> Work:
    """Take a model through a recipe, from the longest beginning that was done before."""
    if recipe in done:
        return done[recipe]
    before, _, last = recipe.rpartition(", ")
    if last == "teacher":
        return done[""]
    work = follow(before, done).copy()
    STEPS[last](work)
    done[recipe] = work
    return work


def measured(work: Work) -> dict[str, float]:
    """Quality, and bytes of the saved model."""
    with tempfile.TemporaryDirectory() as folder:
        save_compressed(work.model, Path(folder))
        return {**work.task.measure(work.model), "bytes": file_bytes(Path(folder))}


def deployed(work: Work) -> dict[str, float]:
    """Quality and bytes of the int8 file that ONNX Runtime runs: the floats behind it are the ones before rounding."""
    with tempfile.TemporaryDirectory() as folder:
        _, integers = export(work.model, Path(folder), "model")
        return {"onnx_quality": work.task.quality(OnnxModel(integers)), "onnx_bytes": file_bytes(integers)}


# Shapes


def keep_blocks(model: Any, blocks: int) -> None:
    """Keep the first blocks of a model."""
    _, layers = only_block_list(model, "this experiment")
    del layers[blocks:]
    model.config = model.config.replace(num_hidden_layers=blocks)


def cut_units(model: nn.Module, heads: Mapping[str, torch.Tensor], neurons: Mapping[str, torch.Tensor]) -> None:
    """Remove the less important half of the heads and of the neurons of every block: all blocks keep one shape."""
    remove_heads(model, {name: lower_half(score) for name, score in heads.items()})
    remove_neurons(model, {name: lower_half(score) for name, score in neurons.items()})


def lower_half(scores: torch.Tensor) -> list[int]:
    """The numbers of the half with the lower scores."""
    return scores.argsort()[: scores.numel() // 2].tolist()


def export(model: nn.Module, folder: Path, name: str) -> tuple[Path, Path]:
    """The files of a model for ONNX Runtime, in floats and in integers."""
    floats, integers = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
    export_onnx(model, floats)
    quantize_onnx(floats, integers)
    return floats, integers

"""What a small model gains from a large one that answers beside the label: by size, start, loss and temperature.

Every student is a model for the next word with fewer blocks than its teacher, and reads the same stories in the same
order. All choices of a learning rate are made on validation stories; what is compared is measured on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from plm_core.experiments.teachers import LAYERS, Model, Task, train
from torch import Tensor, nn

from plm_core.compression.distill import Distillation, DistillConfig, copy_layers
from plm_core.models.transformer import Trace
from plm_core.objectives.base import Objective

STEPS = {"laptop": 150, "gpu": 3000}
RATES = {"random": (3e-3, 6e-3), "copied": (1e-3, 3e-3)}
"""The two peak learning rates that were tried for each start; the first one is used in all other comparisons."""


SOFT = DistillConfig(temperature=2.0, soft_weight=0.5)


@dataclass(frozen=True)
class Student:
    """How a student is made."""

    blocks: int = 2
    copied: bool = True
    """Starts from blocks of the teacher; otherwise from random weights."""
    soft: DistillConfig | None = SOFT
    """What it learns from the teacher; None: it learns from labels alone."""
    layers: tuple[int, ...] | None = None
    """The teacher's blocks that are copied; None: evenly spaced."""
    longer: float = 1.0
    """Factor on the number of steps."""
    rate: int = 0
    """Which of the two learning rates."""


BASE = Student()
LABELS = Student(copied=False, soft=None)


def equal_compute(blocks: int) -> float:
    """How many times as many steps a student without a teacher may take for the same arithmetic.

    The forward pass of one block is the unit. A training step is three of them for each block, because the backward
    pass costs two; the teacher only runs forwards.
    """
    return (3 * blocks + LAYERS) / (3 * blocks)


STUDENTS: dict[str, Student] = {
    **{f"{n} blocks, distilled": replace(BASE, blocks=n) for n in (1, 2, 3)},
    **{f"{n} blocks, labels": replace(LABELS, blocks=n) for n in (1, 2, 3)},
    **{f"{n} blocks, labels, equal compute": replace(LABELS, blocks=n, longer=equal_compute(n)) for n in (1, 2, 3)},
    "2 blocks, distilled, longer": replace(BASE, longer=equal_compute(2)),
    "random, soft": replace(BASE, copied=False),
    "copied, labels": replace(BASE, soft=None),
    "random, labels, other rate": replace(LABELS, rate=1),
    "random, soft, other rate": replace(BASE, copied=False, rate=1),
    "copied, labels, other rate": replace(BASE, soft=None, rate=1),
    "copied, soft, other rate": replace(BASE, rate=1),
    "hidden states": replace(BASE, soft=SOFT.replace(hidden_weight=1.0)),
    "attention": replace(BASE, soft=SOFT.replace(attention_weight=1.0)),
    "first blocks": replace(BASE, layers=(1, 2)),
    "last blocks": replace(BASE, layers=(LAYERS - 1, LAYERS)),
    **{
        f"temperature {t}, weight {w}": replace(BASE, soft=DistillConfig(temperature=t, soft_weight=w))
        for w, temperatures in ((0.5, (1.0, 4.0, 8.0)), (1.0, (1.0, 2.0, 4.0)))
        for t in temperatures
    },
}
VARIANTS = ["teacher", *STUDENTS]
SEEDS = [0, 1, 2]


class Remembered(nn.Module):
    """A teacher that keeps its answers: another student that reads the same batch gets them without a forward pass.

    Args:
        model: the teacher.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self.answers: dict[bytes, Tensor] = {}

    def forward(self, input_ids: Tensor, *, trace: Trace | None = None, **inputs: Any) -> Tensor:
        """The model's logits; a trace is filled by a pass of its own."""
        if trace is not None:
            return self.model(input_ids, trace=trace, **inputs)
        key = input_ids.cpu().numpy().tobytes()
        if key not in self.answers:
            self.answers[key] = self.model(input_ids, **inputs)
        return self.answers[key]


@lru_cache
def remembered(task: Task, seed: int) -> Remembered:
    """The teacher of a seed, shared by all its students."""
    return Remembered(task.teacher(seed))


def make(spec: Student, seed: int, task: Task, teacher: Remembered) -> tuple[Model, Objective, Sequence[int] | None]:
    """A student before its training, what it will learn from, and the teacher's blocks it started from."""
    torch.manual_seed(1000 + seed)
    student = task.new_model(num_hidden_layers=spec.blocks)
    layers = copy_layers(teacher.model, student, spec.layers) if spec.copied else None
    if spec.soft is None:
        return student, task.objective, layers
    return student, Distillation(task.objective, teacher, student, spec.soft, layers=layers), layers  # type: ignore[arg-type]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one student with one seed; bits per character on unseen stories, before and after."""
    task = Task("causal", preset)
    teacher = remembered(task, seed)
    if variant == "teacher":
        return {"quality": task.quality(teacher.model), "valid": task.measure(teacher.model, task.valid)["quality"]}
    spec = STUDENTS[variant]
    student, objective, layers = make(spec, seed, task, teacher)
    steps = round(STEPS[preset] * spec.longer)
    rate = RATES["copied" if spec.copied else "random"][spec.rate]
    train(student, task, steps=steps, learning_rate=rate, seed=seed, objective=objective)
    found = {"quality": task.quality(student), "steps": steps, "learning_rate": rate, "layers": layers}
    if variant.endswith(("distilled", "labels", "soft", "rate")):  # the runs among which a rate is chosen
        found["valid"] = task.measure(student, task.valid)["quality"]
    return found

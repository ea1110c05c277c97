"""What a small model gains from a large one that answers beside the label: by size, start, loss and temperature.

Every student is a model for the next word with fewer blocks than its teacher, and reads the same stories in the same
order. All choices of a learning rate are made on validation stories; what is compared is measured on others. A student
of copied blocks has had its teacher's training as well (see 21c). The teacher is trained for so short a time that one
block can do as well as its six, so nothing follows from these runs about how many blocks are enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plm_chapters.experiments.teachers import LAYERS, Model, Task, train
from plm_core.compression.distill import Distillation, DistillConfig, copy_layers, evenly_spaced
from plm_core.models.transformer import Trace
from plm_core.objectives.base import Objective

STEPS = {"laptop": 150, "gpu": 3000}
RATES = {"random": (6e-3, 3e-3), "copied": (3e-3, 6e-3)}
"""The same two peak learning rates, tried for each start and loss; all other comparisons use the first one."""


SOFT = DistillConfig(temperature=2.0, soft_weight=0.5)


CELLS = {
    ("random", "labels"): "2 blocks, labels",
    ("random", "soft"): "random, soft",
    ("copied", "labels"): "copied, labels",
    ("copied", "soft"): "2 blocks, distilled",
}
"""Start and loss of the four students for each of which two learning rates are tried."""


@dataclass(frozen=True)
class Student:
    """How a student is made."""

    blocks: int = 2
    copied: bool = True
    """Starts from blocks of the teacher; otherwise from random weights."""
    soft: DistillConfig | None = SOFT
    """What it learns from the teacher; None: it learns from labels alone."""
    which: Literal["first", "evenly spaced", "last"] = "first"
    """Blocks of the teacher that are copied."""
    longer: float = 1.0
    """Factor on the number of steps."""
    rate: int = 0
    """Which of the two learning rates."""

    @property
    def layers(self) -> list[int]:
        """The numbers of the blocks that are copied, from 1."""
        if self.which == "evenly spaced":
            return evenly_spaced(self.blocks, LAYERS)
        first = 1 if self.which == "first" else LAYERS - self.blocks + 1
        return list(range(first, first + self.blocks))


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
    "hidden states": replace(BASE, soft=SOFT.replace(hidden_weight=0.1)),
    "attention": replace(BASE, soft=SOFT.replace(attention_weight=1.0)),
    "evenly spaced blocks": replace(BASE, which="evenly spaced"),
    "last blocks": replace(BASE, which="last"),
    **{
        f"temperature {t}, weight {w}": replace(BASE, soft=DistillConfig(temperature=t, soft_weight=w))
        for w, temperatures in ((0.5, (1.0, 4.0)), (1.0, (2.0, 4.0)))
        for t in temperatures
    },
}
STUDENTS |= {f"{name}, other rate": replace(STUDENTS[name], rate=1) for name in CELLS.values()}
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
def shared_task(preset: str) -> Task:
    """The task, with its unseen stories told once."""
    return Task("causal", preset)


@lru_cache
def remembered(task: Task, seed: int) -> Remembered:
    """The teacher of a seed, shared by all its students."""
    return Remembered(task.teacher(seed))


def make(spec: Student, seed: int, task: Task, teacher: Remembered) -> tuple[Model, Objective]:
    """A student before its training, and what it will learn from.

    States are compared with evenly spaced blocks of the teacher, its last with the teacher's last, even where the
    student was copied from other blocks: blocks 1 and 2 are then compared with 3 and 6.
    """
    torch.manual_seed(1000 + seed)
    student = task.new_model(num_hidden_layers=spec.blocks)
    if spec.copied:
        copy_layers(teacher.model, student, spec.layers)
    if spec.soft is None:
        return student, task.objective
    return student, Distillation(task.objective, teacher, student, spec.soft)  # type: ignore[arg-type]


@torch.no_grad()
def divergence(student: nn.Module, seed: int, task: Task) -> float:
    """KL(teacher || student) in nats for each predicted word, over the first third of the unseen stories."""
    ask = Distillation(task.objective, remembered(task, seed), student, DistillConfig(temperature=1.0, soft_weight=1.0))  # type: ignore[arg-type]
    parts = [ask(student, batch) for batch in task.test[: len(task.test) // 3]]
    return sum(float(part.total) for part in parts) / sum(part.count for part in parts)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one student with one seed; bits per character on unseen stories."""
    task = shared_task(preset)
    teacher = remembered(task, seed)
    if variant == "teacher":
        starts = [replace(BASE, which=which) for which in ("first", "evenly spaced", "last")]
        untrained = {spec.which: task.quality(make(spec, seed, task, teacher)[0]) for spec in starts}
        return {"quality": task.quality(teacher.model), "untrained": untrained}
    spec = STUDENTS[variant]
    student, objective = make(spec, seed, task, teacher)
    steps = round(STEPS[preset] * spec.longer)
    rate = RATES["copied" if spec.copied else "random"][spec.rate]
    train(student, task, steps=steps, learning_rate=rate, seed=seed, objective=objective)
    found = {"quality": task.quality(student), "divergence": divergence(student, seed, task)}
    found |= {"steps": steps, "learning_rate": rate}
    if variant.removesuffix(", other rate") in CELLS.values():
        found["valid"] = task.measure(student, task.valid)["quality"]
    return found

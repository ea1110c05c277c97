"""The learning rates and the blocks to copy of 21e_real_teacher, chosen on the validation part.

The teacher is that of seed 0, the order of the texts and the random weights are those of seed 100, which no scored run
has. For each start, random and copied, two blocks (the first two) are trained on labels alone for SHORT epochs at five
rates, and more while the best lies at the edge; the one with the least validation loss serves all students of that
start. It is chosen without soft labels, which favours these in nothing. Then, at the rate of the copied start and on
soft labels, blocks to copy are compared for students of two and three blocks, in the same number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch

from plm_chapters.experiments import real_teachers
from plm_chapters.experiments.real_scores import score
from plm_chapters.experiments.real_teachers import TASKS, Task
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.notebook import load_experiment
from plm_core.models.heads import SequenceClassifier
from plm_core.runtime import setup
from plm_core.training.gradients import DivergedError

VARIANTS: list[Task] = list(TASKS)
SEEDS = [100]

TEACHER = 0
RATES = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3)
CANDIDATES: dict[int, list[tuple[int, ...]]] = {
    2: [(1, 2), (1, 4), (1, 6), (3, 6)],
    3: [(1, 2, 3), (1, 3, 5), (1, 3, 6), (2, 4, 6)],
}

students = load_experiment("21e_real_teacher")


def run(variant: Task, seed: int, preset: str) -> dict[str, Any]:
    """Choose on one task."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    teacher = cast(SequenceClassifier, real_teachers.teacher(variant, TEACHER))

    def loss(blocks: Sequence[int], rate: float, *, copied: bool = True, answers: Any = None) -> float:
        student = students.fresh(teacher, blocks, seed, copied=copied)
        try:
            students.taught(student, variant, answers, rate=rate, order=seed, epochs=students.SHORT)
        except DivergedError:
            return math.inf
        return score(student, variant, "validation")["nats"]

    rates: dict[str, Any] = {}
    for start in ("random", "copied"):
        losses = sweep(partial(loss, (1, 2), copied=start == "copied"), RATES, factor=2.0, further=2)
        rates[start] = {"rate": best_rate(losses), "sweep": {f"{rate:g}": losses[rate] for rate in sorted(losses)}}
    rate, answers = rates["copied"]["rate"], students.Answers(teacher, variant)
    blocks: dict[str, list[int]] = {"1": [1]}
    tried: dict[str, dict[str, float]] = {}
    for size, candidates in CANDIDATES.items():
        found = {each: loss(each, rate, answers=answers) for each in candidates}
        best = min(candidates, key=found.__getitem__)
        blocks[str(size)] = list(best)
        tried[str(size)] = {" ".join(map(str, each)): value for each, value in found.items()}
    return {"rates": rates, "blocks": blocks, "tried": tried}

"""The control of 21_distillation: the teacher itself, trained on for as many steps as its students are.

A student that was copied from a teacher has had the teacher's training and its own. Only this tells how much of its
quality comes from the further training.
"""

from __future__ import annotations

from typing import Any

from plm_chapters.experiments.teachers import train
from plm_chapters.notebook import load_experiment

VARIANTS = ["six blocks, trained on"]
SEEDS = [0, 1, 2]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train a teacher on, at the students' learning rate and on their stories; bits per character on unseen ones."""
    students = load_experiment("21_distillation")
    task, steps, rate = students.shared_task(preset), students.STEPS[preset], students.RATES["copied"][0]
    model = train(task.teacher(seed), task, steps=steps, learning_rate=rate, seed=seed)
    return {"quality": task.quality(model), "steps": steps, "learning_rate": rate}

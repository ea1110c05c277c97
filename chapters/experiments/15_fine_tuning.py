"""How far pretraining goes with few labels, and what training only a small part of the weights costs or saves.

Tasks: TREC's questions in 6 classes (test: the 500 of its owners) and sentence polarity (test: 500).
Arms; :mod:`~plm_chapters.experiments.fine_tuning_runs` says how they are trained:

- "words": logistic regression on tf-idf, with 40, 160, 640 and all labelled texts; "frozen": the same on the pretrained
  network's means. The penalty is chosen for each number of labels, of six, by the accuracy on 200 validation texts,
  averaged over the seeds.
- "full": all weights of the pretrained network; TREC with 40, 160 and 640 labels, polarity with 40 and 640.
- "random weights": all weights of the untrained network; TREC with 40 and 640 labels.
- "lora", "adapters", "biases": only these and the new layer, TREC with 160 labels. LoRA has rank 8 beside the queries
  and values, adapters have width 16; "lora, rank 1", "lora, rank 64": other ranks, with the same scale of 2.

Rates: five or more for each arm, with a seed of its own (0) and 160 labels, by the loss on 200 validation texts; the
sweep goes on while the best is the lowest or the highest. The same rate serves the other numbers of labels, whose
number of steps is the same. Five other seeds, scored on test texts.

Criteria, set before the run, for accuracies paired by seed, with Student's t. (1) "full" minus "words", five
comparisons, and "full" minus "random weights", two: intervals of 1 - 0.05 / 7. (2) TREC, 160 labels: each of "frozen",
"biases", "lora" and "adapters" minus "full", intervals of 1 - 0.05 / 4. (3) Each other rank minus rank 8, intervals of
1 - 0.05 / 2. A difference counts if its interval does not contain zero. The budget, 40 steps, is small, above all for
random weights: what more steps would give is not said.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_chapters.experiments import fine_tuning_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.runtime import setup

RATES = {
    "full": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3],
    "random weights": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3],
    "biases": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
    "lora": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
    "adapters": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
}
SMALL = ["lora", "adapters", "biases", "lora, rank 1", "lora, rank 64"]
VARIANTS = [
    "TREC, full",
    "TREC, words",
    "TREC, frozen",
    "TREC, lora",
    "TREC, adapters",
    "TREC, biases",
    "TREC, random weights",
    "polarity, words",
    "polarity, frozen",
    "polarity, full",
    "TREC, lora, rank 1",
    "TREC, lora, rank 64",
]
SEEDS = [0]
"""The seeds of the runs are inside."""


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep one arm, then train it with each of MODEL_SEEDS at each number of labels."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    task, _, arm = variant.partition(", ")
    told = {"task": task, "arm": arm, "majority": runs.majority(task), "classes": runs.classes(task)}
    if arm in ("words", "frozen"):
        return told | regression(task, arm)
    method, _, rank = arm.partition(", rank ")
    settings: dict[str, Any] = {"method": "full" if method in ("full", "random weights") else method}
    settings |= {"start": "random weights" if arm == "random weights" else "pretrained", "rank": int(rank or 8)}
    kept = Kept(folder)

    def at(rate: float) -> float:
        found = kept.get(
            f"{rate:.2g}",
            lambda: runs.measure(task, runs.SWEPT_AT, rate=rate, seed=0, on="validation", **settings),
        )
        return float(found["loss"])

    swept = sweep(at, RATES[method], factor=10**0.5, further=3)
    rate = best_rate(swept)
    counts = [runs.SWEPT_AT] if arm in SMALL else runs.LABELS if variant == "TREC, full" else [40, 640]

    def tested(count: int, each: int) -> dict[str, float]:
        return kept.get(
            f"{count} {each}",
            lambda: runs.measure(task, count, rate=rate, seed=each, on="test", **settings),
        )

    scores = {str(count): [tested(count, each) for each in runs.MODEL_SEEDS] for count in counts}
    sweeps = {key: found for key, found in kept.found.items() if " " not in key}
    return told | {
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "sweep accuracy": {key: found["accuracy"] for key, found in sweeps.items()},
        "accuracy": {count: [each["accuracy"] for each in found] for count, found in scores.items()},
        "loss": {count: [each["loss"] for each in found] for count, found in scores.items()},
        "trained": scores[str(counts[0])][0]["trained"],
        "seconds a step": float(np.median([each["seconds a step"] for found in scores.values() for each in found])),
    }


def regression(task: str, arm: str) -> dict[str, Any]:
    """Choose the penalty on validation texts for each number of labels, and score on test texts."""
    accuracy = runs.words_arm if arm == "words" else runs.frozen_arm
    everything = len(runs.part(task, "train")[0])
    found: dict[str, Any] = {"accuracy": {}, "strength": {}, "validation": {}}
    for count in [*runs.LABELS, everything]:
        seeds = runs.MODEL_SEEDS if count < everything else [1]
        tried = {
            strength: float(np.mean([accuracy(task, count, seed, strength, "validation") for seed in seeds]))
            for strength in runs.STRENGTHS
        }
        best = max(tried, key=tried.__getitem__)
        found["strength"][str(count)] = best
        found["validation"][str(count)] = {f"{strength:g}": value for strength, value in tried.items()}
        found["accuracy"][str(count)] = [accuracy(task, count, seed, best, "test") for seed in seeds]
    return found


class Kept:
    """What is done of a run, kept in its folder, so that an interrupted run goes on.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "done.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.found: dict[str, Any] = json.loads(self.path.read_text()) if self.path.is_file() else {}

    def get(self, key: str, make: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What was kept under a name, or what is made now and kept."""
        if key not in self.found:
            self.found[key] = make()
            self.path.write_text(json.dumps(self.found))
        return self.found[key]

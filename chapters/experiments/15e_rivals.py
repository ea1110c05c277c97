"""Two rivals of the pretrained network, stronger than those of 15_fine_tuning: pairs of words, and more steps.

Made after the results of 15_fine_tuning were known, with its network, texts, seeds and recipe
(:mod:`~plm_chapters.experiments.fine_tuning_runs`).

- "TREC, words and pairs": its arm "words", with every pair of neighbouring words as a further word; 40, 160 and 640
  labels. The penalty is chosen in the same way: for each number of labels, of six, by the accuracy on 200 validation
  texts averaged over the five seeds.
- "TREC, random weights": all weights of the untrained network with 640 labels and STEPS steps, four times as many.
  Rates: the best of 40 steps and its two neighbours, by the loss on the 200 validation texts with seed 0; the sweep
  goes on while the best is the lowest or the highest. Five other seeds, scored on the test texts.
- "relations, random weights": the sentences of 15b_relations with STEPS steps, seed 1 and two rates, 3e-4 and 1e-3;
  the one with the lower validation loss is scored on the test sentences.

Criterion, set before the run: "full" of 15_fine_tuning, which has 40 steps, minus "words and pairs" with each number of
labels, and minus "random weights" with 640: four differences, paired by seed, with intervals of 1 - 0.05 / 4 (Student's
t); a difference counts if its interval does not contain zero. One seed on the relations shows how much the number of
steps can matter there and is no comparison.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_chapters.experiments import fine_tuning_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.runtime import setup

VARIANTS = ["relations, random weights", "TREC, words and pairs", "TREC, random weights"]
SEEDS = [0]
"""The seeds of the runs are inside."""
STEPS = 160
COUNT = 640
RATES = [3e-4, 1e-3, 3e-3]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Run one arm with all its seeds."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    kept = importlib.import_module("plm_chapters.experiments.15_fine_tuning").Kept(folder)
    if variant == "TREC, words and pairs":
        return words_and_pairs("TREC")
    if variant == "relations, random weights":
        relations = importlib.import_module("plm_chapters.experiments.15b_relations")

        def scored(rate: float) -> dict[str, float]:
            model = relations.train("random weights", rate=rate, seed=1, steps=STEPS)
            found = {part: relations.score(model, part) for part in ("valid", "test")}
            return {"loss": found["valid"]["loss"], "accuracy": found["test"]["accuracy"]}

        tried = {each: kept.get(f"{each:.2g}", partial(scored, each)) for each in RATES[:2]}
        rate = min(tried, key=lambda each: tried[each]["loss"])
        losses = {f"{each:.2g}": found["loss"] for each, found in tried.items()}
        return {"steps": STEPS, "rate": rate, "sweep": losses, "accuracy": tried[rate]["accuracy"]}

    def measure(rate: float, each: int, on: str) -> dict[str, float]:
        return kept.get(
            f"{rate:.2g} {each} {on}",
            lambda: runs.measure("TREC", COUNT, rate=rate, seed=each, on=on, start="random weights", steps=STEPS),
        )

    swept = sweep(lambda rate: measure(rate, 0, "validation")["loss"], RATES, factor=10**0.5, further=3)
    rate = best_rate(swept)
    tested = [measure(rate, each, "test") for each in runs.MODEL_SEEDS]
    return {
        "steps": STEPS,
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "accuracy": {str(COUNT): [each["accuracy"] for each in tested]},
        "loss": {str(COUNT): [each["loss"] for each in tested]},
    }


def words_and_pairs(task: str) -> dict[str, Any]:
    """Choose the penalty on validation texts for each number of labels, and score on test texts."""
    found: dict[str, Any] = {"accuracy": {}, "strength": {}, "validation": {}}

    def accuracy(count: int, seed: int, strength: float, on: str) -> float:
        return runs.words_arm(task, count, seed, strength, on, pairs=True)

    for count in runs.LABELS:
        tried = {
            strength: float(np.mean([accuracy(count, seed, strength, "validation") for seed in runs.MODEL_SEEDS]))
            for strength in runs.STRENGTHS
        }
        best = max(tried, key=tried.__getitem__)
        found["strength"][str(count)] = best
        found["validation"][str(count)] = {f"{strength:g}": value for strength, value in tried.items()}
        found["accuracy"][str(count)] = [accuracy(count, seed, best, "test") for seed in runs.MODEL_SEEDS]
    return found

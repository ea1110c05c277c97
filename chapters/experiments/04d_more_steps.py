"""Reversing through one vector, trained ten times as long: is it the vector that limits, or the training?

The arms "state 32", "state 64", "state 64, vector 16" and "attention 32" of 04b_bottleneck, with the same data and
batches, but LONGER times its steps. Each arm is trained with seed 0 at the best rate of its sweep there, its half and
its quarter (a longer training often wants a lower rate; the sweep goes on while the best is at an edge), the best by
the loss on validation sequences, and then with three other seeds.

Criterion, set before the run: the vector limits if squeezing it from 64 to 16 numbers costs accuracy, averaged over the
lengths and paired by seed, by an interval (Student's t, 95 %) that does not contain zero, and more than it did after
the short training; training limited if the long training gains more than doubling the state did in the short one.
"""

from __future__ import annotations

from typing import Any

import torch

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.notebook import load_experiment, load_results
from plm_core.runtime import setup

bottleneck = load_experiment("04b_bottleneck")

VARIANTS = [arm for arm in bottleneck.ARMS if arm != "sentences"]
SEEDS = [0]
"""The seeds of the weights are inside a run."""
MODEL_SEEDS = [1, 2, 3]
LONGER = 10


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep three rates or more for the long training, then train with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    short = {each["variant"]: each for each in load_results("04b_bottleneck", preset)["runs"]}[variant]
    steps = LONGER * bottleneck.STEPS

    def loss(rate: float) -> float:
        return bottleneck.train(variant, rate=rate, seed=0, steps=steps)[1][-1]

    swept = sweep(loss, [short["rate"] / 4, short["rate"] / 2, short["rate"]], factor=2, further=2)
    rate = best_rate(swept)
    trained = [bottleneck.train(variant, rate=rate, seed=each, steps=steps) for each in MODEL_SEEDS]
    return {
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "curve": [curve for _, curve in trained],
        "accuracy": [bottleneck.accuracies(model, variant) for model, _ in trained],
    }

"""What makes two runs of fine-tuning differ, and do more steps or the warm-up lessen it?

TREC's questions with 160 labels, all weights, the network and recipe of
:mod:`~plm_chapters.experiments.fine_tuning_runs`; test accuracy of ten runs for each arm.

- "texts and seeds": every run has its own labelled texts and its own seed, which draws new layer, order and dropout.
- "seeds alone": every run has the texts of the first. "texts alone": every run has the seed of the first.
- "four times the steps": as the first arm, with 160 steps. "no warm-up": as the first arm, at the full rate from the
  first step on. Both are named as cures (Mosbach et al. 2021, Zhang et al. 2021), the second by its absence.

Rates: that of "full" in 15_fine_tuning, but for the last two arms, which have four of their own or more, by the loss on
200 validation texts with seed 0; the sweep goes on while the best is the lowest or the highest.

Criterion, set before the run: "four times the steps" and "no warm-up" against "texts and seeds", paired
by run. The spread differs if the test of Pitman and Morgan for the variances of paired numbers rejects at 0.05 / 2, and
the mean differs if the interval of 1 - 0.05 / 2 (Student's t) of the paired differences does not contain zero. The
spreads of the first three arms are described with their intervals, not compared.
"""

from __future__ import annotations

import importlib
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments import fine_tuning_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.runtime import setup
from plm_core.training.gradients import DivergedError

TASK, COUNT, RATE = "TREC", 160, 3e-4
VARIANTS = ["texts and seeds", "seeds alone", "texts alone", "four times the steps", "no warm-up"]
SEEDS = [0]
"""The seeds of the runs are inside."""
RUNS = list(range(1, 11))
RATES = [3e-5, 1e-4, 3e-4, 1e-3]


def measure(texts: int, seed: int, *, rate: float, steps: int, warmup: float, on: str) -> dict[str, float]:
    """Fine-tune on the texts of one number with the seed of another; loss and accuracy on a part."""
    model = runs.new_model(len(runs.classes(TASK)), seed=seed)
    chosen = runs.labelled(TASK, COUNT, texts)
    try:
        told = runs.train(model, chosen, rate=rate, seed=seed, steps=steps, warmup=warmup)
    except DivergedError:
        return {"loss": math.inf, "accuracy": math.nan, "last loss": math.inf}
    return runs.score(model, runs.part(TASK, on)) | told


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Ten runs of one arm."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    kept = importlib.import_module("plm_chapters.experiments.15_fine_tuning").Kept(folder)
    steps = 4 * runs.STEPS if variant == "four times the steps" else runs.STEPS
    warmup = 0.0 if variant == "no warm-up" else 0.1

    def at(texts: int, each: int, rate: float, on: str) -> dict[str, float]:
        make = partial(measure, texts, each, rate=rate, steps=steps, warmup=warmup, on=on)
        return dict(kept.get(f"{texts} {each} {rate:.2g} {on}", make))

    told: dict[str, Any] = {"steps": steps, "rate": RATE}
    if variant in ("four times the steps", "no warm-up"):
        swept = sweep(lambda rate: at(0, 0, rate, "validation")["loss"], RATES, factor=10**0.5, further=3)
        told |= {"rate": best_rate(swept), "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)}}
    found = [
        at(
            RUNS[0] if variant == "seeds alone" else each,
            RUNS[0] if variant == "texts alone" else each,
            told["rate"],
            "test",
        )
        for each in RUNS
    ]
    return told | {name: [each[name] for each in found] for name in ("accuracy", "loss", "last loss")}

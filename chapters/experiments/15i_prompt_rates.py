"""The learning rates of 15h_in_the_prompt, chosen with a network of its own.

Four rates or more for each arm, by the loss on validation stories or validation questions; the sweep goes on while the
best is the lowest or the highest. For the moods 160 labelled stories; the other numbers of labels take the same rate.
For facts "retrieved" and "whole"; the other kinds, which are no longer than "retrieved", take the rate of that.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.runtime import setup

VARIANTS = ["rates"]
SEEDS = [9]
"""A seed that 15h_in_the_prompt does not use."""
MOOD_RATES = [1e-3, 3e-3, 1e-2, 3e-2]
FACT_RATES = [0.001, 0.002, 0.004, 0.008]
COUNT = 160

prompting = importlib.import_module("plm_chapters.experiments.15h_in_the_prompt")


def told(swept: dict[float, float]) -> dict[str, Any]:
    """The best rate, and the loss at each."""
    return {"rate": best_rate(swept), "sweep": {f"{rate:.2g}": swept[rate] for rate in sorted(swept)}}


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep the rates of every arm."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    model = prompting.pretrained(seed, folder)
    found: dict[str, Any] = {"moods": {}, "facts": {}}
    starts = {
        "fine-tuned": (model, prompting.STEPS),
        "random weights": (prompting.untrained(seed), prompting.MORE_STEPS),
    }
    for arm, (start, steps) in starts.items():

        def loss(rate: float, start: Any = start, steps: int = steps) -> float:
            scored = prompting.classify(start, COUNT, rate=rate, seed=seed, steps=steps, on="valid")
            return float(scored["loss"])

        found["moods"][arm] = told(sweep(loss, MOOD_RATES, factor=10**0.5, further=3))
    for kind in ("retrieved", "whole"):

        def nats(rate: float, kind: str = kind) -> float:
            tuned = prompting.answering(model, kind, rate=rate, seed=seed)
            return float(prompting.answered(tuned, kind, on="valid")[1])

        found["facts"][kind] = told(sweep(nats, FACT_RATES, factor=2, further=3))
    return found

"""The next larger rate of each optimiser whose best rate on the grid of 12_optimisation was the largest or close to it.

A best rate counts as found only where both of its neighbours are worse.
"""

from __future__ import annotations

from typing import Any

from plm_chapters.notebook import load_experiment
from plm_core.runtime import setup
from plm_core.training.gradients import DivergedError

RATES = {"Adam": 0.1, "AdamW": 0.1, "Muon": 0.3}
VARIANTS = [f"{name} {rate:g}" for name, rate in RATES.items()]
SEEDS = [0, 1, 2]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one optimiser at its larger rate with one seed; the final validation loss, None if it diverged."""
    name = variant.split()[0]
    grid = load_experiment("12_optimisation")
    rt = setup(seed=seed, preset=preset, precision="fp32")
    trainer, _ = grid.trainer_of(f"{name} {grid.RATES[name][-1]:g}", seed, rt, learning_rate=RATES[name])
    try:
        trainer.fit()
    except DivergedError:
        return {"loss": None}
    return {"loss": trainer.records[-1]["valid/loss"]}

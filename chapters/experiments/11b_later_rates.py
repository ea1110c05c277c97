"""By what factor the rate of an objective should change where the trunk was trained before.

For each objective an order in which it comes last is trained from initial weights of a seed of its own. The second and
third stages take the rates of 11a_stage_rates times a factor, and the best factor is that of the lowest loss of the
last objective on validation stories. The experiment 11_curriculum takes it wherever that objective has a later stage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments import stage_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.notebook import load_results
from plm_core.evaluation.validation import validate
from plm_core.runtime import setup

ORDERS = {"C": "RMC", "M": "RCM", "R": "CMR"}
VARIANTS = list(ORDERS)
SEEDS = [100]
FACTORS = [0.5, 1.0, 2.0, 4.0, 8.0]
"""To begin with; where the best is the lowest or the highest, the sweep goes on."""


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep the factor."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    rate_of = {each["variant"]: each["rate"] for each in load_results("11a_stage_rates", preset)["runs"]}
    texts, order = runs.storyworld(), ORDERS[variant]
    begun, first = folder / order[0], texts.stage(order[0], 0, rate=rate_of[order[0]], seed=seed)
    runs.run_stages(texts.build(seed), [first], begun, seed=seed)

    def measure(factor: float) -> float:
        later = [
            texts.stage(each, number, rate=rate_of[each] * factor, seed=seed)
            for number, each in enumerate(order[1:], start=1)
        ]
        model = runs.run_stages(texts.build(seed), [first, *later], folder / f"{factor:g}", seed=seed, begun=begun)
        return validate(model, later[-1].objective, later[-1].valid_batches)["loss"]

    swept = sweep(measure, FACTORS, factor=2, further=2)
    return {"factor": best_rate(swept), "sweep": {f"{factor:g}": loss for factor, loss in sorted(swept.items())}}

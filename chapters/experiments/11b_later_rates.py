"""By what factor the rate of a stage should fall where the trunk was trained before.

Two orders with the same beginning, RCM and RMC, are trained from initial weights of a seed of its own. Their second and
third stages take the rates of 11a_stage_rates times a factor. For each factor the loss of the last objective is
measured on validation stories; the best factor is that of the lowest sum over the two orders. The experiment
11_curriculum takes it for every later stage of every order.
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

ORDERS = ["RCM", "RMC"]
VARIANTS = ["factor"]
SEEDS = [100]
FACTORS = [0.125, 0.25, 0.5, 1.0, 2.0]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep the factor."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    rate_of = {each["variant"]: each["rate"] for each in load_results("11a_stage_rates", preset)["runs"]}
    begun = folder / "R"
    runs.run_stages(runs.build(seed), [runs.stage("R", 0, rate=rate_of["R"], seed=seed)], begun, seed=seed)
    found: dict[str, dict[str, float]] = {order: {} for order in ORDERS}

    def measure(factor: float) -> float:
        for order in ORDERS:
            stages = [
                runs.stage(each, number, rate=rate_of[each] * (factor if number else 1.0), seed=seed)
                for number, each in enumerate(order)
            ]
            into = folder / f"{order}-{factor:g}"
            model = runs.run_stages(runs.build(seed), stages, into, seed=seed, begun=begun)
            found[order][f"{factor:g}"] = validate(model, stages[-1].objective, stages[-1].valid_batches)["loss"]
        return sum(of_order[f"{factor:g}"] for of_order in found.values())

    swept = sweep(measure, FACTORS, factor=2, further=1)
    return {variant: best_rate(swept), "losses": found}

"""By what factor the rate of a stage should change where the trunk was trained before.

The order RMC is trained from initial weights of a seed of its own. Its second and third stages take the rates of
11a_stage_rates times a factor, and the best factor is that of the lowest loss of C on validation stories. The
experiment 11_curriculum takes it for every later stage of every order.
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

ORDER = "RMC"
VARIANTS = ["factor"]
SEEDS = [100]
FACTORS = [0.125, 0.25, 0.5, 1.0, 2.0]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep the factor."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    rate_of = {each["variant"]: each["rate"] for each in load_results("11a_stage_rates", preset)["runs"]}
    texts, begun = runs.storyworld(), folder / "R"
    first = texts.stage("R", 0, rate=rate_of["R"], seed=seed)
    runs.run_stages(texts.build(seed), [first], begun, seed=seed)

    def measure(factor: float) -> float:
        later = [
            texts.stage(each, number, rate=rate_of[each] * factor, seed=seed)
            for number, each in enumerate(ORDER[1:], start=1)
        ]
        model = runs.run_stages(texts.build(seed), [first, *later], folder / f"{factor:g}", seed=seed, begun=begun)
        return validate(model, later[-1].objective, later[-1].valid_batches)["loss"]

    swept = sweep(measure, FACTORS, factor=2, further=1)
    return {variant: best_rate(swept), "sweep": {f"{factor:g}": loss for factor, loss in sorted(swept.items())}}

"""The learning rates of the objectives on one trunk, each swept for the length for which it is used.

The trunk (see stage_runs) has rotary positions. Each of C, M and R is trained for the steps of one stage, and each of
C, M and the mixture of C, M and R in equal shares for those of all stages ("C long" and so on), from initial weights of
a seed of its own, at five rates or more. The best is chosen by the objective's own loss on validation stories. The
experiment 11_curriculum takes them. Some of its arms have no sweep of their own: R alone for all stages takes R's rate
of one stage, P that of C, and mixtures with other shares that of equal shares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments import stage_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.evaluation.validation import validate
from plm_core.runtime import setup

VARIANTS = ["C", "M", "R", "C long", "M long", "mixture long"]
SEEDS = [100]
RATES = [2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep the rates of one objective."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    name = variant.removesuffix(" long")
    steps = runs.STAGE_STEPS if name == variant else runs.STAGES * runs.STAGE_STEPS

    def measure(rate: float) -> float:
        if name == "mixture":
            stage = runs.storyworld().mixed(dict.fromkeys("CMR", 1 / 3), 0, rate=rate, seed=seed, steps=steps)
        else:
            stage = runs.storyworld().stage(name, 0, rate=rate, seed=seed, steps=steps)
        model = runs.run_stages(runs.storyworld().build(seed), [stage], folder / f"{rate:.5f}", seed=seed)
        return validate(model, stage.objective, stage.valid_batches)["loss"]

    swept = sweep(measure, RATES, factor=2, further=2)
    return {"rate": best_rate(swept), "sweep": {f"{rate:.2g}": loss for rate, loss in sorted(swept.items())}}

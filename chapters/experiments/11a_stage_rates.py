"""The learning rates of the objectives on one trunk, each swept alone, and that of their mixture.

Each of C, M, R and P (see stage_runs) and the mixture of C, M and R in equal shares is trained for STEPS steps from
initial weights of a seed of its own at five rates or more, and the best is chosen by the objective's own loss on
validation stories. The experiment 11_curriculum takes them for its stages, also for the second and third, and for the
longer runs, which may prefer a lower rate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments import stage_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.evaluation.validation import validate
from plm_core.runtime import setup

VARIANTS = ["C", "M", "R", "P", "mixture"]
SEEDS = [100]
RATES = [2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2]
STEPS = 200


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep the rates of one objective."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)

    def measure(rate: float) -> float:
        if variant == "mixture":
            stage = runs.mixed(dict.fromkeys("CMR", 1 / 3), 0, rate=rate, seed=seed, steps=STEPS)
        else:
            stage = runs.stage(variant, 0, rate=rate, seed=seed, steps=STEPS)
        model = runs.run_stages(runs.build(seed), [stage], folder / f"{rate:.5f}", seed=seed)
        return validate(model, stage.objective, stage.valid_batches)["loss"]

    swept = sweep(measure, RATES, factor=2, further=2)
    return {"rate": best_rate(swept), "sweep": {f"{rate:.2g}": loss for rate, loss in sorted(swept.items())}}

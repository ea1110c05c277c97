"""The learning rates of R and of M by what the trunk has for positions: learned ones, rotary ones, or none.

For each scheme three rates are swept, with a seed of its own, at five values or more: that of R for one stage from
initial weights, that of M for two stages from initial weights, and that of M for two stages after R. Each is chosen by
the objective's own loss on validation stories. The arms "positions" of 11_curriculum take them, so that M has a rate of
its own with and without R before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments import stage_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.evaluation.validation import validate
from plm_core.runtime import setup
from plm_core.training.curriculum import Stage

VARIANTS = list(runs.SCHEMES)
SEEDS = [100]
RATES = [2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2]


def run(variant: runs.Scheme, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep the three rates of a scheme."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    texts = runs.storyworld()

    def loss(stages: list[Stage], name: str, begun: Path | None = None) -> float:
        model = runs.run_stages(texts.build(seed, variant), stages, folder / name, seed=seed, begun=begun)
        return validate(model, stages[-1].objective, stages[-1].valid_batches)["loss"]

    def after(before: list[Stage], rate: float) -> list[Stage]:
        return [*before, texts.stage("M", 1, rate=rate, seed=seed, steps=2 * runs.STAGE_STEPS)]

    def first(rate: float) -> Stage:
        return texts.stage("R", 0, rate=rate, seed=seed)

    swept = {"R": sweep(lambda rate: loss([first(rate)], f"R {rate:.5f}"), RATES, factor=2, further=2)}
    best = best_rate(swept["R"])
    begun = folder / f"R {best:.5f}"
    swept["M"] = sweep(lambda rate: loss(after([], rate), f"M {rate:.5f}"), RATES, factor=2, further=2)
    swept["RM"] = sweep(
        lambda rate: loss(after([first(best)], rate), f"RM {rate:.5f}", begun), RATES, factor=2, further=2
    )
    return {
        "rates": {name: best_rate(found) for name, found in swept.items()},
        "sweeps": {
            name: {f"{rate:.2g}": value for rate, value in sorted(found.items())} for name, found in swept.items()
        },
    }

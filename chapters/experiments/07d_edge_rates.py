"""Where the norm stands: the rates beyond the grid of 07, for the arms whose best rate was its first or its last.

Model, task, batches, steps and scores are those of 07. Its grid ended before two arms had passed their best rate:
the arm without sums was best at the lowest rate, RMSNorm at the highest. Criterion, set before the runs: now the best
rate of both lies inside the grid, or the text names the arm for which it does not.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from plm_core.runtime import setup

norms = importlib.import_module("plm_chapters.experiments.07_transformer")

RATES = {"no sums": [6e-5, 1.6e-4], "pre, scaled, RMSNorm": [4e-2]}
VARIANTS = list(RATES)
SEEDS = norms.SEEDS


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one arm with one seed at its further rates; the loss of each on validation and test sequences, in nats."""
    device = setup(seed=seed, preset=preset).device
    torch.set_num_threads(1)
    scores = [norms.evaluate(norms.train(variant, seed, rate, device=device)) for rate in RATES[variant]]
    return {name: [score[name] for score in scores] for name in ("valid", "test")}

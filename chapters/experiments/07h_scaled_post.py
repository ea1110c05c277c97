"""Post-norm from scaled branches: what does the place of the norm do, if the initial weights are not to blame?

Model, task, batches, steps, seeds, rates and scores are those of 07, whose post-norm arms have unscaled branches. Here
the last weight of each branch is divided by sqrt(2·layers), as in the arm "pre, scaled"; nothing else changes.
Criterion, set before the stored runs but after a trial with three seeds: scaling helps post-norm if the interval of the
difference, paired by seed and each at its best rate, excludes zero; that rate lies inside the grid.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from plm_core.runtime import setup

norms = importlib.import_module("plm_chapters.experiments.07_transformer")

RATES = norms.RATES
VARIANTS = ["post, scaled", "post, scaled, warm-up"]
SEEDS = norms.SEEDS


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one arm with one seed at all rates; the loss of each on validation and test sequences, in nats."""
    device = setup(seed=seed, preset=preset).device
    torch.set_num_threads(1)
    scores = [norms.evaluate(norms.train(variant, seed, rate, device=device)) for rate in RATES]
    return {name: [score[name] for score in scores] for name in ("valid", "test")}

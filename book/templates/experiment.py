"""What the idea of this chapter changes, measured with three seeds."""

from __future__ import annotations

from typing import Any

import torch

from plm_core.runtime import setup

VARIANTS = ["without", "with"]
SEEDS = [0, 1, 2]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Measure one variant with one seed; the result must fit into JSON."""
    rt = setup(seed=seed, preset=preset)
    rows = rt.choose(laptop=256, gpu=4096)
    scores_TS = torch.randn(rows, 64) @ torch.randn(64, rows)  # (T, S)
    if variant == "with":
        scores_TS = scores_TS / 64**0.5
    return {"largest_weight": scores_TS.softmax(-1).amax(-1).mean().item()}

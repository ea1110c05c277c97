"""Feed-forward networks on real text: three fresh seeds for each arm, at the rate that its sweep chose.

Arms with the same seed see the same batches, so that differences are paired. Criterion, set before the runs: the 95 %
interval of the paired difference to GELU (Student's t, two degrees of freedom) does not contain zero. Two arms are
compared with GELU.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from plm_core.runtime import setup

sweep = importlib.import_module("plm_chapters.experiments.07b_feed_forward")

VARIANTS = sweep.VARIANTS
SEEDS = [1, 2, 3]


def best_rate(variant: str) -> float:
    """The rate with the lowest validation loss in the stored sweep."""
    from plm_chapters.notebook import load_results

    [losses] = [each["valid"] for each in load_results("07b_feed_forward")["runs"] if each["variant"] == variant]
    return sweep.RATES[losses.index(min(losses))]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one arm with one seed; its loss on validation and on test text, in nats a character."""
    device = setup(seed=seed, preset=preset).device
    torch.set_num_threads(1)
    rate = best_rate(variant)
    model = sweep.train(variant, seed, rate, device=device)
    return {"rate": rate} | {name: sweep.evaluate(model, name) for name in ("valid", "test")}

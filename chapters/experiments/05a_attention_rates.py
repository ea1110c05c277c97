"""The learning rates of the experiments 05 and 05d on attention, chosen on pages and initial weights of their own."""

from __future__ import annotations

from typing import Any

from plm_chapters.experiments import phone_book
from plm_core.runtime import setup

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
VARIANTS: list[str] = phone_book.MEMORIES + phone_book.HEADS
SEEDS = [100]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train a model at each rate; ``accuracy`` holds the share of right answers by rate."""
    rt = setup(seed=seed, preset=preset)
    models = {rate: phone_book.train(variant, rt, rate=rate)[0] for rate in RATES}
    return {"accuracy": {str(rate): phone_book.accuracy(model, rt, examples=4096) for rate, model in models.items()}}

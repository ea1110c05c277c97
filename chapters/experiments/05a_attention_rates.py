"""The learning rate of every variant of ``05_attention``, chosen on pages and initial weights of their own."""

from __future__ import annotations

from typing import Any

from plm_chapters.notebook import load_experiment
from plm_core.runtime import setup

attention = load_experiment("05_attention")
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
VARIANTS: list[str] = attention.VARIANTS
SEEDS = [100]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one copy at each rate; ``accuracy`` holds the share of right answers by rate."""
    rt = setup(seed=seed, preset=preset)
    models, _ = attention.train(variant, rt, rates=RATES)
    accuracies = [attention.accuracy(model, rt, examples=4096) for model in models]
    return {"accuracy": dict(zip(map(str, RATES), accuracies, strict=True))}

"""The learning rates of the experiments 05 and 05d on attention, chosen on pages and initial weights of their own.

Five rates for each model, trained for as many steps as in the experiment itself, with one exception: summaries of fixed
size, which learn slowly, are trained for 600 of 2,000. They have two widths each; both are swept, and the width that
is more often right at its best rate is the one that 05 trains. One head and two are swept at rates nearer to each
other, because an earlier sweep of one head (five rates by factors of three, 800 steps) had a single rate that worked.
If the best rate lies at the edge, the sweep goes on by the same ratio, to at most two more.
"""

from __future__ import annotations

from typing import Any

from plm_chapters.experiments import phone_book
from plm_chapters.experiments.sweeps import sweep
from plm_core.runtime import setup

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
RATES_OF_HEADS = (1e-3, 1.7e-3, 3e-3, 5e-3, 8.5e-3)
SUMMARY_STEPS = 600
VARIANTS: list[str] = phone_book.MEMORIES + phone_book.SUMMARIES + phone_book.HEADS
SEEDS = [100]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train a model at each rate; ``accuracy`` holds the share of right answers by rate."""
    rt = setup(seed=seed, preset=preset)
    rates = RATES_OF_HEADS if variant in phone_book.HEADS else RATES
    steps = SUMMARY_STEPS if variant in phone_book.SUMMARIES else None

    def error(rate: float) -> float:
        model, _ = phone_book.train(variant, rt, rate=rate, steps=steps)
        return 1 - phone_book.accuracy(model, rt, examples=4096)

    found = sweep(error, rates, factor=rates[1] / rates[0], further=2)
    return {"accuracy": {f"{rate:.3g}": 1 - found[rate] for rate in sorted(found)}}

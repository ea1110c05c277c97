"""One head of width K on the phone book: divided by the square root of K, not divided, or started with small weights.

The third arm is not divided either, but its queries and keys start smaller by the fourth root of K: before the first
step it computes what the scaled head computes. It was added when the results of the other two were known.

Each arm is tuned for *speed*: its rate is the one whose accuracy, averaged over the learning curve of 200 steps, is
highest in the mean of two seeds that are used for nothing else. Then six seeds are trained at that rate.

The criterion, set before the runs: scaled scores learn sooner than another arm at a width if the interval of the paired
differences of the accuracy averaged over the curve, scaled minus the other, lies above zero: 98.75 % (Student), because
there are four comparisons. The same for the accuracy after the last step is reported as it is.
"""

from __future__ import annotations

from typing import Any

from plm_chapters.experiments import phone_book, phone_book_tuning

VARIANTS: list[str] = phone_book.SCALES
SEEDS = [0]
"""The seeds of training are inside a run."""
RATES = (1e-3, 1.7e-3, 3e-3, 5e-3, 8.5e-3)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep and train one arm; see :func:`phone_book_tuning.tuned`."""
    return phone_book_tuning.tuned(variant, preset, rates=RATES, seeds=range(6), sweep_seeds=(100, 101), by="curve")

"""Sweeps of the learning rate: the best should not be the lowest or the highest, so a sweep goes on until it is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def sweep(
    measure: Callable[[float], float], rates: Sequence[float], *, factor: float, further: int
) -> dict[float, float]:
    """The loss at each learning rate; while the best is the lowest or the highest, the sweep goes on.

    Args:
        measure: gives the loss at a rate; a loss that is not a number counts as infinite.
        rates: the rates to begin with.
        factor: the ratio of the rates that are added.
        further: the largest number of rates to add.
    """
    found: dict[float, float] = {}
    wanted = list(rates)
    while wanted:
        losses = {rate: measure(rate) for rate in wanted}
        found |= {rate: loss if math.isfinite(loss) else math.inf for rate, loss in losses.items()}
        best = best_rate(found)
        wanted = [best / factor] if best == min(found) else [best * factor] if best == max(found) else []
        if len(found) >= len(rates) + further:
            break
    return found


def best_rate(losses: dict[float, float]) -> float:
    """The rate with the lowest loss."""
    return min(losses, key=losses.__getitem__)

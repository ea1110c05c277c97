"""The learning rate as a pure function of the number of successful steps.

There is no scheduler object whose position could get out of step: a resumed run, and a run that skipped a step because
of an overflow, compute the learning rate from the count of steps that changed the weights.
"""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant", "inverse_sqrt"]


def learning_rate(
    step: int,
    *,
    peak: float,
    total_steps: int,
    warmup_steps: int = 0,
    schedule: Schedule = "cosine",
    final: float = 0.0,
) -> float:
    """The learning rate of a step: linear warm-up to the peak, then decay.

    The rate of step ``warmup_steps`` is the peak; that of the first step is ``peak / (warmup_steps + 1)``, not zero.
    ``"cosine"`` and ``"linear"`` reach ``final`` at the last step; ``"inverse_sqrt"`` falls with the inverse square
    root of the step, however long the run (Vaswani et al. 2017, equation 3).

    Args:
        step: number of successful steps before this one, from 0.
        peak: the highest rate.
        total_steps: length of the run; later steps keep the last rate.
        warmup_steps: length of the warm-up.
        schedule: shape of the decay.
        final: the learning rate at the end, at most the peak.

    Raises:
        ValueError: negative numbers, a final rate above the peak, or an unknown schedule.

    >>> [round(learning_rate(step, peak=1.0, total_steps=5, warmup_steps=1, schedule="linear"), 2) for step in range(5)]
    [0.5, 1.0, 0.67, 0.33, 0.0]
    """
    if step < 0 or warmup_steps < 0 or total_steps < 1:
        raise ValueError(f"steps must not be negative: step {step}, warm-up {warmup_steps}, total {total_steps}")
    if not 0 <= final <= peak:
        raise ValueError(f"expected 0 <= final <= peak, got final {final} and peak {peak}")
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return peak
    if schedule == "inverse_sqrt":
        return max(final, peak * math.sqrt((warmup_steps + 1) / (step + 1)))
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps))
    if schedule == "linear":
        return peak + (final - peak) * progress
    if schedule == "cosine":
        return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))
    raise ValueError(f"unknown schedule {schedule!r}: use 'cosine', 'linear', 'constant' or 'inverse_sqrt'")

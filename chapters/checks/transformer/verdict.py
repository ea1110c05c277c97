"""Checks of the exercise in which a sweep of learning rates is judged: which arm is better, and is that known?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw

Verdict = Callable[[Tensor, Tensor, Tensor, Tensor], Any]

verdict = Check("Judge a sweep")

QUANTILE = {3: 4.303, 5: 2.776}
"""Student's t, 97.5 %, by the number of seeds."""


def _sweep(
    draw: Draw, *, gap: float, noise: float, lure: float = 0.0, seeds: int = 5
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Validation and test losses (seeds, rates) of two arms that share a random part for each seed; the test losses of
    the last rate are lower by ``lure``."""
    rates = torch.arange(5.0)
    best_a, best_b = draw.integer(1, 2), draw.integer(2, 3)
    shared = 0.5 * draw.normal(seeds, 1)
    arms = []
    for best, shift in ((best_a, 0.0), (best_b, gap)):
        losses = 2 + 0.5 * (rates - best).pow(2) + shift + shared
        valid, test = losses + noise * draw.normal(seeds, 5), losses + noise * draw.normal(seeds, 5)
        test[:, -1] -= lure
        arms += [valid, test]
    return arms[0], arms[1], arms[2], arms[3]


def _right(valid_a: Tensor, test_a: Tensor, valid_b: Tensor, test_b: Tensor) -> tuple[int, int, float, float]:
    rate_a, rate_b = int(valid_a.mean(0).argmin()), int(valid_b.mean(0).argmin())
    differences = test_b[:, rate_b] - test_a[:, rate_a]
    half = QUANTILE[len(differences)] * differences.std().item() / math.sqrt(len(differences))
    mean = differences.mean().item()
    return rate_a, rate_b, mean - half, mean + half


def _answer(judge: Verdict, sweep: tuple[Tensor, ...]) -> tuple[int, int, float, float, str]:
    answer = judge(*(part.clone() for part in sweep))
    if not isinstance(answer, tuple | list) or len(answer) != 5:
        raise CheckFailed("return five things: rate_a, rate_b, low, high, verdict")
    rate_a, rate_b, low, high, said = answer
    return int(rate_a), int(rate_b), float(low), float(high), said


@verdict.stage("each arm at its own rate, chosen on validation data")
def _(judge: Verdict, draw: Draw) -> None:
    for _ in range(5):
        sweep = _sweep(draw, gap=0.1, noise=0.1, lure=8.0)
        _, test_a, _, test_b = sweep
        right = _right(*sweep)[:2]
        rates = _answer(judge, sweep)[:2]
        if rates == right:
            continue
        if rates == (int(test_a.mean(0).argmin()), int(test_b.mean(0).argmin())):
            raise CheckFailed("the rates are chosen on the test losses: what is chosen on them looks better than it is")
        if rates == (right[0], right[0]):
            raise CheckFailed("the second arm gets the first arm's rate: each arm is judged at its own best one")
        raise CheckFailed(f"the rates are numbers {rates}, lowest mean validation loss have {right}")


@verdict.stage("a paired difference with its interval")
def _(judge: Verdict, draw: Draw) -> None:
    sweep = _sweep(draw, gap=0.3, noise=0.05)
    rate_a, rate_b, low, high = _right(*sweep)
    a, b = sweep[1][:, rate_a], sweep[3][:, rate_b]
    answer = torch.tensor(_answer(judge, sweep)[2:4])
    if torch.allclose(answer, torch.tensor([low, high]), atol=1e-3):
        return
    unpaired = QUANTILE[5] * ((a.var() + b.var()) / 5).sqrt().item()
    if abs((answer[1] - answer[0]).item() / 2 - unpaired) < 1e-3:
        raise CheckFailed("this interval treats the seeds as unpaired: take the difference within each seed first")
    if torch.allclose(answer, torch.tensor([-high, -low]), atol=1e-3):
        raise CheckFailed("the sign is reversed: the second arm's loss minus the first one's")
    half = (b - a).std().item() * QUANTILE[5]
    if abs((answer[1] - answer[0]).item() / 2 - half) < 1e-3:
        raise CheckFailed("the standard error of a mean is the deviation divided by the root of the number of seeds")
    raise CheckFailed(f"the interval is {answer[0]:.3f} to {answer[1]:.3f}, right is {low:.3f} to {high:.3f}")


@verdict.stage("the verdict")
def _(judge: Verdict, draw: Draw) -> None:
    cases = ((0.6, 0.02), (-0.6, 0.02), (0.0, 0.6))
    for gap, noise in cases:
        for _ in range(3):
            sweep = _sweep(draw, gap=gap, noise=noise)
            *_, low, high = _right(*sweep)
            right = "a" if low > 0 else "b" if high < 0 else "undecided"
            said = _answer(judge, sweep)[4]
            if said != right:
                raise CheckFailed(
                    f"the interval of b minus a is {low:.2f} to {high:.2f} and the verdict {said!r}: it should be "
                    f"{right!r}. A lower loss is better; an interval that contains zero decides nothing"
                )

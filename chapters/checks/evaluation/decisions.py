"""Checks of the exercises on decisions: an exact permutation test, and the best of several equal systems."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close
from plm_core.evaluation.significance import mean_difference, paired_permutation

# --- 3: an exact permutation test -----------------------------------------------------------------------------------

exact = Check("An exact permutation test")

PFunction = Callable[[Sequence[float], Sequence[float]], Any]
TOLERANCE = 1e-9


def _scores(draw: Draw, count: int) -> tuple[list[float], list[float]]:
    one, other = draw.normal(count).tolist(), (draw.normal(count) - 0.5).tolist()
    return one, other


def _share(one: Sequence[float], other: Sequence[float], kind: str) -> float:
    difference = np.subtract(one, other)
    found = difference.mean()
    drawn = np.array([(difference * signs).mean() for signs in product((1, -1), repeat=len(difference))])
    if kind == "one-sided":
        return float((drawn >= found - TOLERANCE).mean())
    return float((np.abs(drawn) > abs(found) + TOLERANCE).mean())  # "larger only"


@exact.stage("no difference")
def _(function: PFunction, draw: Draw) -> None:
    one = draw.normal(6).tolist()
    found = float(function(one, one))
    if found != 1:
        hint = "a difference as large as the one found counts, too" if found == 0 else "nothing is as large as 0"
        raise CheckFailed(f"two equal systems have p = {found:.3g} where 1 is right: {hint}")


@exact.stage("both sides")
def _(function: PFunction, draw: Draw) -> None:
    one, other = [1.0] * 5, [0.0] * 5
    mistakes = {
        "one side only: without a difference, the other system would look better as often": torch.tensor(1 / 32),
        "a difference as large as the one found counts, too": torch.tensor(0.0),
    }
    expect_close(function(one, other), torch.tensor(2 / 32), what="p", mistakes=mistakes, tolerance=1e-6)


@exact.stage("reference")
def _(function: PFunction, draw: Draw) -> None:
    one, other = _scores(draw, 8)
    right = paired_permutation(mean_difference(one, other), 8)
    mistakes = {
        "one side only: take absolute values": torch.tensor(_share(one, other, "one-sided")),
        "a difference as large as the one found counts, too": torch.tensor(_share(one, other, "larger only")),
    }
    message = "Exchange the two scores of an example, and leave them in their pair."
    expect_close(
        function(one, other), torch.tensor(right), what="p", message=message, mistakes=mistakes, tolerance=1e-6
    )


# --- 6: the best of several equal systems ---------------------------------------------------------------------------

lucky = Check("The best of several equal systems")

ExcessFunction = Callable[[int, float, int], Any]
RELATIVE = 0.02
"""Largest relative error: six standard errors or more of a simulation with 200,000 draws."""


def _mean_largest(count: int) -> float:
    grid = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    normal = torch.distributions.Normal(0.0, 1.0)
    density = count * normal.log_prob(grid).exp() * normal.cdf(grid) ** (count - 1)
    return float((grid * density).sum() * (grid[1] - grid[0]))


def _expect(function: ExcessFunction, count: int, disagree: float, texts: int) -> None:
    found = float(function(count, disagree, texts))
    right = _mean_largest(count) * math.sqrt(disagree / (2 * texts))
    if abs(found - right) <= RELATIVE * right:
        return
    if abs(found - right * math.sqrt(2)) <= RELATIVE * right * math.sqrt(2):
        raise CheckFailed("d / N is the variance of the difference of two systems; each has half of it")
    if abs(found - 2 * right) <= 2 * RELATIVE * right and count == 2:
        raise CheckFailed("this is the mean distance of the two systems, not that of the better one from the truth")
    raise CheckFailed(f"the excess of the best of {count} is {found:.4g} where {right:.4g} is right")


@lucky.stage("one system")
def _(function: ExcessFunction, draw: Draw) -> None:
    found = float(function(1, 0.1, 1000))
    if not abs(found) <= 1e-3:  # so that NaN fails, too
        raise CheckFailed(f"with one system nothing is chosen, so the excess is 0, not {found:.4g}")


@lucky.stage("two systems")
def _(function: ExcessFunction, draw: Draw) -> None:
    _expect(function, 2, 0.05 * draw.integer(1, 6), 100 * draw.integer(2, 20))


@lucky.stage("many systems")
def _(function: ExcessFunction, draw: Draw) -> None:
    _expect(function, draw.integer(10, 60), 0.05 * draw.integer(1, 6), 100 * draw.integer(2, 20))

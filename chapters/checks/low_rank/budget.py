"""Check of the exercise on a budget of ranks: what each costs, what each gains, and what still fits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from plm_chapters.checks.feedback import Check, CheckFailed, Draw

Function = Callable[..., Any]

budget = Check("spend: ranks by budget")


def total(gains: list[list[float]], ranks: tuple[int, ...] | list[int]) -> float:
    """The error that these ranks take away."""
    return sum(sum(gain[:rank]) for gain, rank in zip(gains, ranks, strict=True))


def spent(answer: Any, gains: list[list[float]], costs: list[int], limit: int) -> list[int]:
    """The student's ranks, once they are whole numbers within the budget."""
    if not isinstance(answer, list | tuple) or len(answer) != len(gains):
        raise CheckFailed(f"spend should return a list of {len(gains)} ranks, but it returned {answer!r}")
    ranks = [int(rank) for rank in answer]
    if any(not 0 <= rank <= len(gain) for rank, gain in zip(ranks, gains, strict=True)):
        raise CheckFailed(f"ranks {ranks}: each must lie between 0 and the number of gains of its layer")
    cost = sum(rank * cost for rank, cost in zip(ranks, costs, strict=True))
    if cost > limit:
        raise CheckFailed(f"ranks {ranks} cost {cost}, but the budget is {limit}")
    return ranks


def falling(draw: Draw, count: int) -> list[float]:
    """Squared singular values in falling order."""
    return sorted((draw.normal(count).square() + 0.01).tolist(), reverse=True)


@budget.stage("layers of one cost")
def _(spend: Function, draw: Draw) -> None:
    gains = [falling(draw, 4) for _ in range(3)]
    ranks = spent(spend(gains, [10, 10, 10], 65), gains, [10, 10, 10], 65)
    best = max((r for r in product(range(5), repeat=3) if sum(r) <= 6), key=lambda r: total(gains, r))
    if sum(ranks) < 6:
        raise CheckFailed(f"ranks {ranks} leave money for {6 - sum(ranks)} more: buy until nothing fits")
    if total(gains, ranks) < total(gains, best) - 1e-6:
        raise CheckFailed(
            f"ranks {ranks} take away {total(gains, ranks):.2f}, ranks {list(best)} {total(gains, best):.2f}"
        )


@budget.stage("gain per weight")
def _(spend: Function, draw: Draw) -> None:
    scale = 1 + draw.integer(0, 5)
    gains = [[3.0 * scale, 2.9 * scale], [2.0 * scale, 1.9 * scale, 1.8 * scale, 1.7 * scale]]
    ranks = spent(spend(gains, [40, 10], 40), gains, [40, 10], 40)
    if ranks == [1, 0]:
        raise CheckFailed("the largest gain was bought first, but it costs four times as much: compare gain per weight")
    if ranks != [0, 4]:
        raise CheckFailed(f"ranks {ranks} where [0, 4] is right: four cheap ranks take away more than one dear one")


@budget.stage("what no longer fits")
def _(spend: Function, draw: Draw) -> None:
    gains = [[90.0, 80.0], [1.0 + draw.integer(0, 3), 0.5]]
    ranks = spent(spend(gains, [30, 5], 40), gains, [30, 5], 40)
    if ranks == [1, 0]:
        raise CheckFailed("the next best rank was too dear and the buying stopped: a cheaper one may still fit")
    if ranks != [1, 2]:
        raise CheckFailed(f"ranks {ranks} where [1, 2] is right")

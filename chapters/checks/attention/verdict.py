"""Checks of the exercise that judges an experiment: rates chosen on validation data, paired seeds, an interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close

judgement = Check("Judge an experiment")
RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
SEEDS = 3
STUDENT = 4.303
"""The 97.5 % point of Student's distribution with two degrees of freedom."""

Arm = dict[str, dict[float, Any]]
"""``validation``: accuracy by rate; ``test``: a list of accuracies, one for each seed, by rate."""


def draw_arm(draw: Draw, common: Tensor, *, best: int, level: float) -> Arm:
    """An arm whose validation accuracy is best at one rate, while the next rate happens to do better on test data.

    Args:
        draw: the source of noise.
        common: what each seed adds to every arm and rate, (seeds,).
        best: the place of the best rate among all.
        level: the accuracy there.
    """
    validation = {rate: round(level - 0.05 * abs(number - best), 4) for number, rate in enumerate(RATES)}
    test = {}
    for number, rate in enumerate(RATES):
        lucky = 0.08 if number == (best + 1) % len(RATES) else 0.0
        accuracies = validation[rate] + lucky + common + draw.normal(SEEDS, scale=0.002)
        test[rate] = [round(x, 4) for x in accuracies.tolist()]
    return {"validation": validation, "test": test}


def draw_experiment(draw: Draw, *, gap: float, best: tuple[int, int] = (2, 1), agree: bool = True) -> tuple[Arm, Arm]:
    """Two arms, the first better by ``gap``, whose good and bad seeds are the same, or opposite without ``agree``."""
    common = torch.tensor([-0.05, 0.0, 0.05])[draw.normal(SEEDS).argsort()]
    one = draw_arm(draw, common, best=best[0], level=0.7)
    return one, draw_arm(draw, common if agree else common.flip(0), best=best[1], level=0.7 - gap)


def reference(one: Arm, other: Arm) -> tuple[float, float, float, float, str]:
    """The right answer of ``judge``."""
    rates = [max(arm["validation"], key=lambda rate: arm["validation"][rate]) for arm in (one, other)]
    pairs = zip(*(arm["test"][rate] for arm, rate in zip((one, other), rates, strict=True)), strict=True)
    differences = [a - b for a, b in pairs]
    mean = statistics.mean(differences)
    half = STUDENT * statistics.stdev(differences) / math.sqrt(SEEDS)
    edge = any(
        rate in (min(arm["validation"]), max(arm["validation"])) for arm, rate in zip((one, other), rates, strict=True)
    )
    verdict = "widen" if edge else "first" if mean > half else "second" if mean < -half else "unclear"
    return rates[0], rates[1], mean, half, verdict


def _judged(judge: Callable[..., Any], arms: tuple[Arm, Arm]) -> tuple[Any, ...]:
    returned = judge(*arms)
    if not isinstance(returned, tuple) or len(returned) != 5:
        raise CheckFailed("judge must return five things: two rates, the difference, its half-width and the verdict")
    return returned


@judgement.stage("rates")
def _(judge: Callable[..., Any], draw: Draw) -> None:
    arms = draw_experiment(draw, gap=0.1)
    seen, right = _judged(judge, arms)[:2], reference(*arms)[:2]
    if tuple(seen) == right:
        return
    by_test = tuple(max(arm["test"], key=lambda rate: statistics.mean(arm["test"][rate])) for arm in arms)
    if tuple(seen) == by_test:
        raise CheckFailed("the rates were chosen by the test results: these are for the report alone")
    raise CheckFailed(f"the rates are {seen} where {right} have the best validation accuracy")


@judgement.stage("difference and interval")
def _(judge: Callable[..., Any], draw: Draw) -> None:
    arms = draw_experiment(draw, gap=0.05)
    _, _, mean, half, _ = _judged(judge, arms)
    _, _, right_mean, right_half, _ = reference(*arms)
    expect_close(mean, torch.tensor(right_mean), what="the difference", message="First arm minus second.")
    tests = [arm["test"][rate] for arm, rate in zip(arms, reference(*arms)[:2], strict=True)]
    unpaired = STUDENT * math.sqrt(sum(statistics.variance(each) for each in tests) / SEEDS)
    mistakes = {
        "the seeds are not paired: subtract seed by seed before you take the standard deviation": torch.tensor(
            unpaired
        ),
        "this is the standard error: multiply it by Student's 4.303": torch.tensor(right_half / STUDENT),
        "divide the standard deviation by the root of the number of seeds": torch.tensor(right_half * math.sqrt(SEEDS)),
    }
    message = "4.303 times the standard deviation of the differences, over the root of 3."
    expect_close(
        half, torch.tensor(right_half), what="the half-width", message=message, mistakes=mistakes, tolerance=1e-5
    )


@judgement.stage("verdict")
def _(judge: Callable[..., Any], draw: Draw) -> None:
    cases = [(gap, True) for gap in (0.1, -0.1, 0.015, -0.015)]  # small gaps too, outside their narrow intervals
    for gap, agree in [*cases, (0.0, False), (0.04, False), (-0.04, False)]:  # larger ones inside wide intervals
        arms = draw_experiment(draw, gap=gap, agree=agree)
        *_, seen = _judged(judge, arms)
        *_, mean, half, right = reference(*arms)
        if seen != right:
            raise CheckFailed(
                f"the verdict is {seen!r} for a difference of {mean:.4f} ± {half:.4f}: {right!r} is right"
            )


@judgement.stage("a rate at the edge")
def _(judge: Callable[..., Any], draw: Draw) -> None:
    for best in ((4, 2), (0, 2), (2, 4), (2, 0)):
        *_, seen = _judged(judge, draw_experiment(draw, gap=0.1, best=best))
        if seen != "widen":
            raise CheckFailed(
                f"the verdict is {seen!r} though one arm is best at the edge of its sweep: a better rate may lie "
                "beyond, so the sweep must be widened first"
            )

"""Checks of the exercise on the size of a batch: the noise scale, steps by batch size, a plan for several machines.

Letters: G gradients, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

batch_size = Check("How large a batch")

NoiseScale = Callable[[Tensor, int], Any]
FitSteps = Callable[[dict[int, float]], Any]
Plan = Callable[[float, float, int, int], Any]

REASONS = {
    "A": "in the table, 100 stories instead of 10 save far less than nine steps of ten",
    "B": "with B = B_crit the formula gives 2 S_min steps of B_crit stories",
    "C": "there, the time is proportional to the stories read, steps times batch size: compare the seven products",
    "D": "more machines make the batch larger, and no batch needs fewer than S_min steps: fit the table",
    "E": "put B = 2 and your fitted B_crit into 1 + B_crit / B",
    "F": "the table holds one target loss, and nothing in it tells how the noise changes as the loss falls",
}
"""Why each statement follows from the table, or why it does not."""
FOLLOWING = frozenset("BCE")


def _number(value: Any, what: str) -> Tensor:
    """A student's number; an array or tensor that holds a single one is a number, too."""
    if math.prod(getattr(value, "shape", (0,))) == 1:
        value = value.reshape(())
    return expect_tensor(value, (), what=what)


def _pair(value: Any, what: str, names: str) -> tuple[Any, Any]:
    """What a student returned, if it is a tuple, a list, an array or a tensor of two."""
    if value is None or value is ...:
        raise CheckFailed(f"{what} is {value}: is the code written, and does it `return`?")
    shape = (len(value),) if isinstance(value, tuple | list) else tuple(getattr(value, "shape", ()))
    if shape[:1] != (2,):
        raise CheckFailed(f"{what} should return two numbers, {names}; got {value!r}")
    return value[0], value[1]


def _exact(value: float | list[Any]) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


# --- the noise scale ------------------------------------------------------------------------------------------------


def _gradients(draw: Draw, count: int, parameters: int, noise: float) -> Tensor:
    """Noisy copies of one gradient; ``noise`` is the standard deviation relative to the gradient's."""
    return draw.normal(parameters) + noise * draw.normal(count, parameters)


def _squares(gradients_GP: Tensor) -> tuple[float, float]:
    """The mean squared norm of one gradient, and the squared norm of the mean of all."""
    gradients_GP = gradients_GP.double()
    return gradients_GP.square().sum(1).mean().item(), gradients_GP.mean(0).square().sum().item()


def _estimates(gradients_GP: Tensor, size: int) -> tuple[float, float]:
    """Unbiased estimates of tr(Sigma) and of |G|^2 (McCandlish et al. 2018, appendix A.1)."""
    count, (one, mean) = len(gradients_GP), _squares(gradients_GP)
    noise = (one - mean) / (1 / size - 1 / (count * size))
    return noise, mean - noise / (count * size)


@batch_size.stage("the noise scale from many gradients")
def _(noise_scale: NoiseScale, fit_steps: FitSteps, plan: Plan, follows: Any, draw: Draw) -> None:
    # so many gradients that the noise left in their mean does not matter
    for size in draw.sizes(2, 4, 12):
        gradients_GP = _gradients(draw, 2000, draw.integer(30, 50), 0.7)
        noise, signal = _estimates(gradients_GP, size)
        one, _ = _squares(gradients_GP)
        right = noise / signal
        mistakes = {
            "this is the noise of a batch's gradient; that of one story is `size` times as large": right / size,
            "this divides by `size`: the variance of a batch's gradient is tr(Σ) / size, so multiply it by `size`": (
                right / size**2
            ),
            "the fraction is upside down: noise over gradient": 1 / right,
            "the norm of the gradient is not squared": noise / math.sqrt(signal),
            "this divides by the mean squared norm of one batch's gradient, which is mostly noise if the batch is "
            "small: |G|² belongs to the gradient without noise": noise / one,
            "from the squared norm of the mean of all G gradients, only the noise of G · size stories is to be "
            "subtracted, not that of one batch": noise / (signal - noise / size),
        }
        expect_close(
            _number(noise_scale(gradients_GP.clone(), size), "the noise scale"),
            _exact(right),
            what=f"the noise scale from 2000 gradients of {size} stories each",
            message="tr(Σ) is `size` times the variance of a batch's gradient, summed over its P entries.",
            mistakes={text: _exact(value) for text, value in mistakes.items()},
            tolerance=0.01,
        )


@batch_size.stage("the noise scale from few gradients")
def _(noise_scale: NoiseScale, fit_steps: FitSteps, plan: Plan, follows: Any, draw: Draw) -> None:
    for count in draw.sizes(2, 4, 7):
        size = draw.integer(8, 20)
        gradients_GP = _gradients(draw, count, draw.integer(60, 90), 1.0)
        noise, signal = _estimates(gradients_GP, size)
        one, mean = _squares(gradients_GP)
        biased = size * (one - mean)
        mistakes = {
            "the mean of all gradients still holds noise, which makes its squared norm too large on average: subtract "
            "tr(Σ) / (G · size)": noise / mean,
            "both parts are biased: the variance divides by G - 1, and the squared norm of the mean of all gradients "
            "still holds noise, tr(Σ) / (G · size)": biased / mean,
            "the variance is too small on average: divide by G - 1, not by G": biased / signal,
            "the variance is too small on average, and with it what is subtracted from |G|²: divide by G - 1, "
            "not by G": biased / (mean - biased / (count * size)),
        }
        expect_close(
            _number(noise_scale(gradients_GP.clone(), size), "the noise scale"),
            _exact(noise / signal),
            what=f"the noise scale from {count} gradients of {size} stories each",
            message="Two equations for two unknowns: the mean square is |G|² + tr(Σ) / B, for B = size and G · size.",
            mistakes={text: _exact(value) for text, value in mistakes.items()},
            tolerance=0.001,
        )
    gradient_P = draw.normal(20)
    only_noise = _number(noise_scale(torch.stack([gradient_P, -gradient_P]), 3), "the noise scale").item()
    if only_noise != math.inf:
        raise CheckFailed(
            f"two opposite gradients give {only_noise:.4g}; the estimate of |G|² is not positive here, so return "
            "math.inf"
        )


# --- the fit --------------------------------------------------------------------------------------------------------


def _fit(steps: dict[int, float], power: int = 1) -> tuple[float, float]:
    """The fewest steps and the critical size, by least squares of the error divided by a power of the steps."""
    sizes_N, steps_N = _exact(list(steps)), _exact(list(steps.values()))
    terms_N2 = torch.stack([torch.ones_like(sizes_N), 1 / sizes_N], 1) / steps_N[:, None] ** power
    solved = torch.linalg.lstsq(terms_N2, (steps_N ** (1 - power))[:, None]).solution
    fewest, slope = solved.flatten().tolist()
    return fewest, slope / fewest


def _steps(draw: Draw, *, count: int, ratio: int, error: float) -> dict[int, float]:
    """Steps by batch size, alternately more and fewer than the formula says, in no order."""
    fewest, critical, first = draw.integer(100, 400), draw.integer(8, 40), draw.integer(1, 4)
    sign = 2 * draw.integer(0, 1) - 1
    steps = {}
    for number in range(count):
        size = first * ratio**number
        away = error * (0.7 + 0.03 * draw.integer(0, 10)) * sign * (-1) ** number
        steps[size] = fewest * (1 + critical / size) * (1 + away)
    order = torch.randperm(count, generator=draw.generator).tolist()
    return {list(steps)[number]: list(steps.values())[number] for number in order}


@batch_size.stage("the fit")
def _(noise_scale: NoiseScale, fit_steps: FitSteps, plan: Plan, follows: Any, draw: Draw) -> None:
    for count, ratio, error in ((3, 5, 0.0), (4, 4, 0.15), (6, 3, 0.15)):
        steps = _steps(draw, count=count, ratio=ratio, error=error)
        fewest, critical = _fit(steps)
        found, size = _pair(fit_steps(dict(steps)), "fit_steps(...)", "the fewest steps and the critical batch size")
        case = ", ".join(f"{key}: {value:.0f}" for key, value in sorted(steps.items()))
        absolute, squared = _fit(steps, power=0), _fit(steps, power=2)
        weights = "all errors count alike here, so small batches with their many steps decide: divide each by its steps"
        twice = "each error is divided by the square of its steps: divide it by the steps, then square"
        message = f"Minimise the sum of ((S_min + S_min B_crit / B - S) / S)² for the steps {{{case}}}."
        expect_close(
            _number(found, "S_min"),
            _exact(fewest),
            what="S_min",
            message=message,
            mistakes={
                "the two numbers are exchanged: first the fewest steps, then the critical batch size": _exact(critical),
                weights: _exact(absolute[0]),
                twice: _exact(squared[0]),
            },
            tolerance=0.002,
        )
        expect_close(
            _number(size, "B_crit"),
            _exact(critical),
            what="B_crit",
            message=message,
            mistakes={
                "this is S_min · B_crit, the fewest stories: divide it by S_min": _exact(fewest * critical),
                weights: _exact(absolute[1]),
                twice: _exact(squared[1]),
            },
            tolerance=0.002,
        )


# --- the plan -------------------------------------------------------------------------------------------------------


@batch_size.stage("the plan")
def _(noise_scale: NoiseScale, fit_steps: FitSteps, plan: Plan, follows: Any, draw: Draw) -> None:
    for low, high in ((2, 5), (5, 9), (30, 60)):  # below, near and far above the critical size
        machines, each = draw.sizes(2, low, high)
        fewest, critical = draw.integer(100, 400) + 0.4, draw.integer(20, 60) + 0.3
        batch = machines * each
        right = fewest * (1 + critical / batch)
        alone = fewest * (1 + critical / each)
        steps, stories = _pair(plan(fewest, critical, machines, each), "plan(...)", "the steps and the stories")
        case = f"{machines} machines with {each} stories each, S_min = {fewest} and B_crit = {critical}"
        expect_close(
            _number(steps, "steps"),
            _exact(right),
            what=f"the number of steps, for {case},",
            message="S = S_min (1 + B_crit / B), and B is the number of stories that all machines read in one step.",
            mistakes={
                "these are the steps of one machine alone: the batch is what all machines read in one step": (
                    _exact(alone)
                ),
                "many machines do not divide the number of steps: they make the batch larger": _exact(alone / machines),
                "the two numbers are exchanged: first the steps, then the stories": _exact(right * batch),
                "do not round the steps": _exact(float(round(right))),
                "do not round the steps up": _exact(float(math.ceil(right))),
            },
        )
        expect_close(
            _number(stories, "stories"),
            _exact(right * batch),
            what=f"the number of stories, for {case},",
            message="In each step the machines together read one batch.",
            mistakes={
                "these are the stories of one machine: count those of all machines": _exact(right * each),
                "this is the number of stories in one batch: multiply it by the steps": _exact(float(batch)),
                "these are the fewest stories, which only small batches come near to": _exact(fewest * critical),
            },
        )


# --- the statements -------------------------------------------------------------------------------------------------


@batch_size.stage("the statements")
def _(noise_scale: NoiseScale, fit_steps: FitSteps, plan: Plan, follows: Any, draw: Draw) -> None:
    if not isinstance(follows, set | frozenset | list | tuple) or not set(follows) <= set(REASONS):
        raise CheckFailed(f'follows should be a set of letters from "A" to "F", such as {{"A", "B"}}; got {follows!r}')
    for letter, reason in REASONS.items():
        if letter in follows and letter not in FOLLOWING:
            raise CheckFailed(f"{letter} does not follow: {reason}")
        if letter in FOLLOWING and letter not in follows:
            raise CheckFailed(f"{letter} follows: {reason}")

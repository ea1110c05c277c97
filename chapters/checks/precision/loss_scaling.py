"""Checks of the exercises on loss scaling: the dynamic scale, and a training step in the right order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close

# --- the dynamic scale ----------------------------------------------------------------------------------------------

dynamic_scale = Check("next_scale: the scale of the next step")


def reference_scales(overflows: list[bool], scale: float, interval: int) -> list[float]:
    """The scale after each step, by torch's own scaler fed with gradients that are finite or not."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=interval)
    scales = []
    for overflow in overflows:
        scaler.scale(weight.sum() * (float("inf") if overflow else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    return scales


def student_scales(next_scale: Callable[..., Any], overflows: list[bool], scale: float, interval: int) -> list[float]:
    """The scale after each step by a student's function, which is handed its own last answer."""
    streak, scales = 0, []
    for overflow in overflows:
        answer = next_scale(scale, streak, overflow, interval)
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise CheckFailed(f"next_scale(...) should return the pair (scale, streak), not {answer!r}")
        scale, streak = float(answer[0]), int(answer[1])
        scales.append(scale)
    return scales


def expect_scales(next_scale: Callable[..., Any], overflows: list[bool], interval: int, message: str) -> None:
    """Compare a student's scales with torch's, and show the first step that differs."""
    mine = student_scales(next_scale, overflows, 2.0**16, interval)
    true = reference_scales(overflows, 2.0**16, interval)
    for step, (a, b) in enumerate(zip(mine, true, strict=True), 1):
        if a != b:
            seen = "".join("x" if overflow else "." for overflow in overflows[:step])
            raise CheckFailed(f"after the steps {seen} (x: overflow) the scale is {a:g}, not {b:g}. {message}")


@dynamic_scale.stage("an overflow halves")
def _(next_scale: Callable[..., Any], draw: Draw) -> None:
    expect_scales(next_scale, [True, True, False, True], 100, "An overflow halves the scale, whatever came before.")


@dynamic_scale.stage("a streak of good steps doubles")
def _(next_scale: Callable[..., Any], draw: Draw) -> None:
    interval = draw.integer(3, 6)
    message = f"The scale doubles after {interval} good steps in a row, and the count begins again."
    expect_scales(next_scale, [False] * (2 * interval + 1), interval, message)


@dynamic_scale.stage("torch's scaler")
def _(next_scale: Callable[..., Any], draw: Draw) -> None:
    steps = [draw.integer(0, 5) == 0 for _ in range(60)]
    message = "Does an overflow set the streak back to 0?"
    expect_scales(next_scale, [False, False, True, False, False, False, *steps], 3, message)


# --- one step -------------------------------------------------------------------------------------------------------

training_step = Check("train_step: a step with a scaler")


class CountingSchedule:
    """Stands in for a learning-rate schedule, and counts how often it was stepped."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self) -> None:
        self.steps += 1


def attempt(train_step: Callable[..., Any], *gradients: Tensor) -> tuple[Tensor, int, float]:
    """Run a student's step on losses of known gradients; return the weights, the schedule's count and the scale.

    The optimiser is plain gradient descent with rate 1 from zero, so the weights are minus the sum of the gradients
    that it saw.
    """
    weight = nn.Parameter(torch.zeros_like(gradients[0]))
    optimizer, schedule = torch.optim.SGD([weight], lr=1.0), CountingSchedule()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for gradient in gradients:
        train_step((weight * gradient).sum(), [weight], optimizer, scaler, schedule, 1.0)
    return weight.detach(), schedule.steps, scaler.get_scale()


@training_step.stage("a gradient below the limit is left alone")
def _(train_step: Callable[..., Any], draw: Draw) -> None:
    gradient = draw.normal(6)
    gradient = 0.5 * gradient / gradient.norm()
    mistakes: dict[str, Tensor | Callable[[], Tensor]] = {
        "the gradient was clipped before it was unscaled: its norm was 1024 times too large": -gradient / 512,
        "the weights did not move: is step called?": torch.zeros(6),
        "the gradient still carries the scale": -gradient * 1024,
    }
    change, _, _ = attempt(train_step, gradient)
    expect_close(
        change, -gradient, what="the step", mistakes=mistakes, message="Its norm is below max_norm.", tolerance=1e-5
    )


@training_step.stage("a gradient above the limit is clipped")
def _(train_step: Callable[..., Any], draw: Draw) -> None:
    gradient = draw.normal(6)
    gradient = 7 * gradient / gradient.norm()
    mistakes: dict[str, Tensor | Callable[[], Tensor]] = {
        "the gradient was not clipped": -gradient,
        "the gradient was clipped before it was unscaled": -gradient / 7 / 1024,
    }
    change, _, _ = attempt(train_step, gradient)
    expect_close(
        change, -gradient / 7, what="the step", mistakes=mistakes, message="Clip it to max_norm.", tolerance=1e-4
    )


@training_step.stage("an overflow changes nothing but the scale")
def _(train_step: Callable[..., Any], draw: Draw) -> None:
    overflow, gradient = draw.normal(6), draw.normal(6)
    overflow[draw.integer(0, 5)] = float("inf")
    gradient = 0.5 * gradient / gradient.norm()
    weight, _, scale = attempt(train_step, overflow)
    if bool((weight != 0).any()):
        raise CheckFailed("the gradient was infinite and the weights moved: let the scaler step, not the optimiser")
    if scale != 2.0**9:
        raise CheckFailed(f"after an overflow the scale is {scale:g}, not half of 1024: is update called?")
    weight, _, _ = attempt(train_step, overflow, gradient)
    message = "Are the gradients cleared after a skipped step, too? Is this one clipped in its true size?"
    expect_close(weight, -gradient, what="the good step after an overflow", message=message, tolerance=1e-5)


@training_step.stage("the schedule waits")
def _(train_step: Callable[..., Any], draw: Draw) -> None:
    gradient = draw.normal(6)
    _, steps, _ = attempt(train_step, gradient)
    if steps != 1:
        raise CheckFailed(f"a good step moves the schedule once; it was moved {steps} times")
    # the loss is finite; times the scale of 1024 the gradient is not
    _, steps, _ = attempt(train_step, gradient * 1e37)
    if steps:
        raise CheckFailed("the schedule moved on a skipped step: compare the scale before and after update")

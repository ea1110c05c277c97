"""Checks of the exercises on gradients through time: by pencil, predicted, clipped, and a whole backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, call_by_hand, expect_close, expect_tensor

# --- 1: three steps by pencil ---------------------------------------------------------------------------------------

pencil = Check("Three steps back in time")

RIGHT = {"h3": 3.0, "delta1": 16.0, "w": 16.0, "u": 12.0}


def _entry(answer: Any, name: str, hints: Mapping[float, str]) -> None:
    if not isinstance(answer, Mapping) or set(answer) != set(RIGHT):
        raise CheckFailed("by_pencil should be a dictionary with the keys h3, delta1, w and u")
    found = answer[name]
    if found is ... or found is None:
        raise CheckFailed(f"{name} is still missing")
    if not abs(float(found) - RIGHT[name]) <= 1e-9:
        raise CheckFailed(f"{name} is not {found}: {hints.get(float(found), 'go one step at a time')}")


@pencil.stage("forward")
def _(answer: Any, draw: Draw) -> None:
    _entry(answer, "h3", {5.0: "x at the third step is -1", 0.0: "each step keeps w times the state before"})


@pencil.stage("back to the first step")
def _(answer: Any, draw: Draw) -> None:
    hints = {
        4.0: "the gradient is multiplied by w at every step back",
        8.0: "from step 3 to step 1 there are two factors w",
        32.0: "from step 3 to step 1 there are two factors w, not three",
        -16.0: "h3 - y is positive",
    }
    _entry(answer, "delta1", hints)


@pencil.stage("the shared weights")
def _(answer: Any, draw: Draw) -> None:
    hints = {
        8.0: "this is the share of one step: w is used at others too",
        44.0: "the share of step t is its delta times the state before the step",
    }
    _entry(answer, "w", hints)
    _entry(answer, "u", {20.0: "x at the third step is -1: its share is negative", 16.0: "the third step has a share"})


# --- 2: predict -----------------------------------------------------------------------------------------------------

predicted = Check("Sizes of gradients, predicted")


def _numbers(answer: Any) -> list[float]:
    if not isinstance(answer, Sequence) or len(answer) != 4 or any(each is ... or each is None for each in answer):
        raise CheckFailed("sizes should be a list of four numbers")
    return [float(each) for each in answer]


def _near(found: float, right: float) -> bool:
    return abs(found - right) <= 0.02 * abs(right)


@predicted.stage("a power of the radius")
def _(answer: Any, draw: Draw) -> None:
    first, second, *_ = _numbers(answer)
    if not _near(first, 0.5**10):
        raise CheckFailed("the first is 0.5 to the power of 10: ten steps, ten factors")
    if not _near(second, 1.1**50):
        hint = "50 · 0.1 would be growth by addition; " if _near(second, 6.0) or _near(second, 5.0) else ""
        raise CheckFailed(f"for the second, {hint}the gradient is multiplied by 1.1 fifty times")


@predicted.stage("a forget gate")
def _(answer: Any, draw: Draw) -> None:
    third = _numbers(answer)[2]
    if third in (0.0, 1.0):
        raise CheckFailed("the bias goes through a sigmoid: at 0 the gate stands at one half")
    if not _near(third, 0.125):
        raise CheckFailed("a gate of one half halves the derivative at each of the three steps")


@predicted.stage("a clipped norm")
def _(answer: Any, draw: Draw) -> None:
    last = _numbers(answer)[3]
    if _near(last, 1.0):
        raise CheckFailed("that would be clipping by value: an entry of the clipped gradient is asked for")
    if not _near(last, 0.6):
        raise CheckFailed("the norm of (3, 4) is 5; all entries are divided by it")


# --- 5: clipping ----------------------------------------------------------------------------------------------------

clipping = Check("Clipping the norm")

ClipFunction = Callable[[list[Tensor], float], Any]


def _clip(function: ClipFunction, gradients: list[Tensor], largest: float) -> list[Tensor]:
    found = function([each.clone() for each in gradients], largest)
    if not isinstance(found, list | tuple) or len(found) != len(gradients):
        raise CheckFailed("clip should return a list with one gradient for each that it got")
    return [
        expect_tensor(each, tuple(given.shape), what="a clipped gradient")
        for each, given in zip(found, gradients, strict=True)
    ]


@clipping.stage("large gradients")
def _(function: ClipFunction, draw: Draw) -> None:
    gradients, largest = [draw.normal(3, 4, scale=5.0), draw.normal(4, scale=5.0)], draw.integer(3, 5) / 2
    norm = torch.cat([each.flatten() for each in gradients]).norm()
    apart = [each * min(1.0, largest / each.norm().item()) for each in gradients]
    for found, given, alone in zip(_clip(function, gradients, largest), gradients, apart, strict=True):
        mistakes = {
            "this cuts every entry, which changes the direction: clip the norm.": given.clamp(-largest, largest),
            "each gradient is clipped alone: the norm is that of all of them together.": alone,
            "the norm of the clipped gradients is 1: it should be `largest`.": given / norm,
        }
        expect_close(found, given * largest / norm, what="a clipped gradient", mistakes=mistakes)


@clipping.stage("small gradients")
def _(function: ClipFunction, draw: Draw) -> None:
    gradients = [draw.normal(3, 4, scale=0.01), draw.normal(4, scale=0.01)]
    norm = torch.cat([each.flatten() for each in gradients]).norm()
    for found, given in zip(_clip(function, gradients, 0.5), gradients, strict=True):
        mistakes = {"a small gradient was made larger: clip only above the threshold.": given * 0.5 / norm}
        expect_close(
            found * 100,
            given * 100,
            what="a small gradient, times 100,",
            mistakes={message: wrong * 100 for message, wrong in mistakes.items()},
        )


# --- 6: backward through time ---------------------------------------------------------------------------------------

backward = Check("Backpropagation through time")

BackwardFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Any]


def _case(draw: Draw, steps: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Arguments of the student's function, the right gradients, and the states."""
    batch, inputs, width = draw.sizes(3, 2, 6)
    x_BTI, weight_ih = draw.normal(batch, steps, inputs), draw.normal(width, inputs, scale=0.6)
    weight_hh, bias = draw.normal(width, width, scale=0.6), draw.normal(width)
    for each in (x_BTI, weight_ih, weight_hh, bias):
        each.requires_grad_()
    h_BH, states = torch.zeros(batch, width), []
    for x_BI in x_BTI.unbind(1):
        h_BH = torch.tanh(x_BI @ weight_ih.T + h_BH @ weight_hh.T + bias)
        states.append(h_BH)
    g_BH = draw.normal(batch, width)
    right = torch.autograd.grad(h_BH, [weight_ih, weight_hh, bias, x_BTI], g_BH)
    given = [each.detach() for each in (x_BTI, weight_ih, weight_hh, bias)]
    return [*given, g_BH], list(right), torch.stack(states, 1).detach()


def _gradients(function: BackwardFunction, given: list[Tensor]) -> tuple[Any, ...]:
    found = call_by_hand(function, *given)
    if not isinstance(found, tuple) or len(found) != 4:
        raise CheckFailed("rnn_backward should return four gradients: of weight_ih, weight_hh, the bias and x")
    return found


@backward.stage("one step")
def _(function: BackwardFunction, draw: Draw) -> None:
    given, right, states = _case(draw, 1)
    x_BTI, _, _, _, g_BH = given
    wrong = {"the derivative of tanh is 1 - h²: it is missing.": g_BH.sum(0)}
    found = _gradients(function, given)
    expect_close(found[2], right[2], what="the gradient of the bias", mistakes=wrong)
    expect_close(
        found[0],
        right[0],
        what="the gradient of weight_ih",
        mistakes={
            "this is its transpose's, taken apart: weights are (H, I).": (
                x_BTI[:, 0].T @ (g_BH * (1 - states[:, 0] ** 2))
            ).reshape(right[0].shape)
        },
    )


@backward.stage("several steps")
def _(function: BackwardFunction, draw: Draw) -> None:
    given, right, states = _case(draw, 5)
    g_BH = given[4]
    last = (g_BH * (1 - states[:, -1] ** 2)).sum(0)
    found = _gradients(function, given)
    expect_close(
        found[2],
        right[2],
        what="the gradient of the bias",
        mistakes={"this is the share of the last step alone: add up all steps.": last},
    )
    after = (g_BH * (1 - states[:, -1] ** 2)).T @ states[:, -1]
    expect_close(
        found[1],
        right[1],
        what="the gradient of weight_hh",
        mistakes={"weight_hh multiplies the state *before* the step.": after},
        message="step t adds delta_t times the state before it; the first state is 0.",
    )
    expect_close(found[0], right[0], what="the gradient of weight_ih")


@backward.stage("the inputs")
def _(function: BackwardFunction, draw: Draw) -> None:
    given, right, _ = _case(draw, 4)
    expect_close(
        _gradients(function, given)[3],
        right[3],
        what="the gradient of x",
        message="each step's own delta, times weight_ih",
    )

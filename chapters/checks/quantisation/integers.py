"""Checks of the exercises on quantisation: rounding, products of integers, ranges, and a gradient through rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

TensorFunction = Callable[..., Any]
Triple = tuple[Tensor, float, int]

# --- by pencil ---------------------------------------------------------------------------------------------------

pencil = Check("A product in three bits")


@pencil.stage("the weights")
def _(weights: Any, zero_point: Any, inputs: Any, total: Any, product: Any, draw: Draw) -> None:
    expect_close(
        weights,
        torch.tensor([3.0, -2.0, 1.0]),
        what="weights",
        message="The scale is 0.9 / 3; divide by it and round.",
        mistakes={
            "the largest of eight integers is 3, but a symmetric format leaves -4 out: the scale is 0.9 / 3": (
                torch.tensor([4.0, -2.0, 1.0])
            ),
            "round to the nearest integer; do not cut the fraction off": torch.tensor([3.0, -1.0, 0.0]),
        },
    )


@pencil.stage("the inputs")
def _(weights: Any, zero_point: Any, inputs: Any, total: Any, product: Any, draw: Draw) -> None:
    expect_close(
        zero_point,
        torch.tensor(-1.0),
        what="zero_point",
        message="The smallest input, -1.5, falls on -4. Three steps above it lies 0.",
        mistakes={"the sign: -4 stands for -1.5, so 0 is three integers above -4": torch.tensor(-7.0)},
    )
    expect_close(
        inputs,
        torch.tensor([3.0, 0.0, -4.0]),
        what="inputs",
        message="Divide by the scale 0.5, round, and add the zero point.",
        mistakes={"the zero point is not added": torch.tensor([4.0, 1.0, -3.0])},
    )


@pencil.stage("the product")
def _(weights: Any, zero_point: Any, inputs: Any, total: Any, product: Any, draw: Draw) -> None:
    expect_close(
        total,
        torch.tensor(7.0),
        what="total",
        message="Sum of the products, minus the zero point times the sum of the weights.",
        mistakes={
            "the zero point's part is missing": torch.tensor(5.0),
            "minus a negative zero point is plus": torch.tensor(3.0),
        },
    )
    expect_close(product, torch.tensor(1.05), what="product", message="Multiply the total by both scales.")


# --- affine ------------------------------------------------------------------------------------------------------

affine = Check("affine: integers with a zero point")


def answer_of(function: TensorFunction, x: Tensor, bits: int) -> Triple:
    """Call a student's ``affine`` and take its three values apart."""
    answer = function(x, bits)
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise CheckFailed("affine(x, bits) should return three things: integers, scale, zero_point")
    values = expect_tensor(answer[0], x.shape, what="the integers")
    scale, zero_point = (expect_tensor(part, (), what="scale and zero_point").item() for part in answer[1:])
    if not values.isfinite().all() or not 0 < scale < math.inf:
        raise CheckFailed(f"the integers should be finite and the scale positive and finite; the scale is {scale:g}")
    return values.double(), scale, int(zero_point)


@affine.stage("integers in their range")
def _(function: TensorFunction, draw: Draw) -> None:
    for bits in (8, 3):
        values, _, zero_point = answer_of(function, draw.normal(300) + 0.3, bits)
        if not torch.equal(values, values.round()):
            raise CheckFailed("the integers are no integers: round")
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        if values.min() < low or values.max() > high or not low <= zero_point <= high:
            raise CheckFailed(f"with {bits} bits integers and zero point lie between {low} and {high}: clip them")
        if values.max() - values.min() < high - low - 1:
            raise CheckFailed("the smallest and the largest number should fall on the ends of the range")


@affine.stage("zero stays zero")
def _(function: TensorFunction, draw: Draw) -> None:
    for sign in (1.0, -1.0):
        x = sign * (draw.normal(100).abs() + 2.0)
        values, scale, zero_point = answer_of(function, x, 8)
        if not -128 <= zero_point <= 127:
            raise CheckFailed(f"no int8 holds the zero point {zero_point}: the range has to hold 0, even if x does not")
        back = (values - zero_point) * scale
        if bool(((back - x).abs() > scale * 1.5).any()):
            raise CheckFailed(
                "all numbers lie on one side of zero, and they do not come back: the range has to hold 0, so its low "
                "end is at most 0 and its high end at least 0"
            )


@affine.stage("back within half a step")
def _(function: TensorFunction, draw: Draw) -> None:
    x = draw.normal(500) * 3 + 1
    values, scale, zero_point = answer_of(function, x, 6)
    error = ((values - zero_point) * scale - x).abs().max().item()
    best = ((x.max() - x.min()) / 63).item()
    if scale > best * 1.05:
        raise CheckFailed(f"the scale is {scale:.4f}; the whole range in 63 steps makes {best:.4f}")
    if error > scale * 0.51:
        found = "a whole step: floor or int() cuts off where round() should round" if error <= 1.01 * scale else "more"
        raise CheckFailed(f"a number comes back {error / scale:.2f} steps off, more than half a step: {found}")


# --- a product of integers ---------------------------------------------------------------------------------------

product = Check("integer_linear: the sum that holds a zero point")


def integers(draw: Draw, n: int, k: int, m: int) -> tuple[Tensor, float, int, Tensor, Tensor]:
    """Inputs, their scale and zero point, weights and their scales."""
    qx_NK = torch.randint(-128, 128, (n, k), generator=draw.generator).to(torch.int8)
    qw_MK = torch.randint(-127, 128, (m, k), generator=draw.generator).to(torch.int8)
    return qx_NK, 0.02, draw.integer(5, 60), qw_MK, draw.normal(m, 1).abs() / 50 + 0.001


def expected_product(qx_NK: Tensor, scale_x: float, zero_x: int, qw_MK: Tensor, scale_M1: Tensor) -> Tensor:
    """The product of what the integers stand for."""
    return ((qx_NK.double() - zero_x) * scale_x) @ (qw_MK.double() * scale_M1).T


@product.stage("shape")
def _(function: TensorFunction, draw: Draw) -> None:
    n, k, m = draw.sizes(3, 2, 9)
    answer = function(*integers(draw, n, k, m))
    expect_tensor(answer, (n, m), what="integer_linear(...)", hints={"the rows are the tokens: (N, M)": (m, n)})


@product.stage("no overflow")
def _(function: TensorFunction, draw: Draw) -> None:
    qx_NK, qw_MK = torch.full((2, 700), 127, dtype=torch.int8), torch.full((3, 700), 127, dtype=torch.int8)
    expect_close(
        function(qx_NK, 1.0, 0, qw_MK, torch.ones(3, 1)),
        torch.full((2, 3), 700.0 * 127 * 127),
        what="the product of the largest integers",
        message="int8 holds no more than 127: sum in a wider type (.long() or .int() before the product).",
    )


@product.stage("zeros in, zeros out")
def _(function: TensorFunction, draw: Draw) -> None:
    _, scale_x, zero_x, qw_MK, scale_M1 = integers(draw, 3, 12, 5)
    zeros_NK = torch.full((3, 12), zero_x, dtype=torch.int8)
    expect_close(
        function(zeros_NK, scale_x, zero_x, qw_MK, scale_M1),
        torch.zeros(3, 5),
        what="the output of an input that stands for zeros",
        message="The integer zero_x stands for 0: take zero_x times the row sums of the weights away.",
        tolerance=1e-3,
    )


@product.stage("reference")
def _(function: TensorFunction, draw: Draw) -> None:
    arguments = integers(draw, 6, 7, 6)
    qx_NK, scale_x, zero_x, qw_MK, scale_M1 = arguments
    expect_close(
        function(*arguments),
        expected_product(*arguments),
        what="integer_linear(...)",
        message="Both scales come after the sum, the weights' one for each output.",
        tolerance=1e-3,
        mistakes={
            "a row of the weights is an output, so its scale belongs to a column of the result: transpose it": lambda: (
                expected_product(qx_NK, scale_x, zero_x, qw_MK, torch.ones(6, 1)) * scale_M1
            ),
            "the zero point's part is added, not taken away": lambda: expected_product(
                qx_NK, scale_x, -zero_x, qw_MK, scale_M1
            ),
        },
    )


# --- find the bugs -----------------------------------------------------------------------------------------------

observing = Check("observe: the range of what was seen")


def observed(function: TensorFunction, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """A student's low and high."""
    return expect_tensor(list(function(batches)), (2,), what="observe(batches)")


def batch(draw: Draw, scale: float) -> tuple[Tensor, Tensor]:
    """Inputs (B, T, D) and a mask (B, T) of real tokens, all real."""
    return draw.normal(2, 5, 4, scale=scale), torch.ones(2, 5, dtype=torch.bool)


@observing.stage("all batches")
def _(function: TensorFunction, draw: Draw) -> None:
    batches = [batch(draw, scale) for scale in (1.0, 8.0, 0.5)]
    everything = torch.stack([x for x, _ in batches])
    last = batches[-1][0]
    expect_close(
        observed(function, batches),
        torch.stack([everything.min(), everything.max()]),
        what="low and high",
        message="The range must hold every value of every batch.",
        mistakes={"only the last batch counts: keep the widest of all": torch.stack([last.min(), last.max()])},
    )


@observing.stage("no padding")
def _(function: TensorFunction, draw: Draw) -> None:
    x_BTD, mask_BT = batch(draw, 1.0)
    mask_BT[1, 3:] = False
    real = x_BTD[mask_BT]
    x_BTD[1, 3:] = 50.0
    expect_close(
        observed(function, [(x_BTD, mask_BT)]),
        torch.stack([real.min(), real.max()]),
        what="low and high",
        message="Look at real tokens only: x_BTD[mask_BT].",
    )


@observing.stage("zero inside")
def _(function: TensorFunction, draw: Draw) -> None:
    for sign, name in ((1.0, "positive"), (-1.0, "negative")):
        x_BTD, mask_BT = batch(draw, 1.0)
        x_BTD = sign * (x_BTD.abs() + 2)
        expect_close(
            observed(function, [(x_BTD, mask_BT)]),
            torch.stack([x_BTD.min().clamp(max=0), x_BTD.max().clamp(min=0)]),
            what=f"low and high of {name} inputs",
            message="Zero needs an integer of its own: low is at most 0, high at least 0.",
        )


# --- a gradient through rounding ---------------------------------------------------------------------------------

straight = Check("round_through: a gradient where there is none")


@straight.stage("forward")
def _(function: TensorFunction, draw: Draw) -> None:
    x = draw.normal(200, scale=2.0)
    for bits, highest, scale in ((4, 7, 0.25), (3, 3, 0.5)):
        rounded = (x / scale).round()
        expect_close(
            function(x, scale, bits),
            rounded.clamp(-highest, highest) * scale,
            what="round_through(x, scale, bits)",
            message=f"Divide, round, clip to -{highest}..{highest} ({bits} bits, symmetric), multiply.",
            mistakes={
                "nothing is clipped": rounded * scale,
                f"symmetric: {-highest - 1} is left out": rounded.clamp(-highest - 1, highest) * scale,
            },
        )


@straight.stage("inside the gradient passes")
def _(function: TensorFunction, draw: Draw) -> None:
    x = (draw.normal(50) * 0.3).clamp(-0.9, 0.9).requires_grad_()
    weight = draw.normal(50)
    expect_close(
        gradient(function, x, weight, 0.25),
        weight,
        what="the gradient inside the range",
        message="Where nothing is clipped the gradient is the one that comes in.",
        mistakes={"rounding has a gradient of zero: pass by it with x + (rounded - x).detach()": torch.zeros(50)},
    )


@straight.stage("outside it stops")
def _(function: TensorFunction, draw: Draw) -> None:
    x, weight, limit = draw.normal(80, scale=3.0), draw.normal(80), 7 * 0.25
    edge = (x.abs() - limit).abs() < 0.25  # here clipping before rounding and after it differ, and both are right
    x = torch.where(edge, 2 * x, x).requires_grad_()
    expect_close(
        gradient(function, x, weight, 0.25),
        torch.where(x.detach().abs() <= limit, weight, 0.0),
        what="the gradient",
        message="A clipped number does not move the output, so its gradient is zero: clamp inside the graph.",
        mistakes={"clipped numbers get a gradient too: they cannot move the output": weight},
    )


def gradient(function: TensorFunction, x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """The gradient of a weighted sum of the rounded numbers."""
    rounded = expect_tensor(function(x, scale, 4), x.shape, what="round_through(x, scale, bits)")
    if not rounded.requires_grad:
        raise CheckFailed("the result has no gradient at all: x was detached from the graph")
    (rounded * weight).sum().backward()
    return torch.zeros_like(x) if x.grad is None else x.grad

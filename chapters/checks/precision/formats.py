"""Checks of the exercises on number formats: sums by pencil, sums that stall, and two ways to round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_frequencies, expect_tensor

TensorFunction = Callable[..., Tensor]


def expect_number(value: Any, expected: float, *, what: str, mistakes: dict[str, float], message: str) -> None:
    """Compare one number exactly, and say which known mistake gives what was answered."""
    value = expect_tensor(value, (), what=what).item()
    if value == expected:
        return
    for mistake, wrong in mistakes.items():
        if value == wrong:
            raise CheckFailed(f"{what} is {value:g}: {mistake}")
    raise CheckFailed(f"{what} is {value:g}. {message}")


# --- by pencil ---------------------------------------------------------------------------------------------------

pencil = Check("Four roundings by pencil")


@pencil.stage("ties in fp16")
def _(odd: Any, even: Any, bf16: Any, tiny: Any, draw: Draw) -> None:
    message = "From 2048 to 4096 fp16 has every second whole number."
    mistakes = {"fp16 has no odd numbers above 2048": 2049.0, "a tie goes to the neighbour whose last bit is 0": 2050.0}
    expect_number(odd, 2048.0, what="odd", mistakes=mistakes, message=message)
    mistakes = {
        "fp16 has no odd numbers above 2048": 2051.0,
        "a tie does not always go down: 2050 is 1025 spacings, an odd number": 2050.0,
    }
    expect_number(even, 2052.0, what="even", mistakes=mistakes, message=message)


@pencil.stage("a sum in bf16")
def _(odd: Any, even: Any, bf16: Any, tiny: Any, draw: Draw) -> None:
    mistakes = {"bf16 has 7 bits after the point: from 256 on its spacing is 2": 257.0, "the tie goes to even": 258.0}
    message = "Write 256 as 2 to the 8: the spacing there is 2 to the 8 - 7."
    expect_number(bf16, 256.0, what="bf16", mistakes=mistakes, message=message)


@pencil.stage("below the smallest positive number")
def _(odd: Any, even: Any, bf16: Any, tiny: Any, draw: Draw) -> None:
    mistakes = {
        "the smallest positive number of fp16 is 2 to the -24": 2.0**-25,
        "this lies half-way between 0 and 2 to the -24, and the tie goes to the even one, 0": 2.0**-24,
        "2 to the -14 is the smallest normal number; the subnormal ones go on below it": 2.0**-14,
    }
    expect_number(tiny, 0.0, what="tiny", mistakes=mistakes, message="Between which two numbers of fp16 does it lie?")


# --- predict, then run -------------------------------------------------------------------------------------------

adding_ones = Check("Adding ones")


def count_up(dtype: torch.dtype, *, limit: int = 5000) -> int:
    """Add 1 to a running sum of the given format until the sum no longer changes; return the sum, at most ``limit``."""
    total = torch.zeros((), dtype=dtype)
    while total < limit:
        larger = total + torch.ones((), dtype=dtype)
        if larger == total:
            break
        total = larger
    return int(total)


@adding_ones.stage("fp16")
def _(fp16: Any, bf16: Any, mean: Any, draw: Draw) -> None:
    mistakes = {
        "65504 is the largest number, but the ones are lost long before": 65504.0,
        "1024 has spacing 1 still: the next one is kept": 1024.0,
        "2047 and 1 is 2048, which fp16 has": 2047.0,
    }
    expect_number(
        fp16, count_up(torch.float16), what="fp16", mistakes=mistakes, message="Where does the spacing become 2?"
    )


@adding_ones.stage("bf16")
def _(fp16: Any, bf16: Any, mean: Any, draw: Draw) -> None:
    mistakes = {
        "that is where fp16 stops; bf16 has three bits fewer after the point": 2048.0,
        "128 has spacing 1 still: the next one is kept": 128.0,
    }
    expect_number(
        bf16, count_up(torch.bfloat16), what="bf16", mistakes=mistakes, message="Where does the spacing become 2?"
    )


@adding_ones.stage("the mean")
def _(fp16: Any, bf16: Any, mean: Any, draw: Draw) -> None:
    mistakes = {
        "the sum stalled long before": 1.0,
        "divide what the running sum of bf16 reached by the number of values": 256.0,
    }
    message = "The running sum stalls where you said under 2; divide that by 4096."
    expect_number(mean, count_up(torch.bfloat16) / 4096, what="mean", mistakes=mistakes, message=message)


# --- stochastic rounding -----------------------------------------------------------------------------------------

stochastic = Check("stochastic_round: right on average")


@stochastic.stage("multiples of the spacing")
def _(stochastic_round: TensorFunction, draw: Draw) -> None:
    spacing = 2.0 ** -draw.integer(2, 5)
    x = draw.normal(200)
    steps = expect_tensor(stochastic_round(x, spacing), (200,), what="stochastic_round(x, spacing)") / spacing
    if bool((steps != steps.round()).any()):
        raise CheckFailed("not every result is a multiple of the spacing")
    grid = spacing * torch.arange(-8.0, 9.0)
    expect_close(
        stochastic_round(grid, spacing),
        grid,
        what="stochastic_round of multiples",
        message="A multiple of the spacing is kept as it is.",
    )
    large = spacing * 2.0**20 * torch.ones(1000)
    if not torch.equal(expect_tensor(stochastic_round(large, spacing), (1000,)), large):
        raise CheckFailed(
            "a multiple that is large beside the spacing has moved: compare the remainder with a random number, "
            "instead of adding one to it"
        )


@stochastic.stage("one of the two neighbours")
def _(stochastic_round: TensorFunction, draw: Draw) -> None:
    x = draw.normal(2000, scale=3.0)
    down = x.floor()
    up_or_down = expect_tensor(stochastic_round(x, 1.0), (2000,), what="stochastic_round(x, 1)") - down
    if bool(((up_or_down != 0) & (up_or_down != 1)).any()):
        raise CheckFailed("a result is neither the multiple below nor the one above: negative numbers round down too")
    if torch.equal(up_or_down, (x.round() - down)):
        raise CheckFailed("this rounds to the nearest: it must be left to chance")


@stochastic.stage("right on average")
def _(stochastic_round: TensorFunction, draw: Draw) -> None:
    shares_N = torch.tensor([0.1, 0.5, 0.8])
    spacing = 2.0 ** -draw.integer(1, 3)
    draws, counts = 20_000, []
    for share in shares_N:
        x = 3.0 + spacing * share.expand(draws)
        values = expect_tensor(stochastic_round(x, spacing), (draws,), what="the result")
        counts.append([int((values == 3).sum()), int((values == 3 + spacing).sum())])
        if sum(counts[-1]) != draws:
            raise CheckFailed("a result is neither the multiple below nor the one above")
    expect_frequencies(
        torch.tensor(counts),
        torch.stack([1 - shares_N, shares_N], dim=1),
        message="The nearer neighbour must come up as much more often as it is nearer (rows: a tenth, a half and "
        "four fifths of the way up).",
    )


# --- any format --------------------------------------------------------------------------------------------------

rounding = Check("round_to: any format")

FORMATS = {"fp16": (torch.float16, 5, 10), "bf16": (torch.bfloat16, 8, 7)}
"""The formats with which answers are compared: torch's type, bits of the exponent, bits after the point."""


def expect_rounded(round_to: TensorFunction, x: Tensor, message: str, formats: tuple[str, ...]) -> None:
    """Compare a student's rounding with torch's conversion, exactly."""
    for name in formats:
        dtype, exponent_bits, fraction_bits = FORMATS[name]
        mine = expect_tensor(round_to(x, exponent_bits, fraction_bits), x.shape, what=f"x rounded to {name}")
        true = x.to(dtype).float()
        wrong = (mine != true).nonzero().flatten()
        if len(wrong):
            at = int(wrong[0])
            raise CheckFailed(f"in {name} {x[at]:.9g} becomes {mine[at]:.9g}, not {true[at]:.9g}. {message}")


@rounding.stage("normal numbers")
def _(round_to: TensorFunction, draw: Draw) -> None:
    x = draw.normal(500) + draw.normal(500).sign() * 0.01
    x = torch.where(x.abs() < 1e-3, torch.ones(()), x)
    expect_rounded(
        round_to, x, "Find the exponent, then the spacing, then round to a multiple of it.", ("fp16", "bf16")
    )


@rounding.stage("ties go to even")
def _(round_to: TensorFunction, draw: Draw) -> None:
    x = 1 + torch.arange(1, 64, 2) * 2.0**-11
    expect_rounded(round_to, torch.cat([x, -x]), "Half-way, the even multiple wins: torch.round does so.", ("fp16",))
    expect_rounded(round_to, 1 + torch.arange(1, 64, 2) * 2.0**-8, "Half-way, the even multiple wins.", ("bf16",))


@rounding.stage("subnormal numbers")
def _(round_to: TensorFunction, draw: Draw) -> None:
    x = draw.normal(500, scale=2.0**-17)
    message = "Below 2 to the -14 the spacing of fp16 stays at 2 to the -24."
    expect_rounded(round_to, torch.cat([x, torch.zeros(1)]), message, ("fp16",))
    x = draw.normal(500, scale=2.0**-130)
    message = "Below 2 to the -126 the spacing of bf16 stays at 2 to the -133."
    expect_rounded(round_to, torch.cat([x, torch.zeros(1)]), message, ("bf16",))


@rounding.stage("overflow")
def _(round_to: TensorFunction, draw: Draw) -> None:
    x = torch.tensor([65504.0, 65519.0, 65520.0, 70000.0, -1e6, 3e38])
    message = "What rounds to 2 to the 16 or more is infinite; what rounds to 65504 is not."
    expect_rounded(round_to, x, message, ("fp16",))
    x = torch.tensor([65520.0, 1e5, 3.38e38, 3.3961e38, 3.3962e38, -3.4e38])
    message = "The exponent of bf16 has 8 bits: 65536 is far from its limit, 2 to the 128."
    expect_rounded(round_to, x, message, ("bf16",))

"""Checks of the exercises on small trained parts: counted, predicted, and merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

# --- 1: counted by pencil -------------------------------------------------------------------------------------------

counted = Check("Trained weights, counted")

RIGHT = {"lora": 73_728, "head": 2310, "adapters": 152_256}


def _entry(answer: Any, name: str, hints: Mapping[int, str]) -> None:
    if not isinstance(answer, Mapping) or set(answer) != set(RIGHT):
        raise CheckFailed(f"counts should be a dictionary with the keys {', '.join(RIGHT)}")
    found = answer[name]
    if found is ... or found is None:
        raise CheckFailed(f"{name} is still missing")
    if int(found) != RIGHT[name]:
        raise CheckFailed(f"{name} is not {found}: {hints.get(int(found), 'count one layer, then how many there are')}")


@counted.stage("LoRA")
def _(answer: Any, draw: Draw) -> None:
    hints = {
        36_864: "queries and values are two layers in each block",
        6144: "this is one layer: there are two in each of six blocks",
        884_736 * 2: "rank 8 means 8 rows in A and 8 columns in B, not 384",
    }
    _entry(answer, "lora", hints)


@counted.stage("the head")
def _(answer: Any, draw: Draw) -> None:
    _entry(answer, "head", {2304: "a linear layer has biases, too"})


@counted.stage("adapters")
def _(answer: Any, draw: Draw) -> None:
    hints = {
        76_128: "each block has two adapters, one after each branch",
        147_456: "both layers of an adapter have biases, 16 and 384",
        147_648: "both layers of an adapter have biases, 16 and 384",
        152_064: "both layers of an adapter have biases, 16 and 384",
    }
    _entry(answer, "adapters", hints)


# --- 2: predicted ---------------------------------------------------------------------------------------------------

predicted = Check("LoRA's first steps, predicted")


def _numbers(answer: Any) -> list[float]:
    if not isinstance(answer, Sequence) or len(answer) != 4 or any(each is ... or each is None for each in answer):
        raise CheckFailed("guesses should be a list of four numbers")
    return [float(each) for each in answer]


@predicted.stage("the start")
def _(answer: Any, draw: Draw) -> None:
    first, second, *_ = _numbers(answer)
    if first != 0:
        raise CheckFailed("before the first step B is zero: the output is that of the frozen layer")
    if second != 0:
        raise CheckFailed("the gradient of A contains B as a factor, and B is zero")


@predicted.stage("the update")
def _(answer: Any, draw: Draw) -> None:
    *_, third, fourth = _numbers(answer)
    if third != 2:
        hint = "a step moves A and B, but not their shapes: " if third in (3, 6) else ""
        raise CheckFailed(f"{hint}a product of (6, 2) and (2, 6) has rank 2 at most")
    if fourth != 4:
        hint = "the scale is alpha / r, not alpha: " if fourth == 8 else ""
        raise CheckFailed(f"{hint}divide alpha by the rank")


# --- 5: merged ------------------------------------------------------------------------------------------------------

merged = Check("The update merged")

MergeFunction = Callable[[Tensor, Tensor, Tensor, float], Any]


def _case(draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = draw.sizes(2, 5, 8)
    return draw.normal(rows, columns), draw.normal(3, columns), draw.normal(rows, 3)


@merged.stage("shape")
def _(function: MergeFunction, draw: Draw) -> None:
    W, A, B = _case(draw)
    expect_tensor(function(W.clone(), A.clone(), B.clone(), 3.0), tuple(W.shape), what="the merged weight")


@merged.stage("the scale, once")
def _(function: MergeFunction, draw: Draw) -> None:
    W, A, B = _case(draw)
    alpha = 7.0
    scale = alpha / len(A)
    mistakes = {
        "the scale is applied twice: it belongs to the product, once.": W + scale**2 * B @ A,
        "the scale is alpha / r, not alpha.": W + alpha * B @ A,
        "the scale is missing.": W + B @ A,
        "the rank is the number of rows of A, not of B.": W + alpha / len(B) * B @ A,
    }
    found = function(W.clone(), A.clone(), B.clone(), alpha)
    expect_close(found, W + scale * B @ A, what="the merged weight", mistakes=mistakes)


@merged.stage("the arguments stay as they are")
def _(function: MergeFunction, draw: Draw) -> None:
    W, A, B = _case(draw)
    given = [each.clone() for each in (W, A, B)]
    expect_tensor(function(given[0], given[1], given[2], 5.0), tuple(W.shape), what="the merged weight")
    for before, after, name in zip((W, A, B), given, ("W", "A", "B"), strict=True):
        if not before.equal(after):
            raise CheckFailed(f"{name} was changed in place: a second call would merge into the merged weight")

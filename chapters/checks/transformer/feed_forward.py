"""Checks of the exercises on the feed-forward network: a gate at equal size, and a fact written into the weights.

Letters: T tokens, D model width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

TensorFunction = Callable[..., Tensor]

# --- 6: a gate ------------------------------------------------------------------------------------------------------

gated = Check("SwiGLU at an equal number of parameters")


@gated.stage("width")
def _(swiglu: TensorFunction, equal_width: Any, draw: Draw) -> None:
    for D, FF in ((64, 256), (768, 3072), (draw.integer(8, 90), 3 * draw.integer(20, 60))):
        width = equal_width(D, FF)
        if not isinstance(width, int | float):
            raise CheckFailed(f"equal_width({D}, {FF}) is {width!r}: return a whole number")
        if width == FF:
            raise CheckFailed("three matrices of the old width are half as many parameters again: make them narrower")
        if width != int(width) or 3 * D * width > 2 * D * FF or 3 * D * (width + 1) <= 2 * D * FF:
            raise CheckFailed(
                f"equal_width({D}, {FF}) is {width}: 3·D·width should be the largest number that does not exceed "
                f"2·D·F = {2 * D * FF}"
            )


@gated.stage("shape")
def _(swiglu: TensorFunction, equal_width: Any, draw: Draw) -> None:
    T, D, FF = draw.sizes(3, 2, 8)
    x, gate, up, down = draw.normal(T, D), draw.normal(D, FF), draw.normal(D, FF), draw.normal(FF, D)
    expect_tensor(swiglu(x, gate, up, down), (T, D), what="swiglu(x, ...)", hints={"apply the last matrix": (T, FF)})


@gated.stage("reference")
def _(swiglu: TensorFunction, equal_width: Any, draw: Draw) -> None:
    x, gate, up, down = draw.normal(5, 4), draw.normal(4, 7), draw.normal(4, 7), draw.normal(7, 4)
    mistakes = {
        "gate and up are exchanged: SiLU is applied to the gate": (F.silu(x @ up) * (x @ gate)) @ down,
        "this gates with a sigmoid (GLU): SiLU is h · sigmoid(h)": ((x @ gate).sigmoid() * (x @ up)) @ down,
        "the gate multiplies, it is not added": (F.silu(x @ gate) + x @ up) @ down,
        "SiLU is applied to the product: it belongs on the gate alone": F.silu((x @ gate) * (x @ up)) @ down,
    }
    right = (F.silu(x @ gate) * (x @ up)) @ down
    expect_close(swiglu(x, gate, up, down), right, what="swiglu(x, ...)", mistakes=mistakes)


# --- 7: writing into a memory ---------------------------------------------------------------------------------------

memory = Check("Write a fact into a feed-forward network")


def _network(x: Tensor, up: Tensor, bias: Tensor, down: Tensor) -> Tensor:
    return (x @ up.T + bias).relu() @ down.T


def _fact(draw: Draw) -> tuple[Tensor, ...]:
    D, FF = draw.sizes(2, 9, 16)
    key = F.normalize(draw.normal(D), dim=0)
    return draw.normal(FF, D), draw.normal(FF), draw.normal(D, FF), key, draw.normal(D)


@memory.stage("shape")
def _(write: TensorFunction, draw: Draw) -> None:
    up, bias, down, key, value = _fact(draw)
    FF, D = up.shape
    answer = write(up, bias, down, key, value, 0.5)
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise CheckFailed("return three tensors: up, bias and down, each with one unit more")
    expect_tensor(answer[0], (FF + 1, D), what="up", hints={"a key is a new row of up, not a column": (FF, D + 1)})
    expect_tensor(answer[1], (FF + 1,), what="bias")
    expect_tensor(answer[2], (D, FF + 1), what="down", hints={"a value is a new column of down": (D + 1, FF)})


@memory.stage("what does not match the key is left alone")
def _(write: TensorFunction, draw: Draw) -> None:
    up, bias, down, key, value = _fact(draw)
    x = draw.normal(20, len(key))
    x = x - (x @ key)[:, None] * key  # at right angles to the key
    x = torch.cat([x, x + 0.4 * key])  # and below the threshold
    right = _network(x, up, bias, down)
    mistakes = {
        "the threshold is missing: with a bias of 0 a weak match is answered too": lambda: (
            right + (x @ key).relu()[:, None] * value
        ),
        "the bias has the wrong sign: it is minus the threshold": lambda: (
            right + (x @ key + 0.5).relu()[:, None] * value
        ),
    }
    answer = write(up, bias, down, key, value, 0.5)
    expect_close(_network(x, *answer), right, what="the new network", mistakes=mistakes)


@memory.stage("a match adds the value")
def _(write: TensorFunction, draw: Draw) -> None:
    up, bias, down, key, value = _fact(draw)
    x = torch.outer(torch.tensor([0.6, 1.0, 2.0]), key)  # matches of 0.6, 1 and 2
    right = _network(x, up, bias, down) + torch.outer(torch.tensor([0.2, 1.0, 3.0]), value)
    mistakes = {
        "at a match of 1 the whole value should be added: divide by 1 - threshold": _network(x, up, bias, down)
        + torch.outer(torch.tensor([0.1, 0.5, 1.5]), value),
    }
    answer = write(up, bias, down, key, value, 0.5)
    expect_close(_network(x, *answer), right, what="the new network", mistakes=mistakes)

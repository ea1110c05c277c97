"""Checks of the exercise that writes a fact into a feed-forward network.

Letters: D model width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

TensorFunction = Callable[..., Tensor]

# --- 7: writing into a memory ---------------------------------------------------------------------------------------

memory = Check("Write a fact into a feed-forward network")

THRESHOLD = 0.25  # not 0.5, which is 1 - threshold as well


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
    answer = write(up, bias, down, key, value, THRESHOLD)
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
    x = torch.cat([x, x + 0.2 * key])  # and below the threshold
    right = _network(x, up, bias, down)
    mistakes = {
        "the threshold is missing: with a bias of 0 a weak match is answered too": lambda: (
            right + (x @ key).relu()[:, None] * value
        ),
        "the bias has the wrong sign: it is minus the threshold": lambda: (
            right + (x @ key + THRESHOLD).relu()[:, None] * value
        ),
    }
    answer = write(up, bias, down, key, value, THRESHOLD)
    expect_close(_network(x, *answer), right, what="the new network", mistakes=mistakes)


@memory.stage("a match adds the value")
def _(write: TensorFunction, draw: Draw) -> None:
    up, bias, down, key, value = _fact(draw)
    x = torch.outer(torch.tensor([0.4, 1.0, 2.0]), key)  # matches of 0.4, 1 and 2
    before = _network(x, up, bias, down)
    right = before + torch.outer(torch.tensor([0.2, 1.0, 7 / 3]), value)
    mistakes = {
        "at a match of 1 the whole value should be added: divide by 1 - threshold": (
            before + torch.outer(torch.tensor([0.15, 0.75, 1.75]), value)
        ),
        "the value is divided by 1 - threshold, not by the threshold": (
            before + torch.outer(torch.tensor([0.6, 3.0, 7.0]), value)
        ),
    }
    answer = write(up, bias, down, key, value, THRESHOLD)
    expect_close(_network(x, *answer), right, what="the new network", mistakes=mistakes)

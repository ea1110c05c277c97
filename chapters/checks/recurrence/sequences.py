"""Checks of the exercises on cells and sentences of several lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

# --- 3: a gated recurrent unit --------------------------------------------------------------------------------------

gated = Check("A gated recurrent unit")

StepFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Any]


def _case(draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, inputs, width = draw.sizes(3, 2, 7)
    return (
        draw.normal(batch, inputs),
        draw.normal(batch, width),
        draw.normal(3 * width, inputs),
        draw.normal(3 * width, width),
    )


def _unit(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, kind: str = "right") -> Tensor:
    (xr, xz, xn), (hr, hz, hn) = (x @ weight_ih.T).chunk(3, -1), (h @ weight_hh.T).chunk(3, -1)
    if kind == "swapped gates":
        xr, xz, hr, hz = xz, xr, hz, hr
    reset, keep = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    if kind == "reset before":
        hn = (reset * h) @ weight_hh[2 * h.shape[1] :].T
    elif kind == "no reset":
        reset = torch.ones_like(reset)
    new = torch.tanh(xn + (hn if kind == "reset before" else reset * hn))
    return keep * new + (1 - keep) * h if kind == "swapped mix" else (1 - keep) * new + keep * h


@gated.stage("shape")
def _(function: StepFunction, draw: Draw) -> None:
    case = _case(draw)
    expect_tensor(function(*case), tuple(case[1].shape), what="the new state")


@gated.stage("the update gate")
def _(function: StepFunction, draw: Draw) -> None:
    x, h, weight_ih, weight_hh = _case(draw)
    width = h.shape[1]
    weight_hh[2 * width :] = 0  # the reset gate has nothing to act on
    case = (x, h, weight_ih, weight_hh)
    mistakes = {
        "old and new state have changed places: z keeps the old one.": _unit(*case, kind="swapped mix"),
        "the gates have changed places: the first third of the rows is the reset gate.": _unit(
            *case, kind="swapped gates"
        ),
    }
    expect_close(function(*case), _unit(*case), what="the new state", mistakes=mistakes)


@gated.stage("the reset gate")
def _(function: StepFunction, draw: Draw) -> None:
    case = _case(draw)
    mistakes = {
        "the reset gate multiplies the product with weight_hh here, not the state before it.": _unit(
            *case, kind="reset before"
        ),
        "the reset gate is missing from the candidate.": _unit(*case, kind="no reset"),
    }
    expect_close(function(*case), _unit(*case), what="the new state", mistakes=mistakes)


# --- 4: the last word of each sentence ------------------------------------------------------------------------------

last_words = Check("The last real state")

LastFunction = Callable[[nn.GRU, Tensor, Tensor], Any]


def _batch(draw: Draw) -> tuple[nn.GRU, Tensor, Tensor]:
    inputs, width = draw.sizes(2, 3, 6)
    layer = nn.GRU(inputs, width, batch_first=True)
    lengths = torch.tensor([3, 7, 1, 5])
    return layer, draw.normal(4, 7, inputs), lengths


def _alone(layer: nn.GRU, x_BTI: Tensor, lengths: Tensor) -> Tensor:
    return torch.cat([layer(x_BTI[i : i + 1, : int(length)])[1][0] for i, length in enumerate(lengths)])


@last_words.stage("shape")
def _(function: LastFunction, draw: Draw) -> None:
    layer, x_BTI, lengths = _batch(draw)
    expect_tensor(function(layer, x_BTI, lengths), (4, layer.hidden_size), what="the states")


@last_words.stage("sentences of one length")
def _(function: LastFunction, draw: Draw) -> None:
    layer, x_BTI, _ = _batch(draw)
    found = expect_tensor(function(layer, x_BTI, torch.full((4,), 7)), (4, layer.hidden_size), what="the states")
    expect_close(found, layer(x_BTI)[1][0], what="the states", message="with equal lengths it is the last column.")


@last_words.stage("padding")
def _(function: LastFunction, draw: Draw) -> None:
    layer, x_BTI, lengths = _batch(draw)
    lengths = lengths.sort(descending=True).values
    mistakes = {
        "these are the states after the padding: short sentences end earlier.": layer(x_BTI)[1][0],
        "this is one word too early: the last of n words is number n - 1.": _alone(
            layer, x_BTI, (lengths - 1).clamp(min=1)
        ),
    }
    expect_close(function(layer, x_BTI, lengths), _alone(layer, x_BTI, lengths), what="the states", mistakes=mistakes)


@last_words.stage("order")
def _(function: LastFunction, draw: Draw) -> None:
    layer, x_BTI, lengths = _batch(draw)
    right = _alone(layer, x_BTI, lengths)
    mistakes = {
        "the states come back sorted by length: put them back into the order of the sentences.": right[
            lengths.argsort(descending=True)
        ]
    }
    expect_close(function(layer, x_BTI, lengths), right, what="the states", mistakes=mistakes)


# --- 7: a code ------------------------------------------------------------------------------------------------------

coder = Check("The best linear code")

CodeFunction = Callable[[Tensor, int], Any]


def _points(draw: Draw) -> tuple[Tensor, int]:
    inputs = draw.integer(5, 8)
    scales = torch.linspace(3.0, 0.1, inputs)
    turn = torch.linalg.qr(draw.normal(inputs, inputs)).Q
    return draw.normal(80, inputs) * scales @ turn + 4 * draw.normal(inputs), draw.integer(2, 3)


@coder.stage("a plane")
def _(function: CodeFunction, draw: Draw) -> None:
    x_NI, size = _points(draw)
    found = expect_tensor(function(x_NI, size), tuple(x_NI.shape), what="the reconstructions").detach()
    rank = int(torch.linalg.matrix_rank(found - found.mean(0), atol=1e-2))
    if rank > size:
        raise CheckFailed(f"the reconstructions vary in {rank} directions, but a code of {size} numbers allows {size}")


@coder.stage("the best one")
def _(function: CodeFunction, draw: Draw) -> None:
    x_NI, size = _points(draw)
    centre = x_NI.mean(0)
    directions = torch.linalg.svd(x_NI - centre, full_matrices=False).Vh
    best = centre + (x_NI - centre) @ directions[:size].T @ directions[:size]
    through_zero = torch.linalg.svd(x_NI, full_matrices=False).Vh[:size]
    found = expect_tensor(function(x_NI, size), tuple(x_NI.shape), what="the reconstructions").detach()
    error, least = float((found - x_NI).square().mean()), float((best - x_NI).square().mean())
    uncentred = float((x_NI @ through_zero.T @ through_zero - x_NI).square().mean())
    if abs(error - uncentred) < 1e-4 * uncentred and uncentred > 1.01 * least:
        raise CheckFailed("the plane goes through zero: subtract the mean first, and add it at the end")
    if error < 0.99 * least:
        raise CheckFailed(
            f"the squared error is {error:.4f}, below the {least:.4f} that a linear code of {size} numbers can reach: "
            "did the points pass through a code?"
        )
    if not error <= 1.01 * least:
        raise CheckFailed(
            f"the squared error is {error:.4f}, {least:.4f} is possible: are these the directions of the largest "
            "variance? If you train, take more steps or a smaller rate at the end"
        )

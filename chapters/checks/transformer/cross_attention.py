"""Checks of the exercise in which a broken cross-attention is repaired.

Letters: B sequences, T target tokens, S source tokens, D model width, H heads, K width of a head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, Draw, expect_close, expect_tensor

Cross = Callable[..., Tensor]

cross = Check("Repair a cross-attention")


def _inputs(draw: Draw, *, padded: bool = False, same_length: bool = False) -> list[Tensor]:
    """Target x (B, T, D), context (B, S, D), which source tokens are real (B, S), and four matrices (D, D)."""
    T, S = draw.sizes(2, 4, 7)
    S = T if same_length else S
    x, context = draw.normal(2, T, 8), draw.normal(2, S, 8)
    real = torch.ones(2, S, dtype=torch.bool)
    if padded:
        real[0, S - draw.integer(1, 2) :] = False
    return [x, context, real, *(draw.normal(8, 8, scale=0.7) for _ in range(4))]


def _attend(asks: Tensor, keys: Tensor, values: Tensor, mask: Tensor, matrices: list[Tensor]) -> Tensor:
    """Attention with two heads through torch's own kernel; the mask (B, 1, T, S) is True where a key may be seen."""
    query, key, value, output = matrices
    q, k, v = (
        z.unflatten(-1, (2, -1)).transpose(1, 2) for z in (asks @ query, keys @ key, values @ value)
    )  # (B, H, T, K), (B, H, S, K) twice
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2) @ output


def _masks(inputs: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The right mask, (B, 1, T, S), one that is also causal, and one that hides nothing."""
    x, _, real = inputs[:3]
    right = real[:, None, None].expand(-1, 1, x.shape[1], -1)
    return right, right & torch.ones(right.shape[-2:], dtype=torch.bool).tril(), torch.ones_like(right)


@cross.stage("source and target of different lengths")
def _(answer: Cross, draw: Draw) -> None:
    inputs = _inputs(draw)
    x, context = inputs[:2]
    hints = {"there is one row for each source token: the queries are made of x": context.shape}
    expect_tensor(answer(*inputs, 2), x.shape, what="cross(...)", hints=hints)


@cross.stage("who asks, and who is read")
def _(answer: Cross, draw: Draw) -> None:
    inputs = _inputs(draw, same_length=True)
    x, context, _, *matrices = inputs
    mask, causal, _ = _masks(inputs)
    mistakes = {
        "keys and values are made of x, as in self-attention": _attend(x, x, x, mask, matrices),
        "the keys are made of x, and only the values of the context": _attend(x, x, context, mask, matrices),
        "the values are made of x, and only the keys of the context": _attend(x, context, x, mask, matrices),
        "the queries are made of the context": _attend(context, x, x, mask, matrices),
        "the causal mask has no place here: the source is finished": _attend(x, context, context, causal, matrices),
    }
    right = _attend(x, context, context, mask, matrices)
    expect_close(answer(*inputs, 2), right, what="cross(...)", mistakes=mistakes)


@cross.stage("padding is not read")
def _(answer: Cross, draw: Draw) -> None:
    inputs = _inputs(draw, padded=True)
    x, context, real, *matrices = inputs
    mask, causal, everything = _masks(inputs)
    silent = context * real[..., None]  # values of padding count as zeros, but their weights are spent
    mistakes = {
        "the weights of padding are removed after the softmax, so that those of a row no longer sum to 1": _attend(
            x, context, silent, everything, matrices
        ),
        "padding is attended to": _attend(x, context, context, everything, matrices),
        "the causal mask has no place here: the source is finished": _attend(x, context, context, causal, matrices),
    }
    right = _attend(x, context, context, mask, matrices)
    expect_close(answer(*inputs, 2), right, what="cross(...)", mistakes=mistakes)

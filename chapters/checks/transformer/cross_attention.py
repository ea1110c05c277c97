"""Checks of the exercise in which a broken cross-attention is repaired.

Letters: B sequences, T target tokens, S source tokens, D model width, H heads, K width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, Draw, expect_close, expect_tensor

Cross = Callable[..., Tensor]

cross = Check("Repair a cross-attention")


def _inputs(draw: Draw, *, padded: bool = False, same_length: bool = False) -> tuple[Tensor, ...]:
    """Target x (B, T, D), context (B, S, D), which source tokens are real (B, S), and four matrices (D, D)."""
    T, S = draw.sizes(2, 4, 7)
    S = T if same_length else S
    x, context = draw.normal(2, T, 8), draw.normal(2, S, 8)
    real = torch.ones(2, S, dtype=torch.bool)
    if padded:
        real[0, S - draw.integer(1, 2) :] = False
    return x, context, real, *(draw.normal(8, 8, scale=0.7) for _ in range(4))


def _reference(
    x: Tensor,
    context: Tensor,
    real: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    num_heads: int,
    *,
    causal: bool = False,
    late: bool = False,
    unmasked: bool = False,
) -> Tensor:
    """Cross-attention through torch's own kernel, or with one mistake."""
    q, k, v = (
        z.unflatten(-1, (num_heads, -1)).transpose(1, 2) for z in (x @ query, context @ key, context @ value)
    )  # (B, H, T, K), (B, H, S, K) twice
    mask = real[:, None, None].expand(-1, 1, q.shape[2], -1)  # (B, 1, T, S)
    if causal:
        mask = mask & torch.ones(mask.shape[-2:], dtype=torch.bool).tril()
    if late or unmasked:
        v = v * real[:, None, :, None] if late else v
        mask = torch.ones_like(mask)
    read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return read.transpose(1, 2).flatten(2) @ output


@cross.stage("source and target of different lengths")
def _(answer: Cross, draw: Draw) -> None:
    inputs = _inputs(draw)
    x, context = inputs[:2]
    hints = {"there is one row for each source token: the queries are made of x": context.shape}
    expect_tensor(answer(*inputs, 2), x.shape, what="cross(...)", hints=hints)


@cross.stage("who asks, and who is read")
def _(answer: Cross, draw: Draw) -> None:
    x, context, *rest = _inputs(draw, same_length=True)
    wrong = partial(_reference, real=rest[0], output=rest[4], num_heads=2)
    query, key, value = rest[1:4]
    mistakes = {
        "keys and values are made of x, as in self-attention": wrong(x=x, context=x, query=query, key=key, value=value),
        "the keys are made of x, and only the values of the context": _reference_with(x, x, context, rest),
        "the values are made of x, and only the keys of the context": _reference_with(x, context, x, rest),
        "the queries are made of the context": wrong(x=context, context=x, query=query, key=key, value=value),
        "the causal mask has no place here: the source is finished": _reference(x, context, *rest, 2, causal=True),
    }
    right = _reference(x, context, *rest, 2)
    expect_close(answer(x, context, *rest, 2), right, what="cross(...)", mistakes=mistakes)


def _reference_with(asks: Tensor, keys: Tensor, values: Tensor, rest: list[Tensor]) -> Tensor:
    """Attention with a causal mask or none whose keys and values are made of different texts."""
    q, k, v = (
        (text @ matrix).unflatten(-1, (2, -1)).transpose(1, 2)
        for text, matrix in zip((asks, keys, values), rest[1:4], strict=True)
    )
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) @ rest[4]


@cross.stage("padding is not read")
def _(answer: Cross, draw: Draw) -> None:
    inputs = _inputs(draw, padded=True)
    mistakes = {
        "the weights of padding are removed after the softmax, so that those of a row no longer sum to 1": _reference(
            *inputs, 2, late=True
        ),
        "padding is attended to": _reference(*inputs, 2, unmasked=True),
        "the causal mask has no place here: the source is finished": _reference(*inputs, 2, causal=True),
    }
    expect_close(answer(*inputs, 2), _reference(*inputs, 2), what="cross(...)", mistakes=mistakes)

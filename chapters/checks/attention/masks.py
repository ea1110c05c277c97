"""Checks of the exercises on masks: who may look at what, and a softmax with a key that is always there.

Letters as in :mod:`plm_chapters.checks.attention.basics`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.attention.basics import WRONG_AXIS, TensorFunction
from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

# --- 3: who may look at what ----------------------------------------------------------------------------------------

allowed_keys = Check("A mask that is causal and ignores padding")


def allowed_reference(is_real_BS: Tensor, num_queries: int) -> Tensor:
    """True where a key is real and not later than the query; the last query meets the last key."""
    num_keys = is_real_BS.shape[-1]
    position_T1 = torch.arange(num_queries)[:, None] + num_keys - num_queries
    return is_real_BS[:, None, :] & (torch.arange(num_keys)[None, :] <= position_T1)


def _expect_mask(mask: Any, right: Tensor, *, message: str, mistakes: dict[str, Tensor]) -> None:
    mask = expect_tensor(mask, right.shape, what="allowed(is_real, T)")
    if mask.dtype != torch.bool:
        raise CheckFailed(f"the mask has type {mask.dtype}: masks are bool, True = may be attended")
    inverted = {"the mask is inverted: True means *may be attended*": ~right}
    expect_close(mask.int(), right.int(), what="allowed(is_real, T)", message=message, mistakes=inverted | mistakes)


@allowed_keys.stage("shape and type")
def _(allowed: TensorFunction, draw: Draw) -> None:
    t, s = sorted(draw.sizes(2, 2, 9))
    mask = expect_tensor(allowed(torch.ones(3, s, dtype=torch.bool), t), (3, t, s), what="allowed(is_real, T)")
    if mask.dtype != torch.bool:
        raise CheckFailed(f"the mask has type {mask.dtype}: masks are bool, True = may be attended")


@allowed_keys.stage("causal")
def _(allowed: TensorFunction, draw: Draw) -> None:
    t = draw.integer(4, 9)
    is_real = torch.ones(2, t, dtype=torch.bool)
    square = torch.ones(2, t, t, dtype=torch.bool)
    _expect_mask(
        allowed(is_real, t),
        square.tril(),
        message="With as many queries as keys, query t sees keys 0 to t.",
        mistakes={
            "a query must see its own position too: the diagonal is allowed": square.tril(-1),
            "this lets a query see the future: it may see earlier keys and itself": square.triu(),
            "nothing hides the future from a query": square,
        },
    )


@allowed_keys.stage("padding")
def _(allowed: TensorFunction, draw: Draw) -> None:
    s = draw.integer(4, 9)
    is_real = torch.arange(s) < torch.tensor([[s], [s - 2], [1]])
    mask = allowed(is_real, 1)  # the single query is the last: causality forbids it nothing
    all_keys = torch.ones(3, 1, s, dtype=torch.bool)
    no_padding = {"padding may be attended: use is_real": all_keys}
    _expect_mask(
        mask, is_real[:, None, :], message="One query, the last, sees exactly the real keys.", mistakes=no_padding
    )


@allowed_keys.stage("reference")
def _(allowed: TensorFunction, draw: Draw) -> None:
    t, s = sorted(draw.sizes(2, 4, 12))
    is_real = torch.rand(4, s, generator=draw.generator) < 0.7
    is_real[:, 0] = False  # padding on the left, as in generation: some rows see nothing at all
    first = torch.ones(t, s, dtype=torch.bool).tril()
    _expect_mask(
        allowed(is_real, t),
        allowed_reference(is_real, t),
        message="Query t stands at position S - T + t.",
        mistakes={
            "with fewer queries than keys the *last* query meets the last key: shift the diagonal by S - T": is_real[
                :, None, :
            ]
            & first,
        },
    )


# --- 4: a softmax with a silent key ---------------------------------------------------------------------------------

silent_softmax = Check("A softmax that may stay silent")


def _softmax_case(draw: Draw, *, empty_row: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, a mask, and the right weights; no row or one row of the mask is False throughout."""
    t, s = draw.sizes(2, 4, 9)
    scores = draw.normal(2, t, s, scale=2.0)
    mask = torch.rand(2, t, s, generator=draw.generator) < 0.6
    mask[..., 0] = True
    mask[..., 1] = False
    if empty_row:
        mask[1, 2] = False
    return scores, mask, _silent(scores, mask)


def _silent(scores: Tensor, mask: Tensor) -> Tensor:
    exponentials = scores.double().exp() * mask
    return exponentials / (1 + exponentials.sum(-1, keepdim=True))


@silent_softmax.stage("shape")
def _(softmax: TensorFunction, draw: Draw) -> None:
    scores, mask, weights = _softmax_case(draw, empty_row=False)
    hints = {"the silent key's own weight must not be returned": (*weights.shape[:-1], weights.shape[-1] + 1)}
    expect_tensor(softmax(scores, mask), weights.shape, what="silent_softmax(scores, mask)", hints=hints)


@silent_softmax.stage("the silent key takes its share")
def _(softmax: TensorFunction, draw: Draw) -> None:
    scores, mask, right = _softmax_case(draw, empty_row=False)
    before = scores.clone()
    weights = softmax(scores, mask)
    plain = before.masked_fill(~mask, -math.inf).softmax(-1)
    expect_close(
        weights,
        right,
        what="silent_softmax(scores, mask)",
        message="The denominator is 1 = exp(0) for the silent key, plus the exponentials of the allowed scores.",
        mistakes={
            "the rows sum to 1: the silent key has no share yet": plain,
            "forbidden keys still count in the denominator": before.exp() * mask / (1 + before.exp().sum(-1, True)),
            "the silent key counts as 0, not as exp(0) = 1, or the mask comes too late": before.softmax(-1) * mask,
            "a forbidden score is set to 0, and exp(0) = 1 still counts: set it to -inf": _silent(
                before * mask, torch.ones_like(mask)
            ),
            WRONG_AXIS: before.exp() * mask / (1 + (before.exp() * mask).sum(-2, keepdim=True)),
        },
    )
    if not torch.equal(scores, before):
        raise CheckFailed("the scores were changed in place: use masked_fill or torch.where, not masked_fill_")


@silent_softmax.stage("large scores")
def _(softmax: TensorFunction, draw: Draw) -> None:
    scores = torch.tensor([[1000.0, 999.0, 0.0], [-1000.0, -999.0, -1001.0]])
    weights = softmax(scores, torch.ones_like(scores, dtype=torch.bool))
    right = torch.zeros(2, 3)
    right[0, :2] = torch.tensor([1.0, 0.0]).softmax(-1)
    message = "exp(1000) overflows: subtract the largest score first, the silent key's 0 among them."
    mistakes = {
        "scores far below 0 must leave everything to the silent key: its score is 0, whatever the others are": (
            torch.stack([right[0], scores[1].softmax(-1)])
        )
    }
    expect_close(weights, right, what="the weights for scores near 1000", message=message, mistakes=mistakes)


@silent_softmax.stage("a row with no allowed key, and its gradient")
def _(softmax: TensorFunction, draw: Draw) -> None:
    scores, mask, right = _softmax_case(draw, empty_row=True)
    upstream = draw.normal(*scores.shape)
    scores.requires_grad_()
    weights = expect_tensor(softmax(scores, mask), right.shape, what="silent_softmax(scores, mask)")
    expect_close(weights[1, 2], torch.zeros(right.shape[-1]), what="the row without an allowed key")
    if not weights.requires_grad:
        raise CheckFailed("no gradient flows back to the scores: was the result detached or built from numbers?")
    (weights * upstream).sum().backward()
    expect_close(
        scores.grad,
        right * (upstream - (right * upstream).sum(-1, keepdim=True)),
        what="the gradient of the scores",
        message="NaN made on the way forward stays in the gradient even if it is overwritten afterwards.",
    )

"""Checks of the exercise on grouped queries: several query heads share one head of keys and values.

Letters: B batch, H query heads, G heads of keys and values, T queries, S keys, K head width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from plm_chapters.checks.attention.basics import NO_SCALE, WRONG_AXIS, TensorFunction, softmax_attention
from plm_chapters.checks.attention.kernels import LargestTensor
from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

grouped = Check("Grouped queries")


def _case(draw: Draw, *, groups: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, H, T, K), keys and values (B, G, S, K), with all sizes different and H a multiple of G."""
    per_group, t, s, width = draw.sizes(4, 2, 7)
    groups = 3 if groups is None else groups
    q = draw.normal(2, groups * per_group, t, width)
    return q, draw.normal(2, groups, s, width), draw.normal(2, groups, s, width)


def _repeated(q: Tensor, *shared: Tensor) -> list[Tensor]:
    return [each.repeat_interleave(q.shape[1] // each.shape[1], dim=1) for each in shared]


@grouped.stage("shape")
def _(function: TensorFunction, draw: Draw) -> None:
    q, k, v = _case(draw)
    by_group = {"one head of output for each *query* head is wanted, H of them": (2, 3, *q.shape[2:])}
    expect_tensor(function(q, k, v), q.shape, what="grouped_attend(q, k, v)", hints=by_group)


@grouped.stage("one group")
def _(function: TensorFunction, draw: Draw) -> None:
    q, k, v = _case(draw, groups=1)
    mistakes = {NO_SCALE: softmax_attention(q, k, v, scale=1.0), WRONG_AXIS: softmax_attention(q, k, v, dim=-2)}
    message = "With one group every query head looks at the same keys."
    right = softmax_attention(q, k, v)
    expect_close(function(q, k, v), right, what="the output with one group", message=message, mistakes=mistakes)


@grouped.stage("several groups")
def _(function: TensorFunction, draw: Draw) -> None:
    q, k, v = _case(draw)
    per_group = q.shape[1] // k.shape[1]
    interleaved: Any = [each.repeat(1, per_group, 1, 1) for each in (k, v)]
    mistakes = {
        "the groups are dealt out in turns: query heads that stand side by side share a group": (
            lambda: softmax_attention(q, *interleaved)
        )
    }
    message = "Query heads 0 to H/G - 1 share the keys and values of group 0, the next H/G those of group 1, and so on."
    right = softmax_attention(q, *_repeated(q, k, v))
    expect_close(function(q, k, v), right, what="the output with three groups", message=message, mistakes=mistakes)


@grouped.stage("memory")
def _(function: TensorFunction, draw: Draw) -> None:
    q, k, v = draw.normal(1, 8, 1, 64), draw.normal(1, 2, 50, 64), draw.normal(1, 2, 50, 64)  # generation: one query
    with LargestTensor() as largest:
        out = function(q, k, v)
    expect_close(out, softmax_attention(q, *_repeated(q, k, v)), what="the output", message="See the stages above.")
    if largest.size > k.numel():
        raise CheckFailed(
            f"a tensor of shape {largest.shape} was made, larger than all keys, {tuple(k.shape)}: the keys were copied "
            "for each query head. Matrix products with broadcasting copy too; let the queries of a group stand in rows "
            "of one matrix"
        )

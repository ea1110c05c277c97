"""The checks on attention accept the library and torch, and reject mutants with the right message.

Mutants that students write are in ``chapters/exercises/wrong``; here are those that take a stranger's cunning.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from plm_chapters.checks.attention import basics as checks
from plm_chapters.checks.attention.kernels import LargestTensor, backward_by_hand, hard_attention, multi_head, streaming
from plm_chapters.checks.attention.masks import allowed_keys, masked_softmax
from plm_chapters.checks.feedback import Check
from plm_core.models.attention import attend
from plm_core.models.multi_head import MultiHeadAttention

SEEDS = range(20)


def failure(check: Check, *answers: object, seed: int | None = None) -> str:
    """``stage: message`` of the first stage that fails, or an empty string."""
    last = check.run(*answers, seed=seed)[-1]
    return "" if last.passed else f"{last.stage}: {last.message}"


def four_axes(x: Tensor) -> Tensor:
    return x.reshape((1,) * (4 - x.dim()) + tuple(x.shape)) if x.dim() < 4 else x


@pytest.mark.parametrize("implementation", ["fused", "explicit"])
def test_the_library_passes_the_check_of_attention(implementation: str) -> None:
    def student(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, _ = attend(four_axes(q), four_axes(k), four_axes(v), implementation=implementation)
        return out.reshape(*q.shape[:-1], v.shape[-1])

    for seed in SEEDS:
        assert failure(checks.scaled_dot_product, student, seed=seed) == ""


def test_the_library_passes_the_check_of_masked_softmax() -> None:
    def student(scores: Tensor, mask: Tensor) -> Tensor:
        width = scores.shape[-2]  # q k^T = scores with q = scores and k = identity
        _, weights = attend(
            scores[:, None],
            torch.eye(scores.shape[-1]).expand(len(scores), 1, -1, -1),
            torch.zeros(len(scores), 1, scores.shape[-1], width),
            mask=mask[:, None],
            scale=1.0,
            need_weights=True,
        )
        return weights[:, 0]

    for seed in SEEDS:
        assert failure(masked_softmax, student, seed=seed) == ""


def test_the_library_passes_the_check_of_heads() -> None:
    def student(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        layer = MultiHeadAttention(x.shape[-1], heads, bias=False)
        with torch.no_grad():
            for linear, weight in ((layer.query, w_q), (layer.key, w_k), (layer.value, w_v)):
                linear.weight.copy_(weight.T)
            layer.output.weight.copy_(torch.eye(x.shape[-1]))
            out, weights = layer(x[None], need_weights=True)
        q, k = ((x @ w).view(len(x), heads, -1).transpose(0, 1) for w in (w_q, w_k))
        return q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), weights[0], out[0]

    for seed in SEEDS:
        assert failure(multi_head, student, seed=seed) == ""


def test_predictions_hold_for_every_seed() -> None:
    for seed in SEEDS:
        assert failure(checks.scale_prediction, 16, "grows", "falls", "stays", seed=seed) == ""


def test_measured_spread_is_the_square_root_of_the_width() -> None:
    """The 64 keys hold at least 256 components, so the spread is off by a few percent; 20 % are allowed."""
    for width in (4, 16, 64, 256):
        assert checks.measure_scores(width, scaled=False)["spread"] == pytest.approx(math.sqrt(width), rel=0.2)
        assert checks.measure_scores(width, scaled=True)["spread"] == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(
    ("check", "mutant", "complaint"),
    [
        (checks.scaled_dot_product, lambda q, k, v: k @ q.mT @ v[..., : q.shape[-2], :], "shape: "),
        (checks.scaled_dot_product, lambda q, k, v: q @ k.mT @ v, "is each|are the scores passed through a softmax"),
        (
            checks.scaled_dot_product,
            lambda q, k, v: (q @ k.mT / math.sqrt(k.shape[-2])).softmax(-1) @ v,
            "reference: .*number of keys",
        ),
        (
            checks.scaled_dot_product,
            lambda q, k, v: (q @ k.mT * math.sqrt(k.shape[-1])).softmax(-1) @ v,
            "reference: .*multiplied",
        ),
        (allowed_keys, lambda real, t: torch.ones(*real.shape[:1], t, real.shape[1]).bool(), "causal: nothing hides"),
        (
            allowed_keys,
            lambda real, t: real[:, None, :] & torch.ones(t, real.shape[1]).bool().triu(real.shape[1] - t),
            "causal: this lets a query see the future",
        ),
        (
            allowed_keys,
            lambda real, t: real[:, -t:, None] & torch.ones(t, real.shape[1]).bool().tril(real.shape[1] - t),
            "padding: ",
        ),
        (masked_softmax, lambda s, m: (s + m).softmax(-1), "forbids none"),
        (masked_softmax, lambda s, m: s.masked_fill(m, -math.inf).softmax(-1), "the wrong way round"),
        (masked_softmax, lambda s, m: s.masked_fill(~m, -math.inf).softmax(-2), "softmax runs over the queries"),
        (
            masked_softmax,
            lambda s, m: s.detach().masked_fill(~m, -math.inf).softmax(-1).nan_to_num(0),
            "gradient: no gradient flows",
        ),
        (streaming, lambda q, k, v, block: (q @ k.T).softmax(-1) @ v, "one block: the scores are not scaled"),
        (backward_by_hand, lambda q, k, v, g: (q, k), "shape: .*three gradients"),
        (backward_by_hand, lambda q, k, v, g: (q, k, v), "gradient of v: "),
        (hard_attention, lambda q, k, v: v[:1].expand(len(q), -1), "must return two tensors"),
        (hard_attention, lambda q, k, v: (torch.full((len(q),), 99), v[: len(q)]), "whole numbers from 0 to S - 1"),
    ],
)
def test_mutants_are_rejected_whatever_the_draw(check: Check, mutant: Callable[..., object], complaint: str) -> None:
    import re

    for seed in SEEDS[:8]:
        found = failure(check, mutant, seed=seed)
        assert re.search(complaint, found), found


def test_one_shared_draw_for_all_queries_is_rejected() -> None:
    def student(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        cumulative = (q @ k.T / math.sqrt(q.shape[-1])).softmax(-1).cumsum(-1)
        chosen = (cumulative < torch.rand(1)).sum(-1).clamp_max(len(k) - 1)
        return chosen, v[chosen]

    assert "frequencies: " in failure(hard_attention, student)


def test_largest_tensor_sees_what_is_made_inside() -> None:
    x = torch.ones(8, 4)
    with LargestTensor() as largest:
        (x @ x.T).sum()
    assert largest.shape == (8, 8)

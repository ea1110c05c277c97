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
from plm_chapters.checks.attention.groups import grouped
from plm_chapters.checks.attention.kernels import LargestTensor, backward_by_hand, hard_attention, multi_head, streaming
from plm_chapters.checks.attention.masks import allowed_keys, silent_softmax
from plm_chapters.checks.attention.verdict import draw_experiment, judgement, reference
from plm_chapters.checks.feedback import Check, Draw
from plm_core.models.attention import Implementation, attend
from plm_core.models.multi_head import MultiHeadAttention

SEEDS = range(20)


def failure(check: Check, *answers: object, seed: int | None = None) -> str:
    """``stage: message`` of the first stage that fails, or an empty string."""
    last = check.run(*answers, seed=seed)[-1]
    return "" if last.passed else f"{last.stage}: {last.message}"


@pytest.mark.parametrize("implementation", ["fused", "explicit"])
def test_the_library_agrees_with_the_reference_of_the_checks(implementation: Implementation) -> None:
    q, k, v = torch.randn(3, 2, 4, 5, 8, generator=torch.Generator().manual_seed(0))
    out, _ = attend(q, k, v, implementation=implementation)
    torch.testing.assert_close(checks.softmax_attention(q, k, v), out)


def test_queries_in_the_rows_of_one_matrix_pass_the_check_of_groups() -> None:
    def student(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows = q.reshape(len(q), k.shape[1], -1, q.shape[-1])
        return ((rows @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v).reshape(q.shape)

    for seed in SEEDS:
        assert failure(grouped, student, seed=seed) == ""


def test_one_more_key_passes_the_check_of_the_silent_softmax() -> None:
    def student(scores: Tensor, mask: Tensor) -> Tensor:
        masked = scores.masked_fill(~mask, -math.inf)
        return torch.cat([masked, torch.zeros_like(masked[..., :1])], -1).softmax(-1)[..., :-1]

    for seed in SEEDS:
        assert failure(silent_softmax, student, seed=seed) == ""


def test_the_reference_judges_experiments_for_every_seed() -> None:
    for seed in SEEDS:
        assert failure(judgement, reference, seed=seed) == ""


def test_experiments_to_judge_are_decided_by_their_gap() -> None:
    """Half-widths are near 0.007 where the seeds agree, and above 0.1 where they do not."""
    verdicts = [reference(*draw_experiment(Draw(seed), gap=gap))[-1] for gap in (0.1, -0.1) for seed in SEEDS]
    assert verdicts == ["first"] * len(SEEDS) + ["second"] * len(SEEDS)
    for gap in (0.0, 0.04, -0.04):
        assert {reference(*draw_experiment(Draw(seed), gap=gap, agree=False))[-1] for seed in SEEDS} == {"unclear"}


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
        (
            grouped,
            lambda q, k, v: checks.softmax_attention(q[:, : k.shape[1]], k, v),
            r"shape: .*for each \*query\* head",
        ),
        (grouped, lambda q, k, v: checks.softmax_attention(q, k[:, :1], v[:, :1], dim=-2), "over the queries"),
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
        (silent_softmax, lambda s, m: s.exp() * m / (1 + s.exp().sum(-1, True)), "forbidden keys still count"),
        (silent_softmax, lambda s, m: s.exp() * m / (1 + (s.exp() * m).sum(-2, True)), "runs over the queries"),
        (silent_softmax, lambda s, m: s.softmax(-1) * m, "the mask comes too late"),
        (judgement, lambda one, other: (0.003, 0.001), "rates: judge must return five things"),
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

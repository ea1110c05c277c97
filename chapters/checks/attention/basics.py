"""Checks of the exercises on attention: by pencil, and what the scale is for.

Masks are checked in :mod:`plm_chapters.checks.attention.masks`, grouped queries in
:mod:`plm_chapters.checks.attention.groups`, the judgement of an experiment in
:mod:`plm_chapters.checks.attention.verdict`; heads, sampling, the backward pass and attention in blocks in
:mod:`plm_chapters.checks.attention.kernels`. Letters: T queries, S keys, K head width, M width of the values,
H heads, D model width, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close

TensorFunction = Callable[..., Tensor]

NO_SCALE = "the scores are not scaled: divide q·k by the square root of the head width K"
WRONG_AXIS = "the softmax runs over the queries: every query must share out weight 1 over the keys, the last axis"


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, dim: int = -1) -> Tensor:
    """Scaled dot-product attention written out: what the answers are compared with (Vaswani et al. 2017, eq. 1)."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return (q @ k.transpose(-1, -2) * scale).softmax(dim) @ v


# --- 1: by pencil ---------------------------------------------------------------------------------------------------

PENCIL_Q = torch.tensor([[1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]])
PENCIL_K = torch.tensor([[math.log(3), math.log(3), 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
PENCIL_V = torch.tensor([[4.0, 0.0], [0.0, 8.0]])

PENCIL_SCORES = PENCIL_Q @ PENCIL_K.T / 2

pencil = Check("Attention by pencil")


@pencil.stage("scores")
def _(scores: Any, weights: Any, output: Any, draw: Draw) -> None:
    message = "Row t holds the products of query t with every key, divided by √K = 2."
    turned = "row and column are exchanged: row t belongs to query t"
    mistakes = {NO_SCALE: PENCIL_SCORES * 2, turned: PENCIL_SCORES.T}
    expect_close(scores, PENCIL_SCORES, what="scores", message=message, mistakes=mistakes, tolerance=0.01)


@pencil.stage("weights")
def _(scores: Any, weights: Any, output: Any, draw: Draw) -> None:
    message = "Take exp of a row of scores (exp(ln 3) = 3) and divide by the row's sum."
    undivided = "these are the exponentials: divide each by the sum of its row"
    mistakes = {
        NO_SCALE: (PENCIL_SCORES * 2).softmax(-1),
        WRONG_AXIS: PENCIL_SCORES.softmax(0),
        undivided: PENCIL_SCORES.exp(),
    }
    right = PENCIL_SCORES.softmax(-1)
    expect_close(weights, right, what="weights", message=message, mistakes=mistakes, tolerance=0.01)


@pencil.stage("output")
def _(scores: Any, weights: Any, output: Any, draw: Draw) -> None:
    message = "Row t is the mean of the rows of v, weighted by row t of the weights."
    mistakes = {
        NO_SCALE: (PENCIL_SCORES * 2).softmax(-1) @ PENCIL_V,
        WRONG_AXIS: PENCIL_SCORES.softmax(0) @ PENCIL_V,
    }
    right = PENCIL_SCORES.softmax(-1) @ PENCIL_V
    expect_close(output, right, what="output", message=message, mistakes=mistakes, tolerance=0.01)


# --- 5: predict, then run -------------------------------------------------------------------------------------------

scale_prediction = Check("Predict: what the scale is for")
CHOICES = ("falls", "stays", "grows")


def measure_scores(head_width: int, *, scaled: bool, seed: int = 0) -> dict[str, float]:
    """Measure attention between random queries and keys with independent components of variance 1.

    Args:
        head_width: K, the width of queries and keys.
        scaled: whether the scores are divided by the square root of K.
        seed: of the random queries and keys.

    Returns:
        ``spread``: the standard deviation of the scores; ``largest weight``: a query's largest weight over 64 keys, the
        mean over queries; ``gradient``: how far a small step of the scores moves the weights (Frobenius norm of the
        softmax's Jacobian, the median over queries).
    """
    draw = Draw(seed, "scores", head_width)
    scores_TS = draw.normal(1024, head_width) @ draw.normal(64, head_width).T
    if scaled:
        scores_TS = scores_TS / math.sqrt(head_width)
    weights_TS = scores_TS.softmax(-1)
    second, third = weights_TS.pow(2).sum(-1), weights_TS.pow(3).sum(-1)
    return {
        "spread": scores_TS.std().item(),
        "largest weight": weights_TS.amax(-1).mean().item(),
        "gradient": (second - 2 * third + second**2).clamp_min(0).sqrt().median().item(),
    }


def _expect_trend(prediction: Any, quantity: str, draw: Draw, *, scaled: bool, why: str) -> None:
    if prediction not in CHOICES:
        shown = "still ..." if prediction is ... else repr(prediction)
        raise CheckFailed(f"the prediction is {shown}: choose one of {', '.join(map(repr, CHOICES))}")
    before, after = (measure_scores(width, scaled=scaled, seed=draw.seed)[quantity] for width in (16, 256))
    seen = "stays" if abs(after / before - 1) < 0.2 else "falls" if after < before else "grows"
    if prediction != seen:
        raise CheckFailed(f"predicted: {prediction}; measured: {before:.3f} at K = 16, {after:.3f} at K = 256. {why}")


@scale_prediction.stage("spread of the scores")
def _(spread: Any, weight: Any, gradient: Any, scaled_weight: Any, draw: Draw) -> None:
    if not isinstance(spread, int | float):
        raise CheckFailed(f"the prediction of the spread is {spread!r}: give a number")
    seen = measure_scores(256, scaled=False, seed=draw.seed)["spread"]
    if not abs(spread / seen - 1) <= 0.15:
        raise CheckFailed(
            f"predicted: {spread}; measured: {seen:.1f}. A score is a sum of K independent products of variance 1: "
            "variances add, so the variance is K and the standard deviation its square root."
        )


@scale_prediction.stage("largest weight without the scale")
def _(spread: Any, weight: Any, gradient: Any, scaled_weight: Any, draw: Draw) -> None:
    why = "Scores further apart make the softmax pick one key."
    _expect_trend(weight, "largest weight", draw, scaled=False, why=why)


@scale_prediction.stage("gradient without the scale")
def _(spread: Any, weight: Any, gradient: Any, scaled_weight: Any, draw: Draw) -> None:
    why = "Where one weight is near 1, small changes of the scores move nothing: the softmax is saturated."
    _expect_trend(gradient, "gradient", draw, scaled=False, why=why)


@scale_prediction.stage("largest weight with the scale")
def _(spread: Any, weight: Any, gradient: Any, scaled_weight: Any, draw: Draw) -> None:
    why = "Divided by √K the scores have variance 1 at every width."
    _expect_trend(scaled_weight, "largest weight", draw, scaled=True, why=why)

"""Checks of the exercises on scores: by pencil, predicted, the calibration error, and an evaluation to be repaired."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.evaluation.calibration import reliability

# --- 1: four scores by pencil ---------------------------------------------------------------------------------------

pencil = Check("Four scores of one table")

RIGHT = {"precision": 6 / 8, "recall": 6 / 10, "f1": 12 / 18, "kappa": 0.4}
DIGITS = 5e-3
"""Answers may be rounded to two decimal places."""


def _entry(answer: Any, name: str, hints: Mapping[float, str]) -> None:
    if not isinstance(answer, Mapping) or set(answer) != set(RIGHT):
        raise CheckFailed("by_pencil should be a dictionary with the keys precision, recall, f1 and kappa")
    found = answer[name]
    if found is ... or found is None:
        raise CheckFailed(f"{name} is still missing")
    if not abs(float(found) - RIGHT[name]) <= DIGITS:  # so that NaN fails, too
        near = [hint for value, hint in hints.items() if abs(float(found) - value) <= DIGITS]
        raise CheckFailed(f"{name} is not {found}: {near[0] if near else 'write the table of the four counts first'}")


@pencil.stage("precision and recall")
def _(answer: Any, draw: Draw) -> None:
    _entry(answer, "precision", {0.6: "this is recall", 0.7: "this is the accuracy"})
    _entry(answer, "recall", {0.75: "this is precision", 0.7: "this is the accuracy"})


@pencil.stage("F1")
def _(answer: Any, draw: Draw) -> None:
    _entry(answer, "f1", {0.675: "the mean is the harmonic one, not the arithmetic one", 0.7: "this is the accuracy"})


@pencil.stage("kappa")
def _(answer: Any, draw: Draw) -> None:
    hints = {0.7: "this is the agreement, chance is not yet taken out", 0.2: "divide by 1 - p_e: what chance leaves"}
    _entry(answer, "kappa", hints)


# --- 2: predict -----------------------------------------------------------------------------------------------------

predicted = Check("Four scores, predicted")

ALWAYS_NO, BREVITY, PREVALENCE, BEST_OF_TWO = 0.97, math.exp(-1), 0.045 / (0.045 + 0.095), 0.01 / math.sqrt(math.pi)


def _numbers(answer: Any) -> list[float]:
    if not isinstance(answer, Sequence) or len(answer) != 4 or any(each is ... or each is None for each in answer):
        raise CheckFailed("guesses should be a list of four numbers")
    return [float(each) for each in answer]


def _near(found: float, right: float) -> bool:
    return abs(found - right) <= 0.02 * abs(right)


@predicted.stage("a classifier that says no")
def _(answer: Any, draw: Draw) -> None:
    if not _near(_numbers(answer)[0], ALWAYS_NO):
        raise CheckFailed("97 of 100 messages are no spam, and it is right on all of them")


@predicted.stage("brevity")
def _(answer: Any, draw: Draw) -> None:
    found = _numbers(answer)[1]
    if not _near(found, BREVITY):
        hint = "the penalty is exp(1 - reference / hypothesis), not the ratio of the lengths"
        raise CheckFailed(hint if _near(found, 0.5) else "all precisions are 1, so the penalty alone counts")


@predicted.stage("another prevalence")
def _(answer: Any, draw: Draw) -> None:
    found = _numbers(answer)[2]
    if not _near(found, PREVALENCE):
        hint = "precision depends on how frequent the class is: " if _near(found, 0.9) else ""
        raise CheckFailed(f"{hint}of 1,000 messages 50 are spam; count the marked ones among them and among the others")


@predicted.stage("the better of two equals")
def _(answer: Any, draw: Draw) -> None:
    found = _numbers(answer)[3]
    if not _near(found, BEST_OF_TWO):
        hint = "each system has half of the variance of the difference" if _near(found, BEST_OF_TWO * 2**0.5) else ""
        raise CheckFailed(hint or "the excess is 0.564 times the root of d / 2N, with d = 0.1 and N = 500")


# --- 4: the calibration error ---------------------------------------------------------------------------------------

calibrated = Check("The expected calibration error")

ErrorFunction = Callable[[Tensor, Tensor, int], Any]


def _answers(draw: Draw, count: int) -> tuple[Tensor, Tensor]:
    confidence = 0.5 + 0.499 * torch.rand(count, generator=draw.generator)
    return confidence, torch.rand(count, generator=draw.generator) < confidence**2


def _unweighted(confidence: Tensor, right: Tensor, bins: int) -> Tensor:
    diagram = reliability(confidence, right, bins=bins)
    return (diagram.accuracy_K - diagram.confidence_K).abs().mean()


@calibrated.stage("one bin")
def _(function: ErrorFunction, draw: Draw) -> None:
    confidence, right = _answers(draw, 40)
    gap = right.double().mean() - confidence.double().mean()
    mistakes = {"the gap of a bin counts without its sign": gap} if gap < 0 else {}
    expect_close(function(confidence, right, 1), gap.abs(), what="the error", mistakes=mistakes)


@calibrated.stage("large and small bins")
def _(function: ErrorFunction, draw: Draw) -> None:
    confidence = torch.tensor([0.9] * 9 + [0.2])
    right = torch.tensor([True] * 9 + [True])
    expected = torch.tensor(reliability(confidence, right, bins=5).ece)
    mistakes = {
        "each bin counts alike here: weigh it by its number of examples": lambda: _unweighted(confidence, right, 5),
    }
    expect_close(function(confidence, right, 5), expected, what="the error", mistakes=mistakes)
    confidence = torch.tensor([0.0, 0.1, 0.25, 1.0, 1.0])
    right = torch.tensor([True, False, False, True, False])
    expect_close(
        function(confidence, right, 4),
        torch.tensor(reliability(confidence, right, bins=4).ece),
        what="the error of answers on borders",
        message="Of four bins the first holds 0 and 0.25, and the last holds 1.",
    )


@calibrated.stage("reference")
def _(function: ErrorFunction, draw: Draw) -> None:
    confidence, right = _answers(draw, 200)
    expected = torch.tensor(reliability(confidence, right, bins=10).ece)
    expect_close(function(confidence, right, 10), expected, what="the error", message="Which bin holds 0.73 of ten?")


# --- 5: an evaluation to be repaired --------------------------------------------------------------------------------

repaired = Check("An evaluation, repaired")

EvaluateFunction = Callable[[nn.Module, list[tuple[Tensor, Tensor]]], Any]


def _model(draw: Draw, dropout: float) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(draw.normal(*parameter.shape))
    return model.train()


def _batches(draw: Draw, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    return [(draw.normal(size, 6), torch.randint(3, (size,), generator=draw.generator)) for size in sizes]


def _true_loss(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    model.eval()
    with torch.no_grad():
        x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
        loss = F.cross_entropy(model(x), y)
    model.train()
    return loss


@repaired.stage("dropout")
def _(function: EvaluateFunction, draw: Draw) -> None:
    model, batches = _model(draw, 0.5), _batches(draw, [8, 8])
    expected = _true_loss(model, batches)
    first, second = float(function(model.train(), batches)), float(function(model.train(), batches))
    if first != second:
        raise CheckFailed("two evaluations of one model differ: dropout is active, so the model is in training mode")
    expect_close(first, expected, what="the loss")


@repaired.stage("a short last batch")
def _(function: EvaluateFunction, draw: Draw) -> None:
    model, batches = _model(draw, 0.0), _batches(draw, [16, 16, 1])
    expected = _true_loss(model, batches)
    means = torch.stack([F.cross_entropy(model(x), y) for x, y in batches]).mean().detach()
    mistakes = {"this is the mean of the batches' means: the one example of the last batch counts like 16": means}
    expect_close(function(model, batches), expected, what="the loss", mistakes=mistakes)


@repaired.stage("the mode comes back")
def _(function: EvaluateFunction, draw: Draw) -> None:
    for training in (True, False):
        model = _model(draw, 0.5).train(training)
        function(model, _batches(draw, [4]))
        if model.training != training:
            before, after = ("training", "evaluation") if training else ("evaluation", "training")
            raise CheckFailed(f"the model came in {before} mode and is left in {after} mode")
    if expect_tensor(function(_model(draw, 0.0), _batches(draw, [4])), ()).requires_grad:
        raise CheckFailed("the loss carries a graph: evaluate without gradients")

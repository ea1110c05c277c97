"""Checks of the exercises on vectors: skip-gram's optimum, CBOW's gradient, analogies and the permutation test."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.embeddings.counts import expect_number
from plm_chapters.checks.feedback import Check, CheckFailed, Draw, call_by_hand, expect_close, expect_tensor

# --- 3: predict the optimum -----------------------------------------------------------------------------------------

optimum = Check("Skip-gram's optimum: predict, then run")


@optimum.stage("before training")
def _(first_loss: Any, fall: Any, p_real: Any, draw: Draw) -> None:
    mistakes = {
        "the real pair is one of the answers too: K + 1 in all.": 5 * math.log(2),
        "sigma(0) is 1/2, and the loss is its negative logarithm.": 6 * 0.5,
        "this is in bits; the book's log is natural.": 6.0,
    }
    expect_number(first_loss, 6 * math.log(2), what="first_loss", mistakes=mistakes)


@optimum.stage("twice as many samples")
def _(first_loss: Any, fall: Any, p_real: Any, draw: Draw) -> None:
    mistakes = {
        "K enters by its logarithm: log 10 - log 5.": 5.0,
        "the whole shift is log 10; asked is the change from K = 5.": math.log(10),
        "asked is how much the scores fall: a positive number.": -math.log(2),
    }
    expect_number(fall, math.log(2), what="fall", mistakes=mistakes)


@optimum.stage("a pair by chance")
def _(first_loss: Any, fall: Any, p_real: Any, draw: Draw) -> None:
    mistakes = {
        "of K + 1 answers one is real: the odds are 1 to 5, and the probability is 1/6.": 1 / 5,
        "PMI 0 does not mean score 0: the score is PMI - log K.": 0.5,
        "this is the score; the probability is sigma of it.": -math.log(5),
    }
    expect_number(p_real, 1 / 6, what="p_real", mistakes=mistakes)


# --- 5: the gradient of CBOW ----------------------------------------------------------------------------------------

cbow = Check("The gradient of CBOW")

GradientFunction = Callable[[Tensor, Tensor, Tensor], Any]


def _cbow(contexts_CD: Tensor, v_D: Tensor, n_KD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h_D = contexts_CD.mean(dim=0)
    e, e_K = torch.sigmoid(h_D @ v_D) - 1, torch.sigmoid(n_KD @ h_D)
    by_h_D = e * v_D + e_K @ n_KD
    return (by_h_D / len(contexts_CD)).expand_as(contexts_CD), e * h_D, e_K[:, None] * h_D


def _inputs(draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    contexts, negatives, width = draw.sizes(3, 2, 7)
    return draw.normal(contexts, width), draw.normal(width), draw.normal(negatives, width)


def _three(function: GradientFunction, inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[Any, Any, Any]:
    found = call_by_hand(function, *inputs)
    if not isinstance(found, list | tuple) or len(found) != 3:
        raise CheckFailed("cbow_gradients should return three gradients: of the contexts, the word and the negatives")
    return found[0], found[1], found[2]


@cbow.stage("shapes")
def _(function: GradientFunction, draw: Draw) -> None:
    inputs = _inputs(draw)
    by_contexts, by_word, by_negatives = _three(function, inputs)
    one = inputs[1].shape
    hints = {"every context has a gradient of its own, and they are equal.": one}
    expect_tensor(by_contexts, inputs[0].shape, what="the gradient of the contexts", hints=hints)
    expect_tensor(by_word, one, what="the gradient of the word")
    hints = {"every negative sample has a gradient of its own.": one}
    expect_tensor(by_negatives, inputs[2].shape, what="the gradient of the negatives", hints=hints)


@cbow.stage("the word and the negatives")
def _(function: GradientFunction, draw: Draw) -> None:
    inputs = _inputs(draw)
    h_D = inputs[0].mean(dim=0)
    _, by_word, by_negatives = _three(function, inputs)
    sign = {"the error of the real word is sigma - 1: its target is 1.": torch.sigmoid(h_D @ inputs[1]) * h_D}
    expect_close(by_word, _cbow(*inputs)[1], what="the gradient of the word", mistakes=sign)
    other = {
        "the target of negatives is 0: their error is sigma itself.": (torch.sigmoid(inputs[2] @ h_D) - 1)[:, None]
        * h_D
    }
    expect_close(by_negatives, _cbow(*inputs)[2], what="the gradient of the negatives", mistakes=other)


@cbow.stage("the contexts")
def _(function: GradientFunction, draw: Draw) -> None:
    inputs = _inputs(draw)
    right = _cbow(*inputs)[0]
    mistakes = {
        "h is the mean of C contexts: each has 1/C of its gradient.": right * len(inputs[0]),
        "the negatives are missing: h stands in their terms too.": (
            (torch.sigmoid(inputs[0].mean(0) @ inputs[1]) - 1) * inputs[1] / len(inputs[0])
        ).expand_as(right),
    }
    expect_close(_three(function, inputs)[0], right, what="the gradient of the contexts", mistakes=mistakes)


# --- 6: analogies ---------------------------------------------------------------------------------------------------

analogy = Check("Analogies, honestly")

AnalogyFunction = Callable[[Tensor, int, int, int, bool], Any]


def _answer(vectors: Tensor, a: int, b: int, c: int, barred: bool, *, unit: bool = True, cosine: bool = True) -> int:
    vectors = F.normalize(vectors, dim=-1) if unit else vectors
    query = vectors[b] - vectors[a] + vectors[c]
    scores = (F.normalize(vectors, dim=-1) if cosine else vectors) @ query
    if barred:
        scores[[a, b, c]] = -torch.inf
    return int(scores.argmax())


def _expect_answer(function: AnalogyFunction, vectors: Tensor, a: int, b: int, c: int, barred: bool) -> None:
    found = function(vectors.clone(), a, b, c, barred)
    try:
        found = int(found)
    except (TypeError, ValueError) as error:
        raise CheckFailed(f"the answer should be the number of a row, but it is {found!r}") from error
    if found == _answer(vectors, a, b, c, barred):
        return
    if barred and found in (a, b, c):
        raise CheckFailed("with barred=True the answer is one of the question's own words.")
    if not barred and found == _answer(vectors, a, b, c, True):
        raise CheckFailed("with barred=False the question's words may be answers too.")
    if found == _answer(vectors, a, b, c, barred, unit=False):
        raise CheckFailed("scale all vectors to length 1 before the arithmetic: a long one outweighs the others.")
    if found in (
        _answer(vectors, a, b, c, barred, unit=False, cosine=False),
        _answer(vectors, a, b, c, barred, cosine=False),
    ):
        raise CheckFailed("this is the largest inner product; compare by cosine.")
    raise CheckFailed(f"the answer is row {found}, expected {_answer(vectors, a, b, c, barred)}")


@analogy.stage("the question's words barred")
def _(function: AnalogyFunction, draw: Draw) -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.3, 1.0], [-1.0, 0.0]])
    _expect_answer(function, vectors, 0, 1, 2, True)


@analogy.stage("nothing barred")
def _(function: AnalogyFunction, draw: Draw) -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.3, 1.0], [-1.0, 0.0]])
    _expect_answer(function, vectors, 0, 1, 2, False)


@analogy.stage("vectors of different lengths")
def _(function: AnalogyFunction, draw: Draw) -> None:
    for _ in range(30):
        vectors = draw.normal(12, 4) * torch.rand(12, 1, generator=draw.generator) ** 2 * 10
        a, b, c = draw.sizes(3, 0, 11)
        for barred in (True, False):
            _expect_answer(function, vectors, a, b, c, barred)


# --- 7: a permutation test ------------------------------------------------------------------------------------------

permutation = Check("An exact permutation test")

PermutationFunction = Callable[[list[float], list[float]], Any]


def _p(
    x: list[float], y: list[float], *, strict: bool = False, two_sided: bool = False, tolerance: float = 1e-9
) -> float:
    both, size = x + y, len(x)
    half, observed = sum(both) / 2, sum(x)
    hits = 0
    divisions = list(combinations(range(len(both)), size))
    for chosen in divisions:
        value = sum(both[i] for i in chosen)
        if two_sided:
            hits += abs(value - half) >= abs(observed - half) - tolerance
        else:
            hits += value > observed + tolerance if strict else value >= observed - tolerance
    return hits / len(divisions)


def _expect_p(function: PermutationFunction, x: list[float], y: list[float]) -> None:
    right = _p(x, y)
    mistakes = {
        "count divisions that are *at least* as large: the one that was observed is one of them.": _p(
            x, y, strict=True
        ),
        "this is the two-sided p; asked is the share of divisions at least as large.": _p(x, y, two_sided=True),
        "this is the share of divisions at most as large: the other side.": _p(y, x),
        "sums that differ by rounding alone count as equal: compare with a tolerance of 1e-9.": _p(x, y, tolerance=0.0),
    }
    mistakes = {text: value for text, value in mistakes.items() if abs(value - right) > 1e-9}
    expect_number(function(list(x), list(y)), right, what="p", mistakes=mistakes, tolerance=1e-9)


@permutation.stage("six divisions")
def _(function: PermutationFunction, draw: Draw) -> None:
    _expect_p(function, [4.0, 3.0], [2.0, 1.0])


@permutation.stage("equal values")
def _(function: PermutationFunction, draw: Draw) -> None:
    _expect_p(function, [2.0, 1.0, 0.0], [1.0, 0.0, 0.0])
    _expect_p(function, [0.1, 0.2, 0.3], [0.3, 0.2, 0.1])  # some sums are equal but for rounding


@permutation.stage("random groups")
def _(function: PermutationFunction, draw: Draw) -> None:
    for _ in range(5):
        size = draw.integer(3, 5)
        x, y = draw.normal(size).double().tolist(), draw.normal(size).double().tolist()
        _expect_p(function, x, y)

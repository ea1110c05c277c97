"""Checks of the exercises on counts: PMI by pencil, tf-idf, pairs of a window, and the ceiling of bags."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.models.cooccurrence import tf_idf as right_tf_idf


def expect_number(
    value: Any, expected: float, *, what: str, mistakes: dict[str, float], tolerance: float = 0.006
) -> None:
    """Compare one number, rounded or not, with the truth and with what known mistakes give."""
    if value is ... or value is None:
        raise CheckFailed(f"{what} is still missing")
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise CheckFailed(f"{what} should be a number, but it is {value!r}") from error
    if math.isfinite(found) and abs(found - expected) <= tolerance:
        return
    for mistake, wrong in mistakes.items():
        if abs(found - wrong) <= tolerance:
            raise CheckFailed(mistake)
    raise CheckFailed(f"{what} is not {found:g}")


# --- 1: PMI by pencil -----------------------------------------------------------------------------------------------

pencil = Check("Co-occurrence and PMI by pencil")


@pencil.stage("the counts")
def _(total: Any, pmi_duck_fed: Any, pmi_hay_cut: Any, draw: Draw) -> None:
    mistakes = {"each pair stands in two cells, (a, b) and (b, a): count both.": 12.0}
    expect_number(total, 24, what="total", mistakes=mistakes)


@pencil.stage("PMI")
def _(total: Any, pmi_duck_fed: Any, pmi_hay_cut: Any, draw: Draw) -> None:
    for name, value, ratio in (("pmi_duck_fed", pmi_duck_fed, 2.0), ("pmi_hay_cut", pmi_hay_cut, 6.0)):
        mistakes = {
            f"{name}: this is in bits; the book's log is natural.": math.log2(ratio),
            f"{name}: take the logarithm of the ratio.": ratio,
            f"{name}: the total is the sum of all cells, and each pair stands in two.": math.log(ratio / 2),
        }
        expect_number(value, math.log(ratio), what=name, mistakes=mistakes)


# --- 2: tf-idf ------------------------------------------------------------------------------------------------------

weighing = Check("tf-idf")

Weighing = Callable[[Tensor], Any]


def _counts(draw: Draw) -> Tensor:
    documents, words = draw.sizes(2, 4, 8)
    counts = torch.randint(0, 4, (documents, words), generator=draw.generator).float()
    counts[:, 0] = 1 + counts[:, 0]  # a word in every document
    return counts


def _idf(counts: Tensor, *, plus_one: bool = True) -> Tensor:
    documents = (counts > 0).sum(dim=0)
    return float(plus_one) + torch.log((1 + len(counts)) / (1 + documents))


@weighing.stage("shape")
def _(weigh: Weighing, draw: Draw) -> None:
    counts = _counts(draw)
    expect_tensor(weigh(counts), counts.shape, what="the result", hints={"the result is transposed.": counts.T.shape})


@weighing.stage("documents of length 1")
def _(weigh: Weighing, draw: Draw) -> None:
    counts = _counts(draw)
    found = expect_tensor(weigh(counts), counts.shape).double()
    expect_close(found.norm(dim=1), torch.ones(len(counts)), what="the length of the rows",
                 message="Divide each row, a document, by its length.")  # fmt: skip


@weighing.stage("reference")
def _(weigh: Weighing, draw: Draw) -> None:
    counts = _counts(draw)
    normal = torch.nn.functional.normalize
    by_count = 1 + torch.log((1 + len(counts)) / (1 + counts.sum(dim=0)))
    mistakes = {
        "df is the number of documents that have the word, not the number of its occurrences.": normal(
            counts * by_count, dim=1
        ),
        "without the 1 a word that is in every document has the weight 0.": normal(
            counts * _idf(counts, plus_one=False), dim=1
        ),
        "the counts are gone: multiply the weight by how often the word occurs.": normal(
            (counts > 0) * _idf(counts), dim=1
        ),
    }
    expect_close(weigh(counts), right_tf_idf(counts), mistakes=mistakes)


# --- 4: pairs to repair ---------------------------------------------------------------------------------------------

pairs = Check("Pairs of a window")

PairFunction = Callable[[list[str], int], Any]


def _pairs(sentences: Sequence[str], window: int, *, across: bool = False, right_only: bool = False) -> Counter[Any]:
    lines = [sentence.split() for sentence in sentences]
    lines = [[word for line in lines for word in line]] if across else lines
    return Counter(
        (words[i], words[j])
        for words in lines
        for i in range(len(words))
        for j in range(i + 1 if right_only else max(0, i - window), min(len(words), i + window + 1))
        if i != j
    )


def _expect_pairs(found: Any, sentences: list[str], window: int) -> None:
    if not isinstance(found, list | tuple):
        raise CheckFailed(f"make_pairs should return a list of pairs, but it returned {type(found).__name__}")
    seen = Counter(tuple(pair) for pair in found)
    if seen == _pairs(sentences, window):
        return
    if seen == _pairs(sentences, window, across=True):
        raise CheckFailed("pairs cross the border of two sentences: look at the words of one sentence at a time.")
    if seen == _pairs(sentences, window, right_only=True):
        raise CheckFailed("only contexts on the right are there: a window has two sides.")
    if seen == _pairs(sentences, window, across=True, right_only=True):
        raise CheckFailed("pairs cross the border of two sentences, and contexts on the left are missing.")
    if sum((seen - _pairs(sentences, window)).values()):
        raise CheckFailed(f"{list((seen - _pairs(sentences, window)).elements())[:3]} should not be there")
    raise CheckFailed(f"{list((_pairs(sentences, window) - seen).elements())[:3]} are missing")


@pairs.stage("one sentence")
def _(make_pairs: PairFunction, draw: Draw) -> None:
    _expect_pairs(make_pairs(["a b c d"], 2), ["a b c d"], 2)


@pairs.stage("two sentences")
def _(make_pairs: PairFunction, draw: Draw) -> None:
    _expect_pairs(make_pairs(["a b", "c d"], 2), ["a b", "c d"], 2)


@pairs.stage("random texts")
def _(make_pairs: PairFunction, draw: Draw) -> None:
    for _ in range(10):
        sentences = [" ".join("abcde"[draw.integer(0, 4)] for _ in range(draw.integer(1, 6))) for _ in range(3)]
        window = draw.integer(1, 4)
        _expect_pairs(make_pairs(list(sentences), window), sentences, window)


# --- 8: the ceiling of bags -----------------------------------------------------------------------------------------

bags = Check("The ceiling of order-free readers")

CeilingFunction = Callable[[list[str], list[str]], Any]


def _ceiling(sentences: Sequence[str], answers: Sequence[str], *, sets: bool = False, whole: bool = False) -> float:
    groups: dict[Any, Counter[str]] = {}
    for sentence, answer in zip(sentences, answers, strict=True):
        words = sentence.split()
        key: Any = sentence if whole else frozenset(words) if sets else tuple(sorted(words))
        groups.setdefault(key, Counter())[answer] += 1
    return sum(max(counts.values()) for counts in groups.values()) / len(sentences)


def _expect_ceiling(ceiling: CeilingFunction, sentences: list[str], answers: list[str]) -> None:
    mistakes = {
        "sentences are compared word by word in their order: sort the words first.": _ceiling(
            sentences, answers, whole=True
        ),
        "sets forget how often a word occurs; a bag counts.": _ceiling(sentences, answers, sets=True),
    }
    right = _ceiling(sentences, answers)
    mistakes = {text: value for text, value in mistakes.items() if abs(value - right) > 1e-6}
    found = ceiling(list(sentences), list(answers))
    expect_number(found, right, what="the ceiling", mistakes=mistakes, tolerance=1e-6)


@bags.stage("different bags")
def _(ceiling: CeilingFunction, draw: Draw) -> None:
    _expect_ceiling(ceiling, ["ann took it", "bob took it"], ["ann", "bob"])


@bags.stage("mirror images")
def _(ceiling: CeilingFunction, draw: Draw) -> None:
    _expect_ceiling(ceiling, ["ann gave bob it", "bob gave ann it", "bob took it"], ["bob", "ann", "bob"])


@bags.stage("repeated words")
def _(ceiling: CeilingFunction, draw: Draw) -> None:
    _expect_ceiling(ceiling, ["no", "no no", "no no no", "yes"], ["down", "up", "down", "up"])


@bags.stage("random sentences")
def _(ceiling: CeilingFunction, draw: Draw) -> None:
    for _ in range(10):
        count = draw.integer(5, 40)
        sentences = [" ".join("ab"[draw.integer(0, 1)] for _ in range(draw.integer(1, 3))) for _ in range(count)]
        _expect_ceiling(ceiling, sentences, ["xyz"[draw.integer(0, 2)] for _ in range(count)])

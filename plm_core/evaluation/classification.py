"""Scores of a classifier: accuracy, precision, recall and F1, and the confusion matrix that they are computed from.

Shapes are written into names: C classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

Average = Literal["micro", "macro", "weighted"]


@dataclass(frozen=True)
class Scores:
    """Precision, recall and F1, each from 0 to 1, of ``support`` true items. A ratio with denominator 0 counts as 0."""

    precision: float
    """Share of the predicted items that are right."""
    recall: float
    """Share of the true items that were predicted."""
    f1: float
    """Harmonic mean of the two; in an average over classes, the mean of the classes' F1."""
    support: int
    """Number of true items."""

    @classmethod
    def from_counts(cls, right: int, predicted: int, true: int) -> Scores:
        """Scores of ``right`` correct items among ``predicted`` predicted and ``true`` true ones."""
        f1 = 2 * right / (predicted + true) if predicted + true else 0.0
        return cls(right / predicted if predicted else 0.0, right / true if true else 0.0, f1, true)


def average_scores(counts: Sequence[tuple[int, int, int]], average: Average) -> Scores:
    """One score for several classes, given ``(right, predicted, true)`` of each.

    Args:
        counts: for each class its correct, predicted and true items.
        average: ``"micro"`` adds the counts first, so that each item weighs the same; ``"macro"`` takes the mean of the
            classes' scores, so that each class weighs the same; ``"weighted"`` weighs each class by its true items.

    Raises:
        ValueError: an unknown average.
    """
    support = sum(true for _, _, true in counts)
    if average == "micro":
        return Scores.from_counts(sum(right for right, _, _ in counts), sum(each for _, each, _ in counts), support)
    if average not in ("macro", "weighted"):
        raise ValueError(f"average must be micro, macro or weighted, got {average!r}")
    scores = [Scores.from_counts(*each) for each in counts]
    weights = [1 if average == "macro" else each.support for each in scores]
    total = sum(weights)
    if not total:
        return Scores(0.0, 0.0, 0.0, support)

    def mean(values: list[float]) -> float:
        return sum(weight * value for weight, value in zip(weights, values, strict=True)) / total

    return Scores(
        mean([each.precision for each in scores]),
        mean([each.recall for each in scores]),
        mean([each.f1 for each in scores]),
        support,
    )


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix: how often each class was predicted for each true class."""

    labels: tuple[Hashable, ...]
    """The classes, in the order of rows and columns."""
    counts_CC: np.ndarray
    """Integers, (C, C): row = true class, column = predicted class."""

    @property
    def accuracy(self) -> float:
        """Share of the examples whose class was predicted."""
        return float(np.trace(self.counts_CC) / self.counts_CC.sum())

    @property
    def majority(self) -> float:
        """Accuracy of always predicting the most frequent true class: what any classifier must exceed."""
        return float(self.counts_CC.sum(1).max() / self.counts_CC.sum())

    def per_class(self) -> dict[Hashable, Scores]:
        """The scores of each class, taken as the question "this class or another one?"."""
        return {label: Scores.from_counts(*self._count(label)) for label in self.labels}

    def average(self, average: Average, *, labels: Sequence[Hashable] | None = None) -> Scores:
        """One score for all classes; see :func:`average_scores`.

        Args:
            average: ``"micro"``, ``"macro"`` or ``"weighted"``. Over all classes, micro precision, recall and F1 equal
                the accuracy; macro recall is also called balanced accuracy.
            labels: the classes that count, such as all relations but "no relation"; None for all.

        Raises:
            ValueError: an unknown average or class.
        """
        chosen = self.labels if labels is None else labels
        for label in chosen:
            if label not in self.labels:
                raise ValueError(f"{label!r} is not among the classes {list(self.labels)}")
        return average_scores([self._count(label) for label in chosen], average)

    def _count(self, label: Hashable) -> tuple[int, int, int]:
        place = self.labels.index(label)
        row, column = self.counts_CC[place].sum(), self.counts_CC[:, place].sum()
        return int(self.counts_CC[place, place]), int(column), int(row)


def confusion(
    true: Sequence[Hashable] | np.ndarray | Tensor,
    predicted: Sequence[Hashable] | np.ndarray | Tensor,
    *,
    labels: Sequence[Hashable] | None = None,
) -> Confusion:
    """Count true and predicted classes against each other.

    Args:
        true: the class of each example: strings or integers, as a list, an array or a tensor.
        predicted: the class that was predicted for it.
        labels: all classes, in the order wanted; None for those that occur, sorted.

    Raises:
        ValueError: no examples, lists of different lengths, or a class that is not among ``labels``.

    >>> matrix = confusion(["spam", "ham", "ham", "ham"], ["spam", "spam", "ham", "ham"])
    >>> matrix.labels, matrix.counts_CC.tolist(), matrix.accuracy
    (('ham', 'spam'), [[2, 1], [0, 1]], 0.75)
    """
    if len(true) != len(predicted):
        raise ValueError(f"there are {len(true)} true classes and {len(predicted)} predicted ones")
    if not len(true):
        raise ValueError("there are no examples to score")
    true, predicted = _as_list(true), _as_list(predicted)
    classes = tuple(labels) if labels is not None else tuple(sorted({*true, *predicted}))  # type: ignore[type-var]
    if len(set(classes)) != len(classes):
        raise ValueError(f"a class is listed twice: {list(classes)}")
    places = {label: place for place, label in enumerate(classes)}
    counts_CC = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for one, other in zip(true, predicted, strict=True):
        for label in (one, other):
            if label not in places:
                raise ValueError(f"the class {label!r} is not among {list(classes)}")
        counts_CC[places[one], places[other]] += 1
    return Confusion(classes, counts_CC)


def _as_list(labels: Sequence[Hashable] | np.ndarray | Tensor) -> list[Hashable]:
    return labels.tolist() if isinstance(labels, np.ndarray | Tensor) else list(labels)

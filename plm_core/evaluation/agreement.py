"""Agreement between people who rate the same items, corrected for the agreement that chance would give.

All coefficients are 1 for full agreement and 0 for that of chance.
Shapes are written into names: N items, C categories.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from plm_core.evaluation.classification import confusion

Scale = Literal["nominal", "ordinal", "interval"]


def cohen_kappa(
    one: Sequence[Hashable],
    other: Sequence[Hashable],
    *,
    weights: Literal["linear", "quadratic"] | None = None,
    labels: Sequence[Hashable] | None = None,
) -> float:
    """Cohen's kappa of two raters.

    Args:
        one: the first rater's category for each item.
        other: the second rater's.
        weights: how much a disagreement counts: None, all alike; ``"linear"`` and ``"quadratic"``, by the distance of
            the categories, or its square, in the order of ``labels``.
        labels: all categories, in their order; None for those that occur, sorted.

    Raises:
        ValueError: no items, lists of different lengths, an unknown category or weight, or both raters giving one and
            the same category to all items, for which kappa is not defined.

    Sources: Cohen (1960), "A coefficient of agreement for nominal scales"; weighted, Cohen (1968).

    >>> round(cohen_kappa(["yes", "yes", "no", "no"], ["yes", "no", "no", "no"]), 3)
    0.5
    """
    counts_CC = confusion(one, other, labels=labels).counts_CC
    chance_CC = np.outer(counts_CC.sum(1), counts_CC.sum(0)) / counts_CC.sum()
    distance_CC = np.abs(np.subtract.outer(np.arange(len(counts_CC)), np.arange(len(counts_CC))))
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f"weights must be None, linear or quadratic, got {weights!r}")
    cost_CC = {None: distance_CC > 0, "linear": distance_CC, "quadratic": distance_CC**2}[weights]
    return _corrected(float((cost_CC * counts_CC).sum()), float((cost_CC * chance_CC).sum()))


def fleiss_kappa(counts_NC: Sequence[Sequence[int]] | np.ndarray) -> float:
    """Fleiss' kappa of several raters, who need not be the same for each item.

    Args:
        counts_NC: for each item how many raters chose each category, (N, C); at least two raters, and as many for each
            item. Where ratings are missing, use :func:`krippendorff_alpha`.

    Raises:
        ValueError: counts of another shape, items with different numbers of ratings or fewer than two, or all ratings
            equal, for which kappa is not defined.

    Source: Fleiss (1971), "Measuring nominal scale agreement among many raters".
    """
    counts_NC = np.asarray(counts_NC)
    if counts_NC.ndim != 2 or not counts_NC.size or (counts_NC < 0).any():
        raise ValueError(f"kappa needs counts (items, categories), not negative, got shape {counts_NC.shape}")
    raters = counts_NC.sum(1)
    if raters.min() != raters.max() or raters[0] < 2:
        raise ValueError(f"each item needs the same number of ratings, at least 2; found {raters.min()}-{raters.max()}")
    pairs = raters[0] * (raters[0] - 1)
    observed = 1 - (counts_NC * (counts_NC - 1)).sum() / (pairs * len(counts_NC))
    shares_C = counts_NC.sum(0) / counts_NC.sum()
    return _corrected(float(observed), float(1 - (shares_C**2).sum()))


def krippendorff_alpha(ratings: Sequence[Sequence[Hashable | None]], *, scale: Scale = "nominal") -> float:
    """Krippendorff's alpha of any number of raters, any of whose ratings may be missing.

    Args:
        ratings: for each rater a rating of each item; None or NaN where it is missing. Items with fewer than two
            ratings say nothing about agreement and are left out.
        scale: what the ratings are: ``"nominal"``, categories; ``"ordinal"``, ranks, of which only the order counts;
            ``"interval"``, numbers whose differences count.

    Raises:
        ValueError: raters with different numbers of items, no item with two ratings, all such ratings equal, for which
            alpha is not defined, or an unknown scale.

    Source: Krippendorff (2011), "Computing Krippendorff's alpha-reliability".

    >>> krippendorff_alpha([["a", "b", None], ["a", "b", "c"], ["a", "c", None]])
    0.5454545454545454
    """
    if len({len(each) for each in ratings}) != 1:
        raise ValueError(f"each rater needs a rating, or None, for each item; got {[len(each) for each in ratings]}")
    items = [[each for each in item if not _is_missing(each)] for item in zip(*ratings, strict=True)]
    items = [item for item in items if len(item) > 1]
    if not items:
        raise ValueError("no item has two ratings, so there is nothing to agree on")
    values = sorted({each for item in items for each in item})
    places = {value: place for place, value in enumerate(values)}
    together_CC = np.zeros((len(values), len(values)))
    for item in items:
        counts_C = np.bincount([places[each] for each in item], minlength=len(values))
        together_CC += (np.outer(counts_C, counts_C) - np.diag(counts_C)) / (len(item) - 1)
    counts_C = together_CC.sum(0)
    cost_CC = _squared_distances(values, counts_C, scale)
    observed = (cost_CC * together_CC).sum()
    by_chance = (cost_CC * np.outer(counts_C, counts_C)).sum() / (counts_C.sum() - 1)
    return _corrected(float(observed), float(by_chance))


def _squared_distances(values: Sequence[Hashable], counts_C: np.ndarray, scale: Scale) -> np.ndarray:
    if scale == "nominal":
        return 1 - np.eye(len(values))
    if scale == "ordinal":
        ranks_C = counts_C.cumsum() - counts_C / 2
        return np.subtract.outer(ranks_C, ranks_C) ** 2
    if scale == "interval":
        numbers_C = np.array(values, dtype=float)
        return np.subtract.outer(numbers_C, numbers_C) ** 2
    raise ValueError(f"scale must be nominal, ordinal or interval, got {scale!r}")


def _is_missing(rating: Hashable | None) -> bool:
    return rating is None or rating != rating


def _corrected(observed: float, by_chance: float) -> float:
    """The coefficient, given the disagreement that was observed and that which chance would give."""
    if not by_chance:
        raise ValueError("all ratings are equal: agreement by chance would be as good, so the coefficient is undefined")
    return 1 - observed / by_chance

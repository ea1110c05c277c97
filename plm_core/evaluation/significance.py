"""Is a difference between two models more than chance? Intervals by the bootstrap, tests by permutation, and McNemar's.

A test speaks about what it draws again. Over examples, that is whether *these two trained models* would differ on other
examples. Whether two ways of training differ needs several seeds, each with its own pair of models. Examples that are
not independent, such as the sentences of a document, must be drawn together: that is what ``groups`` are for.

Shapes are written into names: N examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

TOLERANCE = 1e-9
"""Relative difference below which two values of a statistic count as equal; sums in another order are rounded apart."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    estimate: float
    """The statistic of the examples as they are."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    level: float
    """In how many of all samples the interval is to hold the true value: 0.95 for 95 %."""


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    count: int,
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of any statistic of N examples, drawn again with replacement.

    With fewer than about 20 examples or groups it is too narrow.

    Args:
        statistic: from the places of the examples that were drawn, integers (N,), to a number: a mean of their scores,
            a corpus BLEU, a difference of two models' F1.
        count: N.
        groups: for each example the group that it belongs to. Groups are drawn whole, so that the number of examples
            can vary. None draws examples.
        resamples: how often the examples are drawn.
        level: of the interval, between 0 and 1.
        seed: of the draws.

    Raises:
        ValueError: no examples, groups of another number, or a setting outside its range.

    Source: Efron & Tibshirani (1993), "An introduction to the bootstrap", chapter 13.

    >>> scores = np.array([0.0, 1.0] * 50)
    >>> interval = bootstrap(lambda places: scores[places].mean(), 100)
    >>> interval.estimate, bool(interval.low < 0.45), bool(interval.high > 0.55)
    (0.5, True, True)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    group_N, group_count = _group_numbers(count, groups, resamples)
    members = np.split(np.argsort(group_N, kind="stable"), np.cumsum(np.bincount(group_N))[:-1])
    generator = np.random.default_rng(seed)
    values = np.empty(resamples)
    for number in range(resamples):
        drawn = generator.integers(group_count, size=group_count)
        values[number] = statistic(drawn if groups is None else np.concatenate([members[each] for each in drawn]))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(np.arange(count))), float(low), float(high), level)


def paired_permutation(
    statistic: Callable[[np.ndarray], float],
    count: int,
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """Two-sided p-value of a difference between two models on the same examples, by exchanging their outputs.

    If the models were equally good, which of them gave which output of an example would not matter. All exchanges are
    tried if there are at most ``resamples``, which makes the test exact; otherwise some are drawn.

    Args:
        statistic: from the examples whose outputs are exchanged, bool (N,), to the difference of the models' scores;
            :func:`mean_difference` makes one for means.
        count: N.
        groups: for each example the group that it belongs to; the outputs of a group are exchanged together.
        resamples: how many exchanges are tried.
        seed: of the draws.

    Raises:
        ValueError: no examples, groups of another number, or no resamples.

    Sources: Fisher (1935), "The design of experiments"; Noreen (1989), "Computer-intensive methods for testing
    hypotheses"; the p-value counts the outputs as they are as one of the draws (Phipson & Smyth 2010).

    >>> paired_permutation(mean_difference([1, 1, 1, 1], [0, 0, 0, 0]), 4)
    0.125
    """
    group_N, group_count = _group_numbers(count, groups, resamples)
    found = abs(float(statistic(np.zeros(count, dtype=bool))))
    exact = group_count <= math.log2(resamples)
    as_extreme = tried = 0
    for exchanged in _all_exchanges(group_count) if exact else _some_exchanges(group_count, resamples, seed):
        tried += 1
        as_extreme += abs(float(statistic(exchanged[group_N]))) >= found * (1 - TOLERANCE)
    return as_extreme / tried if exact else (1 + as_extreme) / (1 + tried)


def mean_difference(
    one_N: Sequence[float] | np.ndarray, other_N: Sequence[float] | np.ndarray
) -> Callable[[np.ndarray], float]:
    """The statistic for :func:`paired_permutation` of two models' mean scores.

    Args:
        one_N: the scores of one model on each example.
        other_N: those of the other model.

    Raises:
        ValueError: different numbers of scores.
    """
    if len(one_N) != len(other_N):
        raise ValueError(f"a paired comparison needs the same examples, got {len(one_N)} and {len(other_N)} scores")
    difference_N = np.asarray(one_N, dtype=float) - np.asarray(other_N, dtype=float)
    return lambda exchanged_N: float(np.where(exchanged_N, -difference_N, difference_N).mean())


def _group_numbers(count: int, groups: Sequence[Hashable] | None, resamples: int) -> tuple[np.ndarray, int]:
    if count < 1 or resamples < 1:
        raise ValueError(f"at least one example and one resample are needed, got {count} and {resamples}")
    if groups is None:
        return np.arange(count), count
    if len(groups) != count:
        raise ValueError(f"there are {len(groups)} group labels for {count} examples")
    numbers: dict[Hashable, int] = {}
    group_N = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
    return group_N, len(numbers)


def _all_exchanges(count: int) -> Iterator[np.ndarray]:
    for exchanged in product((False, True), repeat=count):
        yield np.array(exchanged)


def _some_exchanges(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield generator.random(count) < 0.5


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two classifiers on the same examples. Only the examples on which one of them is right count."""

    only_one: int
    """Examples that only the first classifier gets right."""
    only_other: int
    """Examples that only the second one gets right."""

    @property
    def p_exact(self) -> float:
        """Two-sided p-value of a fair coin. It never rejects too often, and with few examples too rarely."""
        return min(1.0, 2 * sum(map(self._probability, range(min(self.only_one, self.only_other) + 1))))

    @property
    def p_mid(self) -> float:
        """Two-sided mid-p-value: results as extreme as the one found count by half. Recommended by Fagerland et al."""
        observed = self._probability(self.only_one)
        return self.p_exact - (observed / 2 if self.only_one == self.only_other else observed)

    def _probability(self, heads: int) -> float:
        total = self.only_one + self.only_other
        ways = math.lgamma(total + 1) - math.lgamma(heads + 1) - math.lgamma(total - heads + 1)
        return math.exp(ways - total * math.log(2))


def mcnemar(one_right_N: Sequence[bool] | np.ndarray, other_right_N: Sequence[bool] | np.ndarray) -> McNemar:
    """Compare two classifiers by the examples on which only one of them is right.

    Args:
        one_right_N: for each example whether the first classifier is right.
        other_right_N: the same for the second one.

    Raises:
        ValueError: no examples, or different numbers of them.

    Sources: McNemar (1947); the mid-p-value is that of Fagerland, Lydersen & Laake (2013), "The McNemar test for binary
    matched-pairs data: mid-p and asymptotic are better than exact conditional".

    >>> mcnemar([True] * 8 + [False], [False] * 8 + [True])
    McNemar(only_one=8, only_other=1)
    """
    one_N, other_N = np.asarray(one_right_N, dtype=bool), np.asarray(other_right_N, dtype=bool)
    if one_N.shape != other_N.shape or one_N.ndim != 1 or not one_N.size:
        raise ValueError(f"the test needs the same examples for both, got shapes {one_N.shape} and {other_N.shape}")
    return McNemar(int((one_N & ~other_N).sum()), int((other_N & ~one_N).sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected so that the chance of any false alarm stays below the level.

    Args:
        p_values: of all tests that were made, not only of those that are reported.

    Raises:
        ValueError: a p-value outside [0, 1].

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1, got {list(p_values)}")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected

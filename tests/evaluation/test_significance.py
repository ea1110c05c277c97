"""Tests hold their level, equal scipy's, and answer by hand what can be answered by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plm_core.evaluation.significance import (
    McNemar,
    bootstrap,
    holm,
    mcnemar,
    mean_difference,
    paired_permutation,
)


def test_the_bootstrap_draws_every_resample_as_often_as_enumeration_says() -> None:
    """Of three numbers there are 27 resamples; 8,100 draws: a chi-square with 9 degrees of freedom and p = 1e-6."""
    numbers = np.array([0.0, 1.0, 10.0])
    sums = []
    bootstrap(lambda places: sums.append(numbers[places].sum()) or 0.0, 3, resamples=8100, seed=1)
    drawn = sums[:-1]  # the last one is the sample itself
    expected = {}
    for resample in product(numbers, repeat=3):
        expected[sum(resample)] = expected.get(sum(resample), 0) + 300
    observed = [drawn.count(value) for value in expected]
    assert sum(observed) == 8100
    assert stats.chisquare(observed, list(expected.values())).pvalue > 1e-6


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    """Ends of both are quantiles of 20,000 resamples, so they agree within a twentieth of the interval's width."""
    sample = np.random.default_rng(0).gamma(2.0, size=60)
    found = bootstrap(lambda places: sample[places].mean(), 60, resamples=20_000, level=0.9)
    theirs = stats.bootstrap(
        (sample,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=1
    ).confidence_interval
    assert found.estimate == pytest.approx(sample.mean())
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=(theirs.high - theirs.low) / 20)


def coverage(groups) -> float:
    """How often the interval holds the mean 0 of 12 groups of 5 examples that have their group's value in common."""
    hits, generator = 0, np.random.default_rng(2)
    for trial in range(200):
        values = np.repeat(generator.normal(size=12), 5) + 0.1 * generator.normal(size=60)
        interval = bootstrap(
            lambda places, values=values: values[places].mean(), 60, groups=groups, resamples=200, seed=trial
        )
        hits += interval.low <= 0 <= interval.high
    return hits / 200


def test_groups_that_hang_together_are_drawn_together() -> None:
    """With 12 groups about 90 % of the intervals hold the mean. Drawing examples, they are too narrow by sqrt(5)."""
    assert coverage(np.repeat(np.arange(12), 5).tolist()) > 0.82
    assert coverage(None) < 0.7


def test_groups_of_one_example_change_nothing() -> None:
    values = np.random.default_rng(3).normal(size=30)

    def mean(places):
        return values[places].mean()

    assert bootstrap(mean, 30, groups=list(range(30))) == bootstrap(mean, 30)
    difference = mean_difference(values, np.zeros(30))
    assert paired_permutation(difference, 30, groups=list(range(30)), resamples=50) == paired_permutation(
        difference, 30, resamples=50
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9))
def test_exact_permutation_is_that_of_scipy(pairs) -> None:
    one, other = np.array(pairs, dtype=float).T
    theirs = stats.permutation_test(
        (one, other), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples", vectorized=True
    )
    assert paired_permutation(mean_difference(one, other), len(one)) == pytest.approx(theirs.pvalue)


def test_drawn_permutations_come_near_the_exact_ones() -> None:
    """10 examples, so 1,024 exchanges; 999 draws have a standard error of about 0.01, and 5 of them are allowed."""
    generator = np.random.default_rng(4)
    difference = mean_difference(generator.normal(0.5, size=10), generator.normal(size=10))
    exact, drawn = paired_permutation(difference, 10), paired_permutation(difference, 10, resamples=999)
    assert abs(exact - drawn) < 5 * (exact * (1 - exact) / 999) ** 0.5 + 1e-3


def test_a_statistic_that_is_no_mean() -> None:
    """The F1 of a class: exchanged are predictions. Enumerated by hand over 2^6 exchanges."""
    true = np.array([1, 1, 1, 0, 0, 1])
    outputs = np.array([[1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0]])

    def f1(predicted):
        return 2 * (predicted & true).sum() / max(1, predicted.sum() + true.sum())

    def difference(exchanged):
        return f1(np.where(exchanged, outputs[1], outputs[0])) - f1(np.where(exchanged, outputs[0], outputs[1]))

    found = abs(difference(np.zeros(6, dtype=bool)))
    every = [abs(difference(np.array(each))) for each in product([False, True], repeat=6)]
    assert paired_permutation(difference, 6) == np.mean([value >= found - 1e-12 for value in every])


def test_exchanging_whole_groups_gives_larger_p_values() -> None:
    difference = mean_difference(np.ones(8), np.zeros(8))
    assert paired_permutation(difference, 8) == 2 / 2**8
    assert paired_permutation(difference, 8, groups=list("aabbccdd")) == 2 / 2**4


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_fair_coin(one, other) -> None:
    result = McNemar(one, other)
    theirs = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert result.p_exact == pytest.approx(theirs)
    coin = stats.binom(one + other, 0.5)
    as_likely = coin.pmf(one) * (1 if one == other else 2)
    assert result.p_mid == pytest.approx(theirs - as_likely / 2)


def test_the_published_example_of_mcnemars_test() -> None:
    """Fagerland et al. (2013): 1 against 7 children."""
    right = [True] * 1 + [False] * 7, [False] * 1 + [True] * 7
    result = mcnemar(*right)
    assert (round(result.p_exact, 4), round(result.p_mid, 4)) == (0.0703, 0.0391)


def test_large_counts_stay_exact() -> None:
    assert McNemar(5200, 4800).p_exact == pytest.approx(stats.binomtest(5200, 10_000).pvalue, rel=1e-7)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_step_by_step(p_values, level) -> None:
    order = np.argsort(p_values, kind="stable")
    rejected = set()
    for rank, place in enumerate(order):
        if p_values[place] * (len(p_values) - rank) > level:
            break
        rejected.add(int(place))
    assert {place for place, p in enumerate(holm(p_values)) if p <= level} == rejected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap(np.mean, 0), "at least one example"),
        (lambda: bootstrap(np.mean, 3, level=1.0), "level"),
        (lambda: bootstrap(np.mean, 3, groups=["a"]), "1 group labels for 3"),
        (lambda: paired_permutation(np.mean, 3, resamples=0), "one resample"),
        (lambda: mean_difference([1.0], [1.0, 2.0]), "same examples"),
        (lambda: mcnemar([True], [True, False]), "same examples"),
        (lambda: mcnemar([], []), "same examples"),
        (lambda: holm([0.5, 1.5]), "between 0 and 1"),
    ],
)
def test_what_cannot_be_tested_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()

"""Power by simulation, by formula and by enumeration agree."""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from plm_core.evaluation.power import (
    mcnemar_examples,
    mcnemar_experiment,
    mcnemar_power,
    mean_examples,
    mean_power,
    simulated_power,
)
from plm_core.evaluation.significance import McNemar


@cache
def rejects(one: int, other: int, mid: bool, level: float = 0.05) -> bool:
    result = McNemar(one, other)
    return (result.p_mid if mid else result.p_exact) <= level


def enumerated(only_one: float, only_other: float, count: int, mid: bool) -> float:
    """The probability of all results that the test calls significant."""
    different = only_one + only_other
    return sum(
        stats.binom.pmf(total, count, different) * stats.binom.pmf(one, total, only_one / different)
        for total in range(count + 1)
        for one in range(total + 1)
        if rejects(one, total - one, mid)
    )


@pytest.mark.parametrize("mid", [True, False])
def test_simulated_power_is_the_enumerated_one(mid) -> None:
    """4,000 simulations, 5 standard errors: a false alarm has probability 6e-7."""
    expected = enumerated(0.25, 0.08, 60, mid)
    found = simulated_power(mcnemar_experiment(0.25, 0.08, 60, mid=mid), simulations=4000, seed=1)
    assert abs(found - expected) < 5 * (expected * (1 - expected) / 4000) ** 0.5


def test_without_a_difference_the_level_is_held() -> None:
    assert enumerated(0.15, 0.15, 60, mid=False) < enumerated(0.15, 0.15, 60, mid=True) <= 0.05


@pytest.mark.parametrize(("only_one", "only_other", "count"), [(0.06, 0.04, 2000), (0.12, 0.08, 500), (0.3, 0.2, 200)])
def test_the_formula_comes_near_the_simulation(only_one, only_other, count) -> None:
    """Within 3 points, to which 4,000 simulations add at most 5 standard errors of 0.8."""
    found = simulated_power(mcnemar_experiment(only_one, only_other, count), simulations=4000, seed=2)
    assert abs(found - mcnemar_power(only_one, only_other, count)) < 0.03 + 5 * 0.008


@pytest.mark.parametrize(("only_one", "only_other"), [(0.06, 0.04), (0.3, 0.1), (0.2, 0.0)])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_number_of_examples_is_the_smallest_that_gives_the_power(only_one, only_other, power) -> None:
    count = mcnemar_examples(only_one, only_other, power=power)
    assert mcnemar_power(only_one, only_other, count) >= power - 1e-12
    assert count == 1 or mcnemar_power(only_one, only_other, count - 1) < power


def test_power_of_a_mean_is_that_of_simulated_tests() -> None:
    """100 differences, of which each experiment takes Student's t; 5 standard errors, and 1 point for the formula."""

    def experiment(generator: np.random.Generator) -> float:
        return float(stats.ttest_1samp(generator.normal(0.3, 1.0, size=100), 0).pvalue)

    expected = mean_power(0.3, 1.0, 100)
    found = simulated_power(experiment, simulations=2000, seed=3)
    assert abs(found - expected) < 0.01 + 5 * (expected * (1 - expected) / 2000) ** 0.5


def test_the_formula_promises_too_much_for_three_seeds() -> None:
    def experiment(generator: np.random.Generator) -> float:
        return float(stats.ttest_1samp(generator.normal(1.0, 0.5, size=3), 0).pvalue)

    assert mean_power(1.0, 0.5, 3) > 0.9
    assert simulated_power(experiment, simulations=1000, seed=4) < 0.7


def test_numbers_of_differences() -> None:
    count = mean_examples(0.3, 1.0)
    assert mean_power(0.3, 1.0, count) >= 0.8 > mean_power(0.3, 1.0, count - 1)
    assert mean_power(0.0, 1.0, 50) == pytest.approx(0.05)


def test_classifiers_that_never_differ_have_no_power() -> None:
    assert mcnemar_power(0.0, 0.0, 100) == 0
    assert mcnemar_power(1.0, 0.0, 100) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mcnemar_power(0.6, 0.6, 10), "sum to at most 1"),
        (lambda: mcnemar_experiment(-0.1, 0.2, 10), "not be negative"),
        (lambda: mcnemar_power(0.1, 0.2, 0), "at least one example"),
        (lambda: mcnemar_examples(0.1, 0.1), "equal"),
        (lambda: mcnemar_examples(0.1, 0.2, power=1.0), "power"),
        (lambda: mean_power(0.1, 0.0, 10), "deviation"),
        (lambda: mean_examples(0.0, 1.0), "not be 0"),
        (lambda: simulated_power(lambda generator: 1.0, level=0.0), "level"),
        (lambda: simulated_power(lambda generator: 1.0, simulations=0), "simulation"),
    ],
)
def test_impossible_settings_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()

"""Power: how often an experiment would find a difference of a given size. Compute it before the experiment.

Source of the advice: Card et al. (2020), "With little power comes great responsibility".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from plm_core.evaluation.significance import McNemar

NORMAL = NormalDist()


def simulated_power(
    experiment: Callable[[np.random.Generator], float], *, level: float = 0.05, simulations: int = 2000, seed: int = 0
) -> float:
    """The share of simulated experiments whose p-value is at most ``level``.

    With n simulations its standard error is at most 0.5 / sqrt(n). Of an experiment without a difference it is the rate
    of false alarms, which shows whether a test holds its level.

    Args:
        experiment: from random numbers to a p-value: draws data as they would be, and tests them.
        level: of the test.
        simulations: number of experiments.
        seed: of the random numbers.

    Raises:
        ValueError: a setting outside its range.
    """
    check_level(level)
    if simulations < 1:
        raise ValueError(f"at least one simulation is needed, got {simulations}")
    generator = np.random.default_rng(seed)
    return sum(experiment(generator) <= level for _ in range(simulations)) / simulations


def mcnemar_experiment(
    only_one: float, only_other: float, count: int, *, mid: bool = True
) -> Callable[[np.random.Generator], float]:
    """An experiment for :func:`simulated_power`: two classifiers on the same examples, compared by McNemar's test.

    Args:
        only_one: probability that only the first classifier is right. Two accuracies do not determine it: estimate it
            from a pilot, or from similar models.
        only_other: probability that only the second one is right; the difference of the two is that of the accuracies.
        count: number of test examples.
        mid: use the mid-p-value, else the exact one.

    Raises:
        ValueError: impossible probabilities or no examples.
    """
    check_rates(only_one, only_other)
    check_count(count)

    def experiment(generator: np.random.Generator) -> float:
        one, other, _ = generator.multinomial(count, [only_one, only_other, 1 - only_one - only_other])
        result = McNemar(int(one), int(other))
        return result.p_mid if mid else result.p_exact

    return experiment


def mcnemar_power(only_one: float, only_other: float, count: int, *, level: float = 0.05) -> float:
    """Power of McNemar's test by the normal approximation; arguments as of :func:`mcnemar_experiment`.

    Raises:
        ValueError: impossible probabilities, no examples, or a level outside its range.

    Source: Connor (1987), "Sample size for testing differences in proportions for the paired-sample design".
    """
    check_rates(only_one, only_other)
    check_count(count)
    check_level(level)
    different, difference = only_one + only_other, abs(only_one - only_other)
    if not different:
        return 0.0
    variance = different - difference**2
    excess = difference * math.sqrt(count) - NORMAL.inv_cdf(1 - level / 2) * math.sqrt(different)
    return NORMAL.cdf(excess / math.sqrt(variance)) if variance else float(excess > 0)


def mcnemar_examples(only_one: float, only_other: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """How many test examples McNemar's test needs for a given power, by the formula of :func:`mcnemar_power`.

    Raises:
        ValueError: impossible or equal probabilities, or a setting outside its range.

    >>> mcnemar_examples(0.06, 0.04)  # 2 points of accuracy, and the models differ on one example in ten
    1960
    """
    check_rates(only_one, only_other)
    check_level(level)
    check_power(power)
    different, difference = only_one + only_other, abs(only_one - only_other)
    if not difference:
        raise ValueError("the two probabilities are equal: no number of examples shows a difference that is not there")
    spread = NORMAL.inv_cdf(1 - level / 2) * math.sqrt(different)
    spread += NORMAL.inv_cdf(power) * math.sqrt(different - difference**2)
    return math.ceil((spread / difference) ** 2)


def mean_power(difference: float, deviation: float, count: int, *, level: float = 0.05) -> float:
    """Power of a two-sided test of a mean of paired differences, by the normal approximation.

    It is too high for fewer than about 20 differences, such as those of a few seeds, where Student's t has heavier
    tails than the normal distribution; use :func:`simulated_power` there.

    Args:
        difference: the true mean of the differences.
        deviation: their standard deviation, in the same unit, positive.
        count: number of differences.
        level: of the test.

    Raises:
        ValueError: a deviation that is not positive, no differences, or a level outside its range.
    """
    check_count(count)
    check_level(level)
    if not deviation > 0:
        raise ValueError(f"the deviation must be positive, got {deviation}")
    shift, border = math.sqrt(count) * difference / deviation, NORMAL.inv_cdf(1 - level / 2)
    return NORMAL.cdf(shift - border) + NORMAL.cdf(-shift - border)


def mean_examples(difference: float, deviation: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """How many paired differences a test of their mean needs for a given power, by the normal approximation.

    Raises:
        ValueError: a difference of 0, a deviation that is not positive, or a setting outside its range.
    """
    check_level(level)
    check_power(power)
    if not deviation > 0 or not difference:
        raise ValueError(f"difference and deviation must not be 0, got {difference} and {deviation}")
    return math.ceil(((NORMAL.inv_cdf(1 - level / 2) + NORMAL.inv_cdf(power)) * deviation / difference) ** 2)


def check_rates(only_one: float, only_other: float) -> None:
    """Raise ValueError if two numbers cannot be the probabilities of two events that exclude each other."""
    if not (only_one >= 0 and only_other >= 0 and only_one + only_other <= 1):
        raise ValueError(f"the probabilities must not be negative and sum to at most 1, got {only_one}, {only_other}")


def check_count(count: int) -> None:
    """Raise ValueError if there are no examples."""
    if count < 1:
        raise ValueError(f"at least one example is needed, got {count}")


def check_level(level: float) -> None:
    """Raise ValueError if a level does not lie between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")


def check_power(power: float) -> None:
    """Raise ValueError if a power does not lie between 0 and 1."""
    if not 0 < power < 1:
        raise ValueError(f"power must lie between 0 and 1, got {power}")

"""Coefficients of agreement equal scikit-learn's, their definitions written out over pairs, and published examples."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from plm_core.evaluation.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha

RATINGS = st.integers(2, 5).flatmap(
    lambda items: st.lists(
        st.lists(st.sampled_from([None, 1, 2, 3, 5]), min_size=items, max_size=items), min_size=2, max_size=5
    )
)
# Krippendorff (2011), sections C and D: four observers, twelve units, ratings missing
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30),
    st.sampled_from([None, "linear", "quadratic"]),
)
def test_cohens_kappa_is_that_of_scikit_learn(pairs, weights) -> None:
    one, other = map(list, zip(*pairs, strict=True))
    assume(len({*one, *other}) > 1)
    found = cohen_kappa(one, other, weights=weights)
    assert found == pytest.approx(cohen_kappa_score(one, other, weights=weights), abs=1e-12)


def alpha_by_pairs(ratings, scale) -> float:
    """Krippendorff's definition over pairs of ratings: those of the same item against those of all items."""
    items = [[each for each in item if each is not None] for item in zip(*ratings, strict=True)]
    items = [item for item in items if len(item) > 1]
    everything = [each for item in items for each in item]
    n = len(everything)

    def cost(a, b) -> float:
        if scale == "nominal":
            return a != b
        if scale == "interval":
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        between = sum(low <= each <= high for each in everything)
        return (between - (everything.count(a) + everything.count(b)) / 2) ** 2

    observed = sum(sum(cost(a, b) for a, b in permutations(item, 2)) / (len(item) - 1) for item in items) / n
    return 1 - observed / (sum(cost(a, b) for a, b in permutations(everything, 2)) / (n * (n - 1)))


@settings(deadline=None)
@given(RATINGS, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_its_definition_over_pairs(ratings, scale) -> None:
    pairable = [[each for each in item if each is not None] for item in zip(*ratings, strict=True)]
    assume(len({each for item in pairable if len(item) > 1 for each in item}) > 1)
    expected = alpha_by_pairs(ratings, scale)
    assert krippendorff_alpha(ratings, scale=scale) == pytest.approx(expected, abs=1e-9)
    with_nan = [[float("nan") if each is None else float(each) for each in row] for row in ratings]
    assert krippendorff_alpha(with_nan, scale=scale) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_published_example(scale, alpha) -> None:
    assert krippendorff_alpha(PUBLISHED, scale=scale) == pytest.approx(alpha, abs=5e-4)


def test_categories_may_be_words() -> None:
    words = [[None if each is None else "abcde"[each - 1] for each in row] for row in PUBLISHED]
    assert krippendorff_alpha(words) == pytest.approx(krippendorff_alpha(PUBLISHED))


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 4), min_size=2, max_size=12))
def test_fleiss_kappa_is_agreement_of_pairs_beyond_chance(items) -> None:
    """Counted here pair by pair."""
    assume(len({each for item in items for each in item}) > 1)
    pairs = [(a, b) for item in items for i, a in enumerate(item) for j, b in enumerate(item) if i != j]
    observed = np.mean([a == b for a, b in pairs])
    everything = [each for item in items for each in item]
    chance = sum((everything.count(each) / len(everything)) ** 2 for each in range(3))
    counts = [[item.count(each) for each in range(3)] for item in items]
    assert fleiss_kappa(counts) == pytest.approx((observed - chance) / (1 - chance), abs=1e-12)


def test_full_agreement_is_one_and_chance_is_near_zero() -> None:
    """1,000 items: the standard error of chance agreement is about 0.03."""
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, 3, size=(2, 1000)).tolist()
    assert cohen_kappa(one, one) == krippendorff_alpha([one, one], scale="ordinal") == 1
    assert abs(cohen_kappa(one, other)) < 0.15
    assert abs(krippendorff_alpha([one, other])) < 0.15
    counts = [[int(a == each) + int(b == each) for each in range(3)] for a, b in zip(one, other, strict=True)]
    assert abs(fleiss_kappa(counts)) < 0.15


def test_accuracy_can_be_high_where_agreement_is_that_of_chance() -> None:
    one, other = ["no"] * 95 + ["yes"] * 5, ["yes"] * 5 + ["no"] * 95
    assert cohen_kappa(one, other) < 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cohen_kappa([1, 1], [1, 1]), "undefined"),
        (lambda: cohen_kappa([1, 2], [1, 2], weights="cubic"), "quadratic"),
        (lambda: fleiss_kappa([[2, 0], [3, 0]]), "same number of ratings"),
        (lambda: fleiss_kappa([[1, 0], [0, 1]]), "at least 2"),
        (lambda: fleiss_kappa([]), "counts"),
        (lambda: krippendorff_alpha([[1, 2], [1]]), "for each item"),
        (lambda: krippendorff_alpha([[1, None], [None, 2]]), "no item has two"),
        (lambda: krippendorff_alpha([[1, 1], [1, 1]]), "undefined"),
        (lambda: krippendorff_alpha([[1, 2], [1, 2]], scale="ratio"), "nominal, ordinal or interval"),
    ],
)
def test_what_is_not_defined_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()

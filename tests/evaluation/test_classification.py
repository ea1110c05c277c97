"""Scores of classifiers equal scikit-learn's on random predictions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from plm_core.evaluation.classification import Scores, average_scores, confusion

LABELS = ["a", "b", "c", "d"]
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40)


@pytest.mark.filterwarnings("ignore:A single label")
@settings(deadline=None)
@given(PAIRS, st.sampled_from([None, ["d", "b", "a", "c"]]))
def test_counts_and_scores_of_each_class_are_those_of_scikit_learn(pairs, labels) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    matrix = confusion(true, predicted, labels=labels)
    np.testing.assert_array_equal(matrix.counts_CC, confusion_matrix(true, predicted, labels=labels))
    assert matrix.accuracy == accuracy_score(true, predicted)
    expected = precision_recall_fscore_support(true, predicted, labels=labels, average=None, zero_division=0)
    found = [(each.precision, each.recall, each.f1, each.support) for each in matrix.per_class().values()]
    np.testing.assert_allclose(np.array(found).T, np.array(expected), atol=1e-12)


@settings(deadline=None)
@given(PAIRS, st.sampled_from(["micro", "macro", "weighted"]), st.sampled_from([None, ["a", "c"], ["b"]]))
def test_averages_are_those_of_scikit_learn(pairs, average, chosen) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    matrix = confusion(true, predicted, labels=LABELS)
    found = matrix.average(average, labels=chosen)
    expected = precision_recall_fscore_support(
        true, predicted, labels=chosen or LABELS, average=average, zero_division=0
    )
    assert (found.precision, found.recall, found.f1) == pytest.approx(expected[:3], abs=1e-12)


@given(PAIRS)
def test_micro_scores_over_all_classes_are_the_accuracy(pairs) -> None:
    matrix = confusion(*map(list, zip(*pairs, strict=True)))
    scores = matrix.average("micro")
    assert scores.precision == scores.recall == scores.f1 == matrix.accuracy


def test_the_majority_baseline_has_its_accuracy_and_no_macro_recall() -> None:
    true = ["healthy"] * 95 + ["ill"] * 5
    matrix = confusion(true, ["healthy"] * 100)
    assert matrix.accuracy == matrix.majority == 0.95
    assert matrix.average("macro").recall == 0.5
    assert matrix.per_class()["ill"] == Scores(0.0, 0.0, 0.0, 5)


def test_integer_classes_are_sorted_as_numbers() -> None:
    assert confusion([10, 9], [9, 9]).labels == (9, 10)


def test_arrays_and_tensors_count_as_lists_do() -> None:
    plain = confusion([0, 1, 1], [1, 1, 0])
    for kind in (np.array, torch.tensor):
        found = confusion(kind([0, 1, 1]), kind([1, 1, 0]))
        assert found.labels == plain.labels
        np.testing.assert_array_equal(found.counts_CC, plain.counts_CC)


@pytest.mark.parametrize(
    ("true", "predicted", "labels", "message"),
    [
        ([], [], None, "no examples"),
        (["a"], ["a", "b"], None, "1 true classes and 2"),
        (["a"], ["b"], ["a"], "'b' is not among"),
        (["a"], ["a"], ["a", "a"], "twice"),
    ],
)
def test_what_cannot_be_counted_is_refused(true, predicted, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        confusion(true, predicted, labels=labels)


def test_unknown_averages_and_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="micro, macro or weighted"):
        average_scores([(1, 1, 1)], "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not among the classes"):
        confusion(["a"], ["a"]).average("micro", labels=["z"])

"""Answers are compared as the evaluation of SQuAD compares them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.evaluation.answers import answer_scores, best_threshold, exact_match, normalise, token_f1
from plm_core.evaluation.classification import Scores

ANSWERS = st.lists(st.sampled_from(["the", "A", "red", "Red!", "house", "an", "1,000", "..."]), max_size=6).map(
    " ".join
)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [("The Cat", "cat"), ("U.S.A.", "usa"), ("an  apple a\tday", "apple day"), ("theatre", "theatre"), ("the!", "")],
)
def test_case_articles_and_punctuation_do_not_count(raw, normal) -> None:
    assert normalise(raw) == normal


@given(ANSWERS, ANSWERS)
def test_f1_is_that_of_a_largest_matching_of_words(one, other) -> None:
    """The words in common are counted here by crossing them off one by one."""
    left, right = normalise(one).split(), normalise(other).split()
    rest, matched = list(right), 0
    for word in left:
        if word in rest:
            rest.remove(word)
            matched += 1
    expected = Scores.from_counts(matched, len(left), len(right)).f1 if left and right else float(left == right)
    assert token_f1(one, other) == pytest.approx(expected)


@given(ANSWERS, ANSWERS)
def test_f1_is_symmetric_and_at_least_the_exact_match(one, other) -> None:
    assert token_f1(one, other) == token_f1(other, one)
    assert exact_match(one, other) <= token_f1(one, other)


def test_the_best_of_several_answers_counts_and_no_answer_can_be_right() -> None:
    scores = answer_scores(["red house", "", "red"], [["house", "a red house"], [], [""]])
    assert scores.exact == scores.f1 == pytest.approx(2 / 3)
    assert scores.count == 3


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=1, max_size=8))
def test_no_threshold_is_better_than_the_best(questions) -> None:
    no_answer, scores, answerable = zip(*questions, strict=True)

    def mean(threshold: float) -> float:
        values = [
            score if value <= threshold else float(not known)
            for value, score, known in zip(no_answer, scores, answerable, strict=True)
        ]
        return sum(values) / len(values)

    threshold, best = best_threshold(no_answer, scores, answerable)
    assert mean(threshold) == pytest.approx(best)
    assert best == pytest.approx(max(map(mean, itertools.chain([float("-inf")], no_answer))))


def test_lists_must_fit() -> None:
    with pytest.raises(ValueError, match="1 answers to 2 questions"):
        answer_scores(["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="no questions"):
        answer_scores([], [])
    with pytest.raises(ValueError, match="one value"):
        best_threshold([0.0], [], [True])

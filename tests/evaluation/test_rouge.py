"""ROUGE equals rouge-score's on random texts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from plm_core.evaluation.rouge import best_of, common_subsequence, rouge_l, rouge_n, tokens

SCORER = RougeScorer(["rouge1", "rouge2", "rouge3", "rougeL"])
TEXTS = st.lists(st.sampled_from(["the", "The", "cat", "cat's", "café", "!", "x2", "-", "猫"]), max_size=14).map(
    " ".join
)


def triple(scores):
    return scores.precision, scores.recall, scores.f1


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_scores_are_those_of_rouge_score(predicted, reference) -> None:
    expected = SCORER.score(reference, predicted)
    one, other = tokens(predicted), tokens(reference)
    for n in (1, 2, 3):
        assert triple(rouge_n(one, other, n)) == pytest.approx(tuple(expected[f"rouge{n}"]), abs=1e-12)
    assert triple(rouge_l(one, other)) == pytest.approx(tuple(expected["rougeL"]), abs=1e-12)


@settings(deadline=None)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=4))
def test_of_several_references_the_best_counts(predicted, references) -> None:
    expected = SCORER.score_multi(references, predicted)["rouge2"]
    found = best_of([rouge_n(tokens(predicted), tokens(each), 2) for each in references])
    assert found.f1 == pytest.approx(expected.fmeasure, abs=1e-12)


@given(st.text(max_size=30))
def test_any_text_has_the_tokens_of_rouge_score(text) -> None:
    assert tokens(text) == SCORER._tokenizer.tokenize(text)


@given(TEXTS.map(str.split), TEXTS.map(str.split))
def test_common_subsequences_do_not_depend_on_the_order_of_the_two(one, other) -> None:
    assert common_subsequence(one, other) == common_subsequence(other, one) <= min(len(one), len(other))
    assert common_subsequence(one, [*other, *one]) == len(one)


def test_order_counts_for_rouge_l_and_not_for_rouge_1() -> None:
    """The example of Lin (2004), section 3.1: "police killed the gunman"."""
    reference = ["police", "killed", "the", "gunman"]
    kept, turned = ["police", "kill", "the", "gunman"], ["the", "gunman", "kill", "police"]
    assert rouge_n(kept, reference, 2).f1 == rouge_n(turned, reference, 2).f1
    assert (rouge_l(kept, reference).f1, rouge_l(turned, reference).f1) == (0.75, 0.5)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rouge_n(["a"], ["a"], 0)
    with pytest.raises(ValueError, match="no reference"):
        best_of([])

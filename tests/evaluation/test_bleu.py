"""BLEU and chrF equal sacrebleu's on random texts of words separated by spaces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from plm_core.evaluation.bleu import bleu, chrf, ngrams

WORDS = ["a", "b", "the", "cat", "cats", "猫", "."]
SENTENCE = st.lists(st.sampled_from(WORDS), max_size=12)


@st.composite
def corpora(draw):
    """Hypotheses, and for each the same number of references."""
    count, references = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    hypotheses = draw(st.lists(SENTENCE, min_size=count, max_size=count))
    each = st.lists(SENTENCE.filter(bool), min_size=references, max_size=references)
    return hypotheses, draw(st.lists(each, min_size=count, max_size=count))


def as_text(hypotheses, references):
    """In the order that sacrebleu wants: the references of all examples, one set after the other."""
    texts = [[" ".join(tokens) for tokens in accepted] for accepted in references]
    return [" ".join(tokens) for tokens in hypotheses], [list(each) for each in zip(*texts, strict=True)]


@settings(deadline=None)
@given(corpora(), st.sampled_from(["exp", "none"]), st.booleans(), st.integers(1, 5))
def test_bleu_is_that_of_sacrebleu(corpus, smoothing, effective_order, max_order) -> None:
    hypotheses, references = corpus
    metric = BLEU(
        tokenize="none",
        force=True,
        smooth_method=smoothing,
        effective_order=effective_order,
        max_ngram_order=max_order,
    )
    expected = metric.corpus_score(*as_text(hypotheses, references))
    found = bleu(hypotheses, references, smoothing=smoothing, effective_order=effective_order, max_order=max_order)
    assert found.score == pytest.approx(expected.score, abs=1e-9)
    assert found.precisions == pytest.approx(expected.precisions, abs=1e-9)
    assert found.brevity_penalty == pytest.approx(expected.bp)
    assert (list(found.matches), list(found.totals)) == (expected.counts, expected.totals)
    assert (found.hypothesis_length, found.reference_length) == (expected.sys_len, expected.ref_len)


@settings(deadline=None)
@given(corpora(), st.integers(1, 6), st.sampled_from([1, 2, 3]))
def test_chrf_is_that_of_sacrebleu(corpus, max_order, beta) -> None:
    hypotheses, references = as_text(*corpus)
    expected = CHRF(char_order=max_order, beta=beta).corpus_score(hypotheses, references).score
    found = chrf(hypotheses, list(zip(*references, strict=True)), max_order=max_order, beta=beta)
    assert found == pytest.approx(expected, abs=1e-9)


@given(SENTENCE.filter(lambda tokens: len(tokens) >= 4))
def test_a_copy_of_the_reference_scores_100(tokens) -> None:
    assert bleu([tokens], [[tokens]]).score == pytest.approx(100)
    assert chrf([" ".join(tokens)], [[" ".join(tokens)]]) == pytest.approx(100)


def test_a_word_repeated_scores_only_as_often_as_a_reference_has_it() -> None:
    """The example of Papineni et al. (2002), section 2.1: two of seven."""
    references = [["the", "cat", "is", "on", "the", "mat"], ["there", "is", "a", "cat", "on", "the", "mat"]]
    found = bleu([["the"] * 7], [references], max_order=1)
    assert (found.matches, found.totals) == ((2,), (7,))


def test_the_score_of_a_corpus_is_no_mean() -> None:
    pairs = [("a b c d e", "a b c d e"), ("a b x c d", "a b c d e")]
    each = [bleu([one.split()], [[other.split()]]).score for one, other in pairs]
    corpus = bleu([one.split() for one, _ in pairs], [[other.split()] for _, other in pairs]).score
    assert abs(corpus - sum(each) / 2) > 1


def test_ngrams_longer_than_the_text_are_none() -> None:
    assert not ngrams(["a", "b"], 3)


@pytest.mark.parametrize(
    ("hypotheses", "references", "settings", "message"),
    [
        ([], [], {}, "no examples"),
        ([["a"]], [], {}, "1 hypotheses"),
        ([["a"]], [[]], {}, "example 0 has no reference"),
        ([["a"]], [[["a"]]], {"max_order": 0}, "max_order"),
        ([["a"]], [[["a"]]], {"smoothing": "floor"}, "exp or none"),
        (["a b"], ["a b"], {}, "must be a list"),
    ],
)
def test_what_cannot_be_scored_is_refused(hypotheses, references, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        bleu(hypotheses, references, **settings)


def test_texts_in_place_of_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="must be a list"):
        chrf("abc", ["a", "b", "c"])
    with pytest.raises(ValueError, match="beta"):
        chrf(["a"], [["a"]], beta=0)

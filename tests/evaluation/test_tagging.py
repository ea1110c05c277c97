"""Entities and their scores equal seqeval's, on random tags that need not make sense."""

import warnings
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from seqeval.scheme import IOB2

from plm_core.evaluation.tagging import Entity, entities, entity_scores, impossible_tags

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SEQUENCES = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=12), min_size=1, max_size=5
)


@given(st.lists(st.sampled_from([*TAGS, "B-PER-SON", "I-PER-SON"]), max_size=15))
def test_entities_are_those_of_seqeval(tags) -> None:
    expected = [Entity(start, end + 1, kind) for kind, start, end in get_entities(tags)]
    assert entities(tags) == expected


@settings(deadline=None)
@given(SEQUENCES, st.sampled_from(["micro", "macro", "weighted"]), st.booleans())
def test_averages_are_those_of_seqeval(sequences, average, strict) -> None:
    true = [[one for one, _ in pairs] for pairs in sequences]
    predicted = [[other for _, other in pairs] for pairs in sequences]
    found = entity_scores(true, predicted, strict=strict)
    if not found.counts:  # no entity on either side; seqeval fails or warns
        assert found.average(average).f1 == 0
        return
    theirs = partial(strict_scores, scheme=IOB2) if strict else precision_recall_fscore_support
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs(true, predicted, average=average, zero_division=0)
    scores = found.average(average)
    assert (scores.precision, scores.recall, scores.f1, scores.support) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(SEQUENCES)
def test_scores_of_each_type_are_those_of_seqeval(sequences) -> None:
    true = [[one for one, _ in pairs] for pairs in sequences]
    predicted = [[other for _, other in pairs] for pairs in sequences]
    found = entity_scores(true, predicted).per_type()
    if not found:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)
    for place, scores in enumerate(found.values()):
        theirs = [each[place] for each in expected]
        assert (scores.precision, scores.recall, scores.f1, scores.support) == pytest.approx(theirs, abs=1e-12)


@given(st.lists(st.sampled_from(TAGS), max_size=15))
def test_sensible_tags_are_read_alike_strictly_or_not(tags) -> None:
    assert bool(impossible_tags(tags)) == (entities(tags, strict=True) != entities(tags))


def test_places_of_tags_that_continue_nothing() -> None:
    assert impossible_tags(["I-PER", "I-PER", "B-LOC", "I-PER", "O", "I-LOC"]) == [0, 3, 5]


@pytest.mark.parametrize("tag", ["B", "I-", "S-PER", "person", ""])
def test_other_tags_are_refused(tag) -> None:
    with pytest.raises(ValueError, match="no BIO tag"):
        entities([tag])


def test_sequences_must_fit() -> None:
    with pytest.raises(ValueError, match="sequence 1 has 1 true tags and 2"):
        entity_scores([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(ValueError, match="1 sequences"):
        entity_scores([["O"]], [])

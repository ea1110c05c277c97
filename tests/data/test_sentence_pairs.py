"""Pairs are a pure function, balanced, and no negative comes from its own document."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.sentence_pairs import FOLLOWS, FOLLOWS_NOT, SentencePairs, sentence_runs, trim


def corpus(documents=40, sentences=9):
    """Tokens that tell their origin: document * 1000 + sentence * 10 + position."""
    return [
        [[d * 1000 + s * 10 + t for t in range(3 + (d + s) % 4)] for s in range(sentences + d % 3)]
        for d in range(documents)
    ]


def origin(token):
    return token // 1000, token % 1000 // 10


def test_positives_follow_and_negatives_come_from_another_document():
    pairs = SentencePairs(corpus(), max_tokens=30)
    seen = set()
    for epoch in range(20):
        for example in range(len(pairs)):
            pair = pairs.pair(example, epoch=epoch)
            (document, last), (other, first) = origin(pair.first[-1]), origin(pair.second[0])
            assert pair.documents == (document, other)
            if pair.label == FOLLOWS:
                assert (other, first) == (document, last + 1)
            else:
                assert other != document
            assert len({origin(token)[0] for token in pair.second}) == 1
            seen.add((pair.label, document, last, other, first))
    assert len(seen) > 0.5 * 20 * len(pairs), "epochs draw new splits and new negatives"


@pytest.mark.parametrize("task", ["next_sentence", "sentence_order"])
def test_labels_are_balanced_in_every_epoch(task):
    pairs = SentencePairs(corpus(documents=201), max_tokens=20, task=task)
    for epoch in range(5):
        labels = [pairs.pair(example, epoch=epoch).label for example in range(len(pairs))]
        assert abs(sum(labels) - len(labels) / 2) <= 0.5, "exactly half, but for an odd one"


def test_sentence_order_swaps_neighbours():
    pairs = SentencePairs(corpus(), max_tokens=30, task="sentence_order")
    for example in range(len(pairs)):
        pair = pairs.pair(example)
        (document, last), (other, first) = origin(pair.first[-1]), origin(pair.second[0])
        assert document == other
        assert (first > last) == (pair.label == FOLLOWS)


def test_length_gives_no_hint():
    """The second segments of both labels are equally long, in sentences and in tokens, so counting helps nobody."""
    pairs = SentencePairs(corpus(documents=300), max_tokens=40)
    found = {FOLLOWS: [], FOLLOWS_NOT: []}
    for example in range(len(pairs)):
        pair = pairs.pair(example)
        found[pair.label].append((len({origin(token) for token in pair.second}), len(pair.second)))
    (sentences, tokens), (other_sentences, other_tokens) = (
        [sum(column) / len(column) for column in zip(*values, strict=True)] for values in found.values()
    )
    assert abs(sentences - other_sentences) < 0.25
    assert abs(tokens - other_tokens) < 1


@settings(max_examples=50, deadline=None)
@given(limit=st.integers(12, 60), seed=st.integers(0, 99))
def test_no_segment_breaks_off_in_mid_sentence(limit, seed):
    """Cut sentences would give negatives away: only a sentence that fits nowhere by itself may be cut."""
    documents = corpus()
    pairs = SentencePairs(documents, max_tokens=limit, seed=seed)
    for example in range(0, len(pairs), 7):
        pair = pairs.pair(example)
        for segment in (pair.first, pair.second):
            document, sentence = origin(segment[-1])
            whole = documents[document][sentence]
            assert segment[-1] == whole[-1] or len(pair.first) + len(whole) > limit


def test_of_sentences_that_do_not_fit_whole_ones_are_left_out():
    long = [[s * 10 + t for t in range(9)] for s in range(3)]
    short = [[1000 + s * 10 + t for t in range(5)] for s in range(4)]
    pairs = SentencePairs([long, short], max_tokens=20)
    lengths = set()
    for epoch in range(40):
        for example in range(len(pairs)):
            pair = pairs.pair(example, epoch=epoch)
            if pair.label == FOLLOWS_NOT and pair.documents == (1, 0):  # after the short sentences, long ones
                lengths.add(len(pair.second))
                assert len(pair.first) + len(pair.second) <= 20
    assert 9 in lengths, "of two or three long sentences one stays"
    assert lengths <= {5, 9}, "and is cut only if it must be"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 99), example=st.integers(0, 79))
def test_a_pair_is_a_pure_function_of_seed_epoch_and_example(seed, epoch, example):
    first, second = SentencePairs(corpus(), max_tokens=30, seed=seed), SentencePairs(corpus(), max_tokens=30, seed=seed)
    second.pair(3, epoch=epoch)
    second.pair(example, epoch=epoch + 1)
    assert first.pair(example, epoch=epoch) == second.pair(example, epoch=epoch)


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30), limit=st.integers(2, 40))
def test_runs_tile_the_document_and_fit(lengths, limit):
    runs = sentence_runs(lengths, limit)
    assert [start for start, _ in runs] == [0, *(end for _, end in runs[:-1])]
    assert runs[-1][1] == len(lengths)
    assert all(sum(lengths[start:end]) <= limit or end - start == 1 for start, end in runs)


@given(first=st.integers(1, 50), second=st.integers(1, 50), limit=st.integers(2, 60))
def test_trim_fits_and_shortens_the_longer(first, second, limit):
    a, b = trim(list(range(first)), list(range(second)), limit)
    assert len(a) + len(b) == min(first + second, limit)
    assert a == list(range(len(a)))
    assert b == list(range(len(b)))
    assert min(len(a), len(b)) >= min(first, second, limit // 2)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([[[1], [2], [3]]], "only one document"),
        ([[[1, 2]], [[3, 4]]], "blank lines lost"),
        ([[[1], [2]], []], "document 1 is empty"),
        ([[[1], []], [[2], [3]]], "document 0 is empty or has an empty sentence"),
    ],
)
def test_corpora_without_enough_documents_or_sentences_are_refused(documents, message):
    with pytest.raises(ValueError, match=message):
        SentencePairs(documents, max_tokens=10)

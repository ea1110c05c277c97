"""The unigram model against brute force over all ways to cut a word, and against the ``tokenizers`` library."""

import math
from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from plm_core.data import bpe, unigram
from plm_core.data.corpora import python_documentation

PIECES = {"a": 0.3, "b": 0.2, "c": 0.1, "ab": 0.15, "bc": 0.15, "abc": 0.06, "ca": 0.04}
LOG = {piece: math.log(p) for piece, p in PIECES.items()}
COUNTS = Counter(word for page in python_documentation()[:8] for word in bpe.split_words(page.text))
words = st.text("abc", min_size=1, max_size=8)


def all_cuts(word):
    for number in range(len(word)):
        for cuts in combinations(range(1, len(word)), number):
            borders = [0, *cuts, len(word)]
            pieces = [word[a:b] for a, b in pairwise(borders)]
            if all(piece in LOG for piece in pieces):
                yield pieces, sum(LOG[piece] for piece in pieces)


@given(words)
@settings(max_examples=200, deadline=None)
def test_the_best_split_is_the_most_probable_of_all_ways(word):
    found = unigram.best_split(word, LOG)
    assert "".join(found) == word
    assert sum(LOG[piece] for piece in found) == pytest.approx(max(p for _, p in all_cuts(word)))


@given(words)
@settings(max_examples=200, deadline=None)
def test_expected_counts_are_averages_over_all_ways(word):
    counts, total = unigram.expected_counts(word, LOG)
    ways = [(Counter(pieces), math.exp(p)) for pieces, p in all_cuts(word)]
    assert math.exp(total) == pytest.approx(sum(p for _, p in ways))
    for piece, expected in counts.items():
        assert expected == pytest.approx(sum(uses[piece] * p for uses, p in ways) / math.exp(total))
    assert sum(len(piece) * expected for piece, expected in counts.items()) == pytest.approx(len(word))


def test_em_never_lowers_the_likelihood():
    model = unigram.candidate_pieces(COUNTS, 2000)
    before = unigram.log_likelihood(COUNTS, model)
    for _ in range(4):
        kept = unigram.reestimate(COUNTS, model)
        after = unigram.log_likelihood(COUNTS, kept)
        assert after > before or len(kept) < len(model)
        model, before = kept, after
    assert sum(map(math.exp, model.values())) == pytest.approx(1)


def test_training_gives_the_size_and_keeps_every_character():
    model = unigram.train_pieces(COUNTS, 300)
    assert len(model) == 300
    assert {letter for word in COUNTS for letter in word} <= set(model)
    smaller = unigram.train_pieces(COUNTS, 10)
    assert max(map(len, smaller)) == 1
    assert unigram.log_likelihood(COUNTS, model) > unigram.log_likelihood(COUNTS, smaller)


def test_pruning_by_need_beats_keeping_the_most_frequent():
    model = unigram.reestimate(COUNTS, unigram.candidate_pieces(COUNTS, 2000))
    by_need = unigram.prune(COUNTS, model, 400)
    frequent = sorted(model, key=lambda piece: (len(piece) > 1, -model[piece]))[:400]
    weights = {piece: math.exp(model[piece]) for piece in frequent}
    by_frequency = {piece: math.log(p / sum(weights.values())) for piece, p in weights.items()}
    assert unigram.log_likelihood(COUNTS, by_need) > unigram.log_likelihood(COUNTS, by_frequency)


def test_the_library_cuts_the_same_way():
    model = unigram.train_pieces(COUNTS, 400)
    backend = Tokenizer(models.Unigram(list(model.items()), unk_id=None))
    for word in COUNTS:
        assert unigram.best_split(word, model) == backend.encode(word).tokens


def test_a_character_without_a_piece_stands_alone():
    assert unigram.best_split("ab猫ab", LOG) == ["ab", "猫", "ab"]
    with pytest.raises(ValueError, match="cannot spell"):
        unigram.expected_counts("猫", LOG)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="empty"):
        unigram.train_pieces({}, 10)
    with pytest.raises(ValueError, match="between 0 and 1"):
        unigram.train_pieces({"a": 1}, 10, keep=1.0)

"""The BPE and the WordPiece that the book writes out give the ids of the ``tokenizers`` library, on any text.

The hypothesis tests look at 10,000 random strings each: 250 lists of 40.
"""

import json
import math
import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers

from plm_core.data import bpe, wordpiece
from plm_core.data.corpora import python_documentation
from plm_core.data.tokenizer_training import train_bpe, train_wordpiece
from plm_core.data.tokenizers import SPECIAL_TOKENS

TEXTS = [document.text for document in python_documentation()[:25]] + ["小猫坐在窗边，看着外面的雨。🙂 naïve café"] * 3
BPE = train_bpe(TEXTS, vocab_size=1000, normalization=None)
MODEL = json.loads(BPE.backend.to_str())["model"]
MERGES = [tuple(merge) for merge in MODEL["merges"]]
RANKS = {pair: rank for rank, pair in enumerate(MERGES)}
WORDPIECE = train_wordpiece(TEXTS, vocab_size=1000, normalization=None)
PIECES = WORDPIECE.backend.get_vocab()


def _newer_than_the_librarys_tables():
    """The library's Unicode tables are older than Python's: some punctuation marks are letters to it."""
    splitter, normalizer = WORDPIECE.backend.pre_tokenizer, WORDPIECE.backend.normalizer
    found = []
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character)[0] in "PCSM" and unicodedata.category(character) not in ("Cn", "Cs"):
            text = f"a{character}b"
            if [w for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))] != wordpiece.split_words(text):
                found.append(character)
    return found


NEWER = _newer_than_the_librarys_tables()
SHORT = "the quick brown fox's 'LL don't 小猫🙂é\u0301\u200d  \n\t\r#12٣²—_"
one_string = st.one_of(
    st.text(SHORT, max_size=80),
    st.text(st.characters(exclude_categories=("Cs", "Cn"), exclude_characters="".join(NEWER)), max_size=40),
    st.sampled_from(
        ["", " ", "a" * 101, "##", "naïve " * 30, "👩‍👩‍👧‍👦", "e\u0301" * 20, "\x00\x1c\ufffd", "İstanbul ΑΣ ß"]
    ),
)
forty_strings = st.lists(one_string, min_size=40, max_size=40)


def test_the_tables_differ_in_few_characters_and_all_of_them_are_new():
    assert len(NEWER) < 200
    old = [character for character in NEWER if unicodedata.ucd_3_2_0.category(character) != "Cn"]
    assert old in ([], ["\u166d"])  # one Canadian sign, which became a symbol later


@given(forty_strings)
@settings(max_examples=250, deadline=None)
def test_bpe_gives_the_same_ids(texts):
    for text, expected in zip(texts, BPE.encode_all(texts), strict=True):
        tokens = list(bpe.encode_tokens(text, RANKS))
        assert [MODEL["vocab"][token] for token in tokens] == expected
        assert bpe.decode(tokens) == text


@given(forty_strings)
@settings(max_examples=250, deadline=None)
def test_wordpiece_gives_the_same_ids(texts):
    for text, expected in zip(texts, WORDPIECE.encode_all(texts), strict=True):
        assert wordpiece.encode(text, PIECES) == expected


@pytest.mark.parametrize("text", ["x" * 20_000, "ab " * 7_000, "小" * 5_000, "é🙂 " * 3_000])
def test_very_long_texts(text):
    assert wordpiece.encode(text, PIECES) == WORDPIECE.encode(text)
    if len(set(text)) > 1:  # one word of 20,000 letters would take plain Python minutes
        assert bpe.encode(text, MODEL["vocab"], MERGES) == BPE.encode(text)


def test_bpe_learns_the_same_merges():
    counts = Counter(word for text in TEXTS for word in bpe.split_words(text))
    assert bpe.train_merges(counts, 80) == MERGES[:80]


def test_bpe_stops_at_rare_pairs():
    assert bpe.train_merges({"ab": 2, "cd": 1}, 10) == [("a", "b")]
    assert bpe.train_merges({"abab": 3}, 10) == [("a", "b"), ("ab", "ab")]
    assert bpe.train_merges({}, 10) == []


def test_joining_a_pair_goes_from_left_to_right():
    assert bpe.join_pair(list("aaa"), ("a", "a")) == ["aa", "a"]
    assert wordpiece.join_pair(["a", "##a", "##a"], ("##a", "##a")) == ["a", "##aa"]


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_splitting_for_bpe_loses_nothing(text):
    assert "".join(bpe.split_words(text)) == text
    assert all(bpe.split_words(text))


def test_the_256_letters_are_those_of_the_library():
    assert sorted(bpe.LETTERS.values()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert bpe.to_letters(" é\n") == ["Ġ", "Ã", "©", "Ċ"]


def log_likelihood(words, counts):
    """Of a text under its own unigram model of pieces, from the definition."""
    single = wordpiece.count_pieces(words, counts)[0]
    return sum(n * math.log(n / single.total()) for n in single.values())


@given(st.dictionaries(st.text("ab", min_size=1, max_size=5), st.integers(1, 9), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_the_gain_is_the_difference_of_two_log_likelihoods(counts):
    words = {word: wordpiece.to_pieces(word) for word in counts}
    single, double = wordpiece.count_pieces(words, counts)
    for pair in double:
        joined = {word: wordpiece.join_pair(pieces, pair) for word, pieces in words.items()}
        joins = wordpiece.count_pieces(joined, counts)[0][wordpiece.glue_pieces(pair)]
        gain = wordpiece.likelihood_gain(
            joins, single[pair[0]], single[pair[1]], single.total(), same=pair[0] == pair[1]
        )
        assert gain == pytest.approx(log_likelihood(joined, counts) - log_likelihood(words, counts), abs=1e-9)


def test_count_gain_and_ratio_choose_different_pairs():
    counts = {"abc": 10, "xyz": 4, "ab": 10}
    # "ab" is the most frequent pair, but x, y and z never stand apart: chance would put them together least.
    assert wordpiece.train_pieces(counts, 1, score=wordpiece.association) == ["##yz"]
    assert wordpiece.train_pieces(counts, 1) == ["ab"]
    assert wordpiece.train_pieces({"th": 30, "ht": 10, "bj": 2}, 1) == ["th"]
    assert wordpiece.train_pieces({"th": 30, "to": 30, "oh": 30, "bj": 2}, 1, score=wordpiece.association) == ["bj"]


def test_the_library_trains_wordpiece_by_frequency():
    counts = {"abc": 10, "xyz": 4, "ab": 10}
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = [" ".join([word] * count) for word, count in counts.items()]
    trainer = trainers.WordPieceTrainer(vocab_size=18, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    backend.train_from_iterator(texts, trainer)
    assert "ab" in backend.get_vocab()
    assert "##yz" not in backend.get_vocab()


def test_longest_match_takes_the_longest_and_gives_up_on_the_whole_word():
    vocabulary = {"un", "##aff", "##able", "##a", "##ffable", "u"}
    assert wordpiece.longest_match("unaffable", vocabulary) == ["un", "##aff", "##able"]
    assert wordpiece.longest_match("unx", vocabulary) == ["[UNK]"]
    assert wordpiece.longest_match("u" * 101, {"u", "##u"}) == ["[UNK]"]
    assert wordpiece.longest_match("u" * 100, {"u", "##u"}) == ["u"] + ["##u"] * 99
    assert wordpiece.longest_match("", vocabulary) == []

"""Cutting text: pieces join to the text, their tokens to its tokens, and how the text was read changes nothing."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data import cutting
from plm_core.data.corpora import python_documentation
from plm_core.data.cutting import cut, without_long_runs
from plm_core.data.tokenizer_training import train_bpe, train_characters, train_wordpiece, train_words

TEXTS = [document.text for document in python_documentation()[:6]]
TOKENIZERS = {
    "characters": train_characters(TEXTS),
    "words": train_words(TEXTS),
    "bpe": train_bpe(TEXTS, vocab_size=400),
    "wordpiece": train_wordpiece(TEXTS, vocab_size=400),
}
spaced = st.text("ab. \n\n \t\r\u2028é\u0301中🙂", max_size=80)


@given(spaced, st.integers(2, 12), st.lists(st.integers(0, 80), max_size=5))
@settings(max_examples=300, deadline=None)
def test_pieces_join_to_the_text_and_do_not_depend_on_how_it_was_read(text, characters, places):
    borders = sorted({0, len(text), *(min(place, len(text)) for place in places)})
    blocks = [text[start:end] for start, end in pairwise(borders)]
    pieces = list(cut([text], characters=characters))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= characters for piece in pieces)
    assert list(cut(blocks, characters=characters)) == pieces


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.lists(st.text("ab.'\té🙂中 \n", max_size=12), max_size=12).map(" ".join))
@settings(max_examples=100, deadline=None)
def test_no_token_crosses_a_border_at_white_space(kind, text):
    tokenizer = TOKENIZERS[kind]
    pieces, start = [], 0
    for place in range(1, len(text)):
        if text[place] in " \n" and not text[place - 1].isspace():
            pieces.append(text[start:place])
            start = place
    pieces.append(text[start:])
    assert [token for piece in pieces for token in tokenizer.encode(piece)] == tokenizer.encode(text)


def test_line_ends_come_before_spaces_and_spaces_before_letters():
    assert next(cut(["aaa bb\ncc dd"], characters=10)) == "aaa bb"
    assert next(cut(["aaa bb cc dd"], characters=8)) == "aaa bb"
    assert next(cut(["a b" + "c" * 20], characters=10)) == "a b" + "c" * 7
    assert next(cut(["a \n  b" + "c" * 20], characters=6)) == "a \n  b", "white space is not cut in two"


@pytest.mark.parametrize("sign", ["e\u0301", "👩\u200d🔬", "\u1100\u1161", "👍🏽", "か\u3099"])
def test_what_people_see_as_one_character_is_not_cut(sign):
    for characters in range(6, 12):
        pieces = list(cut([sign * 40], characters=characters))
        assert all(piece == sign * (len(piece) // len(sign)) for piece in pieces)
        assert "".join(unicodedata.normalize("NFC", p) for p in pieces) == unicodedata.normalize("NFC", sign * 40)


def test_only_long_stretches_without_white_space_are_cut_before_training(monkeypatch):
    dna = "acgt" * 200
    prepared = list(without_long_runs(["two words", dna]))
    assert prepared[0] == "two words"
    assert "".join(prepared[1:]) == dna
    assert max(map(len, prepared)) <= cutting.MAX_RUN


@pytest.mark.parametrize("train", [train_bpe, train_wordpiece])
def test_training_on_text_without_spaces_takes_time_in_proportion_to_the_text(train):
    lengths = []

    class Counted(list):
        def __iter__(self):
            for text in without_long_runs(list.__iter__(self)):
                lengths.append(len(text))
                yield text

    train(Counted(["acgt" * 5_000]), vocab_size=300)
    assert sum(lengths) == 20_000
    assert max(lengths) <= cutting.MAX_RUN, "no word that the trainer sees grows with the text"

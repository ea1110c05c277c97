"""The experiments on units of text: nothing is lost, and what a unit cannot write is charged for."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_chapters.notebook import load_experiment
from plm_core.data.corpora import python_documentation

units = load_experiment("02_text_to_tensors")
chinese = load_experiment("02b_real_chinese")


@given(st.text(alphabet="ab.,_1\u00e9\u732b \n\t", max_size=30))
def test_words_apart_give_the_text_back(text: str) -> None:
    assert units.joined(units.words_apart(text)) == text
    assert units.joined(units.words_apart(text, units.GPT2)) == text
    assert "".join(units.words_attached(text)) == text


@pytest.fixture
def small_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"\u4f7f\u7528": 50, "\u7528": 5, "\u8bed\u53e5": 20}
    monkeypatch.setattr(chinese, "dictionary", lambda: words)


@pytest.mark.usefixtures("small_dictionary")
def test_chinese_words_apart_give_the_text_back() -> None:
    words_of = chinese.chinese_words_apart(frozenset("\u4f7f\u7528\u8bed\u53e5"))
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(rng.choices("\u4f7f\u7528\u8bed\u53e5ab1_,\u3002.  \n", k=rng.randrange(10)))
        assert chinese.joined(words_of(text)) == text


@pytest.mark.usefixtures("small_dictionary")
def test_a_space_is_expected_between_two_words_unless_both_are_chinese() -> None:
    words_of = chinese.chinese_words_apart(frozenset("\u4f7f\u7528\u8bed\u53e5"))
    assert words_of("\u4f7f\u7528 for \u8bed\u53e5") == ["\u4f7f\u7528", "for", "\u8bed\u53e5"]
    assert words_of("\u4f7f\u7528for") == ["\u4f7f\u7528", units.JOINT, "for"]
    assert words_of("\u4f7f\u7528\u8bed\u53e5, a") == ["\u4f7f\u7528", "\u8bed\u53e5", ",", chinese.EXTRA, "a"]
    assert words_of("\u4f7f\u7528 \u8bed\u53e5") == ["\u4f7f\u7528", chinese.EXTRA, "\u8bed\u53e5"]


def test_words_that_are_several_of_the_annotators_are_too_long() -> None:
    right = [["ab", "c", "de"]]
    assert chinese.too_long([["abc", "d", "e"]], right) == 1 / 3
    assert chinese.too_long(right, right) == 0
    assert chinese.too_long([["a", "bc", "de"]], right) == 0


def test_borders_of_gpt2_are_those_of_bpe() -> None:
    """Without their spaces, the words are the same, and white space is kept character by character."""
    for page in python_documentation()[:20]:
        apart = [
            word for word in units.words_apart(page.text, units.GPT2) if word != units.JOINT and not word.isspace()
        ]
        assert apart == [word.strip() for word in units.bpe.split_words(page.text) if word.strip()]


CUTS = {
    "words": units.bpe.split_words,
    "words, spaces apart": units.words_apart,
    "words, GPT-2 borders, spaces apart": lambda text: units.words_apart(text, units.GPT2),
    "words, plain borders": units.words_attached,
}


@pytest.mark.parametrize("name", CUTS)
def test_known_words_and_spelled_ones_make_the_text(name: str) -> None:
    """Ids and letters alone, without the text, give the text back, up to characters that are charged for."""
    pages = [page.text for page in python_documentation()]
    training, test = pages[:20], pages[20:24]
    unit = units.UNITS[name](training)
    words_of = CUTS[name]
    alphabet = units.alphabet_of(training)
    letters = dict(enumerate(sorted(alphabet | {units.UNSEEN}), start=1))
    known: dict[int, str] = {}
    for text in unit.read(training):
        known |= {number: word for number, word in zip(unit.encode(text), words_of(text), strict=True) if number}
    for text in unit.read(test):
        spelled = ["".join(letters[letter] for letter in word[:-1]) for word in unit.spell(text)]
        found = [known[number] if number else spelled.pop(0) for number in unit.encode(text)]
        assert not spelled
        assert (units.joined(found) if "apart" in name else "".join(found)) == text


def test_a_character_that_is_not_in_the_alphabet_costs_eight_bits_a_byte() -> None:
    unit = units.character_unit(["aabb c"])
    assert unit.read(["abc\u732b"]) == ["ab" + 2 * units.UNSEEN]
    assert unit.unseen_bits(["abc\u732b"]) == 8 + 24
    assert units.unit_of(units.train_characters(["ab"])).unseen_bits(["\u732b"]) == 0


def test_the_sweep_ends_where_a_higher_order_saves_less_than_a_thousandth() -> None:
    rng = random.Random(0)
    texts = [[rng.choice((0, 0, 1)) for _ in range(200)] for _ in range(3)]
    rows = units.sweep(2, [texts[:1], texts[1:2], texts[2:]])
    assert [order for order, *_ in rows] == units.ORDERS[: len(rows)]
    falls = [1 - after[1] / before[1] for before, after in pairwise(rows)]
    assert all(fall >= units.FLAT for fall in falls[:-1])
    assert falls[-1] < units.FLAT
    assert all(math.isfinite(bits) and bits > 0 for _, *both in rows for bits in both)


def test_xz_sees_no_other_test_text() -> None:
    training, page = ["rain drains " * 20], "".join(map(chr, random.Random(0).choices(range(97, 123), k=500)))
    assert units.compressed_bits(training, [page, page]) == 2 * units.compressed_bits(training, [page]) > 2 * 8 * 250

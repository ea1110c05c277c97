"""Marked texts: marks become punctuation whose tokens are known, and marks that are wrong are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.data.relations import parse_marked, relation_row
from plm_core.data.tokenizer_training import train_tokenizer_of_kind

TEXTS = ["@ Ann @ lives in # Rome # now", "# Bob # saw @ Lee @"]


@given(st.lists(st.sampled_from(["ann", "saw", "the", "cat"]), min_size=2, max_size=8), st.data())
def test_markers_stand_around_the_words_that_were_marked(words, data):
    first, second = data.draw(st.permutations(range(len(words))))[:2]
    numbers = {first: "1", second: "2"}
    text = " ".join(f"<e{numbers[n]}>{word}</e{numbers[n]}>" if n in numbers else word for n, word in enumerate(words))
    marked = parse_marked(text)
    for place, (number, sign) in enumerate(((first, "@"), (second, "#"))):
        opening, closing = marked.opening[place], marked.closing[place]
        assert marked.text[opening] == marked.text[closing] == sign
        assert marked.text[opening + 1 : closing] == f" {words[number]} "
    assert [word for word in marked.text.split() if word not in "@#"] == words
    assert "  " not in marked.text
    assert marked.with_marks() == text


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "words"])
def test_positions_are_those_of_the_markers(kind):
    tokenizer = train_tokenizer_of_kind(kind, TEXTS * 3, 300)
    marked = parse_marked("<e2>Bob</e2>saw <e1> Lee </e1>")
    assert marked.text == "# Bob # saw @ Lee @"
    for causal in (False, True):
        row, cut = relation_row(marked, tokenizer, label=2, max_length=40, causal=causal)
        assert not cut
        assert row["labels"] == 2
        found = [tokenizer.decode([row["input_ids"][place]]).strip() for place in row["marker_positions"]]
        assert found == ["@", "#"]
    opening, _ = relation_row(marked, tokenizer, max_length=40)
    closing, _ = relation_row(marked, tokenizer, max_length=40, causal=True)
    assert "labels" not in opening
    assert all(a < b for a, b in zip(opening["marker_positions"], closing["marker_positions"], strict=True))


def test_the_end_of_a_long_text_is_cut_but_no_marker():
    tokenizer = train_tokenizer_of_kind("words", TEXTS * 3, 300)
    marked = parse_marked("<e1>Ann</e1> saw <e2>Bob</e2> now now now")
    whole, _ = relation_row(marked, tokenizer, max_length=40)
    row, cut = relation_row(marked, tokenizer, max_length=9)
    assert cut
    assert row["input_ids"] == [*whole["input_ids"][:8], whole["input_ids"][-1]]
    assert row["marker_positions"] == whole["marker_positions"]
    with pytest.raises(ValueError, match="example 3: a marked word lies beyond max_length 5"):
        relation_row(marked, tokenizer, max_length=5, where="example 3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<e1>Ann</e1> saw Bob", "the mark <e2> is missing"),
        ("<e1>Ann</e1> saw <e2>Bob", "the mark </e2> is missing"),
        ("<e1>Ann</e1> <e1>saw</e1> <e2>Bob</e2>", "the mark <e1> is there twice or in the wrong place"),
        ("<e1>Ann <e2>saw</e2></e1>", "the mark <e2> is there twice or in the wrong place"),
        ("Ann</e1> saw <e2>Bob</e2>", "the mark </e1> is there twice or in the wrong place"),
        ("<e1> </e1> saw <e2>Bob</e2>", "there is nothing between the marks <e1> and </e1>"),
    ],
)
def test_marks_that_are_wrong_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_marked(text, "a.tsv, line 3")

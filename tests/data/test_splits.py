"""Held-out text is never trained on, and text and token files are split alike."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.cutting import PIECE_CHARACTERS
from plm_core.data.documents import documents_as_text
from plm_core.data.splits import TokenDocuments, first_documents, texts_in_memory
from plm_core.data.tokenizer_training import train_characters

CHARACTERS = train_characters(["abcdefghijklmnopqrstuvwxyz 0123456789\n"])


def split(documents, rule="blank_line"):
    return tuple(list(documents_as_text(part.parts())) for part in texts_in_memory("t", documents, rule).split())


@given(st.integers(2, 45))
@settings(max_examples=20, deadline=None)
def test_every_document_is_on_one_side_and_about_a_tenth_is_held_out(count):
    documents = [f"document {number}" for number in range(count)]
    train, valid = split(documents)
    assert sorted(train + valid) == sorted(documents)
    assert len(valid) == max(1, count // 10)


def test_of_a_single_document_the_last_tenth_is_held_out_at_a_border():
    train, valid = split(["x" * 1000])
    assert (len(train[0]), len(valid[0])) == (900, 100)
    words = " ".join(f"word{number:04}" for number in range(200))
    train, valid = split([words])
    assert f"{train[0]} {valid[0]}" == words
    assert 0.09 < len(valid[0]) / len(words) < 0.11
    lines = "\n".join(f"this is line {number:04}" for number in range(300))
    train, valid = split([lines])
    assert f"{train[0]}\n{valid[0]}" == lines


def test_white_space_alone_is_no_corpus():
    with pytest.raises(ValueError, match="corpus t is empty"):
        texts_in_memory("t", [" \n "], "blank_line").split()


def test_the_first_documents_are_read_and_no_more():
    def endless():
        yield "one\n\ntwo\n\nthree\n\n" + "more " * PIECE_CHARACTERS
        raise AssertionError("read too far")

    documents = texts_in_memory("t", [], "blank_line")
    object.__setattr__(documents, "read", lambda: [endless()])
    assert list(documents_as_text(documents.selecting(first_documents(2)).parts())) == ["one", "two"]


@pytest.mark.parametrize("count", [2, 7, 10, 33])
def test_a_token_file_is_split_as_its_text_is(tmp_path, count):
    texts = texts_in_memory("t", [f"document {number}\nline two" for number in range(count)], "blank_line")
    tokens = TokenDocuments.all_of(texts.write(CHARACTERS, tmp_path / "all"))
    for name, of_text, of_tokens in zip(("train", "valid"), texts.split(), tokens.split(), strict=True):
        expected = of_text.write(CHARACTERS, tmp_path / f"{name}1")
        found = of_tokens.write(CHARACTERS, tmp_path / f"{name}2")
        assert found.tokens.tolist() == expected.tokens.tolist()
        assert found.starts.tolist() == expected.starts.tolist()
        assert found.lines.tolist() == expected.lines.tolist()


def test_a_single_document_of_a_token_file_is_cut_with_its_lines(tmp_path):
    whole = texts_in_memory("t", ["one line\n" * 50], "stream").write(CHARACTERS, tmp_path / "all")
    parts = TokenDocuments.all_of(whole).split()
    train, valid = (part.write(CHARACTERS, tmp_path / str(number)) for number, part in enumerate(parts))
    assert train.tokens.tolist() + valid.tokens.tolist() == whole.tokens.tolist()
    assert all(CHARACTERS.decode(train.span(*line)) in "one line" for line in train.lines.tolist())
    assert CHARACTERS.decode(valid.span(*valid.lines[-1].tolist())) == "one line"


def test_ids_of_another_tokenizer_are_refused(tmp_path):
    file = texts_in_memory("t", ["one", "two"], "line").write(CHARACTERS, tmp_path / "all")
    other = train_characters(["xyz"])
    with pytest.raises(ValueError, match="made by another tokenizer"):
        TokenDocuments.all_of(file).write(other, tmp_path / "copy")

"""Token files: what is written is read, whole or not at all, and never all at once in memory."""

import gzip
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data import texts, tokenize
from plm_core.data.corpora import python_documentation
from plm_core.data.texts import read_blocks, read_lines, read_pieces
from plm_core.data.token_files import TokenFile, write_tokens
from plm_core.data.tokenize import tokenize_files, training_texts
from plm_core.data.tokenizer_training import train_bpe, train_characters, train_wordpiece

DOCUMENTS = [document.text for document in python_documentation()[:12]]
BPE = train_bpe(DOCUMENTS, vocab_size=500)
WORDPIECE = train_wordpiece(DOCUMENTS, vocab_size=600)


@given(st.lists(st.lists(st.integers(0, 299), max_size=20), max_size=20))
@settings(deadline=None, max_examples=50)
def test_documents_come_back_as_they_were(tmp_path_factory, documents):
    path = tmp_path_factory.mktemp("tokens") / "made"
    file = write_tokens(path, documents, vocab_size=300, tokenizer="x")
    assert len(file) == len(documents)
    assert [file[i].tolist() for i in range(len(file))] == documents
    assert file.lengths.tolist() == list(map(len, documents))
    assert file.span(0, len(file.tokens)).tolist() == [token for document in documents for token in document]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_the_data_type_follows_the_vocabulary(tmp_path, vocab_size, dtype):
    file = write_tokens(tmp_path / "t", [[0, vocab_size - 1]], vocab_size=vocab_size, tokenizer="x")
    assert file.tokens.dtype == dtype
    assert isinstance(file.tokens, np.memmap)
    assert file[0].tolist() == [0, vocab_size - 1]
    assert file[-1].dtype == torch.int64
    with pytest.raises(IndexError, match="document 1 of 1"):
        file[1]


@pytest.mark.parametrize("wrong", [-1, 300])
def test_an_id_out_of_range_is_refused_and_leaves_nothing(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"token id {wrong} is out of range"):
        write_tokens(tmp_path / "t", [[1, 2], [3, wrong]], vocab_size=300, tokenizer="x")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_leaves_nothing(tmp_path):
    def interrupted():
        yield [1, 2]
        assert not (tmp_path / "t").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tokens(tmp_path / "t", interrupted(), vocab_size=9, tokenizer="x")
    assert list(tmp_path.iterdir()) == []


def test_a_token_file_is_replaced_only_when_asked(tmp_path):
    write_tokens(tmp_path / "t", [[1]], vocab_size=9, tokenizer="x")
    with pytest.raises(FileExistsError, match="exists already"):
        write_tokens(tmp_path / "t", [[2]], vocab_size=9, tokenizer="x")
    assert write_tokens(tmp_path / "t", [[2]], vocab_size=9, tokenizer="x", overwrite=True)[0].tolist() == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError):  # a folder of somebody else is never removed
        write_tokens(tmp_path / "mine", [[2]], vocab_size=9, tokenizer="x", overwrite=True)


def test_damaged_token_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no token file"):
        TokenFile(tmp_path / "nothing")
    path = tmp_path / "t"
    write_tokens(path, [[1, 2, 3], [4]], vocab_size=9, tokenizer="x")
    content = (path / "tokens.bin").read_bytes()
    (path / "tokens.bin").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"tokens.bin has 7 bytes, expected 8"):
        TokenFile(path)
    (path / "tokens.bin").write_bytes(content)
    (path / "documents.bin").write_bytes(np.array([0, 5, 4]).tobytes())
    with pytest.raises(ValueError, match="does not fit"):
        TokenFile(path)
    metadata = json.loads((path / "metadata.json").read_text())
    (path / "metadata.json").write_text(json.dumps(metadata | {"format": "other"}))
    with pytest.raises(ValueError, match="format 'other'"):
        TokenFile(path)
    (path / "metadata.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        TokenFile(path)


def test_the_tokenizer_is_recognised(tmp_path):
    (tmp_path / "a.txt").write_text("some text", encoding="utf-8")
    file = tokenize_files([tmp_path / "a.txt"], BPE, tmp_path / "t")
    file.check_tokenizer(BPE.fingerprint, BPE.vocab_size)
    with pytest.raises(ValueError, match="another tokenizer"):
        file.check_tokenizer(WORDPIECE.fingerprint, WORDPIECE.vocab_size)


@pytest.mark.parametrize("tokenizer", [BPE, WORDPIECE, train_characters(DOCUMENTS)])
def test_a_file_read_in_pieces_has_the_ids_of_the_whole(tmp_path, tokenizer, monkeypatch):
    text = "\n".join(DOCUMENTS) + "\n  two  blanks,\ttabs — and 小猫坐在窗边 é e\u0301 🙂 " * 50
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(texts, "BLOCK_BYTES", 1001)  # cuts characters of several bytes
    assert "".join(read_blocks(path)) == text
    pieces = list(read_pieces(path, characters=100))
    assert "".join(pieces) == text
    assert len(pieces) > 300
    assert [token for ids in tokenizer.encode_all(pieces) for token in ids] == tokenizer.encode(text)
    file = tokenize_files([path], tokenizer, tmp_path / "t")
    assert file[0].tolist() == [*tokenizer.encode(text), tokenizer.eos_id]


def test_a_document_is_a_file_or_a_line(tmp_path):
    paths = []
    for name in "ab":
        paths.append(tmp_path / f"{name}.txt")
        paths[-1].write_bytes(b"\xef\xbb\xbffirst " + name.encode() + b"\r\n\r\nsecond")
    whole = tokenize_files(paths, BPE, tmp_path / "whole")
    assert [BPE.decode(whole[i], skip_special_tokens=True) for i in range(2)] == [
        "first a\r\n\r\nsecond", "first b\r\n\r\nsecond",
    ]  # fmt: skip
    lines = tokenize_files(paths, BPE, tmp_path / "lines", unit="line")
    assert [BPE.decode(lines[i]) for i in range(4)] == [
        "first a[EOS]", "second[EOS]", "first b[EOS]", "second[EOS]",
    ]  # fmt: skip


def test_compressed_files_are_read_through(tmp_path):
    text = "\n".join(DOCUMENTS[:3])
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", text)
    assert "".join(read_blocks(tmp_path / "a.txt.gz")) == "".join(read_blocks(tmp_path / "a.zip")) == text
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("b.txt", text)
    with pytest.raises(ValueError, match="holds 2 files, expected one"):
        list(read_blocks(tmp_path / "a.zip"))


@pytest.mark.parametrize("block_bytes", [7, 2**20])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"text\0more", "NUL byte at position 4"),
        ("text".encode("utf-16"), "NUL byte at position 3"),
        ("naïve café".encode("latin-1"), r"byte 0xef at position 2 "),
        ("x" * 12 + "é", None),
        (("é" * 20).encode() + b"\xff", "byte 0xff at position 40"),
        ("été".encode()[:-1], "byte 0xc3 at position 3"),
    ],
)
def test_files_that_are_no_utf8_text_are_named_with_the_byte(tmp_path, monkeypatch, content, message, block_bytes):
    monkeypatch.setattr(texts, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "a.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if message is None:
        assert "".join(read_blocks(path)) == content
    else:
        with pytest.raises(ValueError, match=message):
            list(read_blocks(path))


def test_lines_end_at_line_feeds_alone(tmp_path):
    (tmp_path / "a.txt").write_bytes("a\u2028b\r\nc\n\nd".encode())
    assert list(read_lines(tmp_path / "a.txt")) == ["a\u2028b", "c", "", "d"]


def test_a_document_longer_than_the_model_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("short\n" + "long " * 50 + "\n")
    with pytest.raises(ValueError, match=r"line 2 has \d+ tokens, the model takes 16"):
        tokenize_files([tmp_path / "a.txt"], BPE, tmp_path / "t", unit="line", max_length=16)
    assert not (tmp_path / "t").exists()


def test_white_space_alone_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_text(" \n\n ")
    for unit in ("file", "line"):
        with pytest.raises(ValueError, match="holds no text"):
            tokenize_files([tmp_path / "a.txt"], BPE, tmp_path / "t", unit=unit)
    with pytest.raises(ValueError, match="name at least one"):
        tokenize_files([], BPE, tmp_path / "t")


def test_memory_does_not_grow_with_the_text(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "BLOCK_BYTES", 2**14)
    monkeypatch.setattr(tokenize, "BATCH_CHARACTERS", 2**14)
    text = "\n".join(DOCUMENTS)
    peaks = []
    for repeats in (8, 32):
        path = tmp_path / f"{repeats}.txt"
        path.write_text("\n".join([text] * repeats), encoding="utf-8")
        tracemalloc.start()
        tokenize_files([path], BPE, tmp_path / f"{repeats}.tokens")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_training_texts_can_be_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "BLOCK_BYTES", 100)
    (tmp_path / "a.txt").write_text("x" * 1000)
    assert len("".join(training_texts([tmp_path / "a.txt"], characters=250))) == 300
    assert len("".join(training_texts([tmp_path / "a.txt"] * 2))) == 2000

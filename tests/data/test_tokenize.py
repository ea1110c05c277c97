"""From text to a token file: framed documents with the ids of the whole text, counted, and never all in memory."""

import gzip
import tracemalloc
import zipfile

import numpy as np
import pytest

from plm_core.data import texts, tokenize
from plm_core.data.corpora import python_documentation
from plm_core.data.cutting import cut
from plm_core.data.texts import read_blocks, text_files
from plm_core.data.tokenize import sample, tokenize_files
from plm_core.data.tokenizer_training import (
    train_bpe,
    train_characters,
    train_wordpiece,
    train_words,
    word_tokenizer,
)

DOCUMENTS = [document.text for document in python_documentation()[:12]]
BPE = train_bpe(DOCUMENTS, vocab_size=500)
WORDPIECE = train_wordpiece(DOCUMENTS, vocab_size=600)


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
    pieces = list(cut(read_blocks(path), characters=100))
    assert "".join(pieces) == text
    assert len(pieces) > 300
    assert [token for ids in tokenizer.encode_all(pieces) for token in ids] == tokenizer.encode(text)
    file = tokenize_files([path], tokenizer, tmp_path / "t", documents="file")
    assert file[0].tolist() == [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("stream", ["first a\n\nsecond\nfirst b\n\nsecond"]),
        ("file", ["first a\n\nsecond", "first b\n\nsecond"]),
        ("blank_line", ["first a", "second", "first b", "second"]),
        ("line", ["first a", "second", "first b", "second"]),
    ],
)
def test_documents_are_framed_and_divided_by_the_rule(tmp_path, rule, expected):
    paths = []
    for name in "ab":
        paths.append(tmp_path / f"{name}.txt")
        paths[-1].write_bytes(b"\xef\xbb\xbffirst " + name.encode() + b"\r\n\r\nsecond")
    file = tokenize_files(paths, BPE, tmp_path / "tokens", documents=rule)
    assert [BPE.decode(ids) for ids in file] == [f"[BOS]{text}[EOS]" for text in expected]
    lines = [BPE.decode(file.span(start, end)) for start, end in file.lines]
    assert lines == ["first a", "second", "first b", "second"]


def test_the_text_is_counted_in_bytes_characters_and_unknown_tokens(tmp_path):
    text = "naïve café\nmice 🙂 z\n\nend"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    known = train_characters(["naïve café\nmice end "])
    file = tokenize_files([tmp_path / "a.txt"], known, tmp_path / "t", documents="file")
    assert (file.text_bytes, file.characters) == (len(text.encode()), len(text))
    assert file.unknown == 2
    assert file.unknown_bytes == len("🙂z".encode())
    assert file.predicted_tokens == len(text) + 1
    lines = tokenize_files([tmp_path / "a.txt"], BPE, tmp_path / "lines", documents="blank_line")
    assert lines.unknown == 0
    assert lines.text_bytes == len(text.encode()) + 2, "the end of the last document counts like the others"


@pytest.mark.parametrize("make", [train_characters, train_words, train_bpe, train_wordpiece])
def test_special_tokens_in_a_text_are_text(tmp_path, make):
    text = "a [MASK] or [EOS] and [UNK]"
    tokenizer = make([text] * 3)
    (tmp_path / "a.txt").write_text(text)
    (ids,) = tokenize_files([tmp_path / "a.txt"], tokenizer, tmp_path / "t")
    assert set(ids.tolist()) & tokenizer.special_ids == {tokenizer.bos_id, tokenizer.eos_id}


def test_words_of_a_known_vocabulary_are_never_special_tokens():
    tokenizer = word_tokenizer(["a", "b"])
    assert tokenizer.encode("a [MASK] b\n[PAD]") == [7, *[tokenizer.unk_id] * 2, 8, *[tokenizer.unk_id] * 2]


@pytest.mark.parametrize("make", [train_characters, train_words, train_bpe, train_wordpiece])
def test_line_ends_are_in_every_vocabulary_and_come_back(make):
    tokenizer = make(["no line ends here"] * 3)
    text = "no line\n\nends here\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text


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


@pytest.mark.parametrize("block_bytes", [1, 2, 2**20])
def test_every_kind_of_line_end_is_read_as_a_line_feed(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(texts, "BLOCK_BYTES", block_bytes)
    (tmp_path / "a.txt").write_bytes("a\u2028b\r\nc\r\rd\n".encode())
    assert "".join(read_blocks(tmp_path / "a.txt")) == "a\u2028b\nc\n\nd\n"


def test_a_document_longer_than_the_model_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("short\n" + "long " * 50 + "\n")
    with pytest.raises(ValueError, match=r"document 2 has \d+ tokens, the limit is 16"):
        tokenize_files([tmp_path / "a.txt"], BPE, tmp_path / "t", documents="line", max_length=16)
    assert not (tmp_path / "t").exists()


def test_white_space_alone_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_text(" \n\n ")
    for rule in ("file", "line"):
        with pytest.raises(ValueError, match="holds no text"):
            tokenize_files([tmp_path / "a.txt"], BPE, tmp_path / "t", documents=rule)
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


def test_a_folder_means_the_text_files_in_it(tmp_path):
    for name in ("b.txt", "a/c.txt", ".hidden/d.txt", "empty.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if name == "empty.txt" else "text")
    assert [str(path.relative_to(tmp_path)) for path in text_files(tmp_path)] == ["a/c.txt", "b.txt"]
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no text file"):
        text_files(tmp_path / "none")


def test_a_sample_is_spread_evenly_and_is_all_of_a_short_text():
    texts_ = [f"text {number:03}" for number in range(100)]
    assert list(sample(texts_, characters=10_000, total=800)) == texts_
    taken = [int(text[-3:]) for text in sample(texts_, characters=80, total=800)]
    assert len(taken) == 10
    assert max(np.diff(taken)) <= 11

"""Token files: what is written is read, whole or not at all, and never all at once in memory."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.token_files import TokenFile, write_tokens


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


@pytest.mark.parametrize("harm", ["a file of the user's", "changed ids", "a link"])
def test_only_an_untouched_token_file_is_replaced(tmp_path, harm):
    path = tmp_path / "t"
    write_tokens(tmp_path / "t", [[1]], vocab_size=9, tokenizer="x")
    if harm == "a link":
        path = tmp_path / "link"
        path.symlink_to(tmp_path / "t")
    elif harm == "changed ids":
        (path / "tokens.bin").write_bytes(b"\x05\x00")
    else:
        (path / "notes.txt").write_text("mine")
    before = {file.name: file.read_bytes() for file in (tmp_path / "t").iterdir()}
    with pytest.raises(FileExistsError, match=r"not as this program wrote|symbolic link"):
        write_tokens(path, [[2]], vocab_size=9, tokenizer="x", overwrite=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "t").iterdir()} == before


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
    (path / "metadata.json").write_text(json.dumps(metadata | {"kind": "other"}))
    with pytest.raises(ValueError, match="format 'other'"):
        TokenFile(path)
    for wrong in ({"tokens": "3"}, {"documents": -1}, {"dtype": "object"}, {"vocab_size": None}, {"tokenizer": 5}):
        (path / "metadata.json").write_text(json.dumps(metadata | wrong))
        with pytest.raises(ValueError, match=f"no valid {next(iter(wrong))}"):
            TokenFile(path)
    (path / "metadata.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        TokenFile(path)

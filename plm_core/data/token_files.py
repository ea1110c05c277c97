"""A corpus as a file of token ids that is mapped into memory, not read: 100 MB of text need no 100 MB of objects.

A token file is a folder, which appears whole or not at all:

================  ==============================================================================================
tokens.bin        the ids of all documents one after another, uint16 where the vocabulary allows, else uint32
documents.bin     int64: where each document begins, and the end of the last
lines.bin         int64, (L, 2): where each line of text begins and ends, without framing tokens and line ends
tokenizer/        the tokenizer that made the ids, where it was saved with them
metadata.json     counts, data type, vocabulary size, the tokenizer's fingerprint, and the SHA-256 of every other file
================  ==============================================================================================
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from plm_core.data.tokenizers import Tokenizer
from plm_core.files import read_json_object
from plm_core.ownership import delete_own, file_sha256, marker, refuse_link

KIND = "tokens 2"
METADATA = "metadata.json"
TOKENIZER = "tokenizer"
_BLOCK = 2**20
_COUNTS = ("tokens", "documents", "lines", "vocab_size", "text_bytes", "characters", "unknown", "unknown_bytes")


class TokenFile:
    """A token file, open for reading.

    Args:
        path: the folder.

    Raises:
        FileNotFoundError: there is no token file.
        ValueError: the folder is no token file, or its files do not fit together.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not is_token_file(self.path):
            raise FileNotFoundError(f"no token file at {self.path}: make one with `plm data tokenize`")
        found = self.metadata = _checked_metadata(self.path / METADATA)
        self.vocab_size: int = found["vocab_size"]
        self.tokenizer_fingerprint: str = found["tokenizer"]
        self.text_bytes: int = found["text_bytes"]
        """UTF-8 bytes of the text, a line end counted as one; 0 where the file was made from ids."""
        self.characters: int = found["characters"]
        """Characters of the text, counted as its bytes are."""
        self.unknown: int = found["unknown"]
        """How many tokens are [UNK]."""
        self.unknown_bytes: int = found["unknown_bytes"]
        """The bytes of the text that they stand for."""
        self.tokens = self._mapped("tokens.bin", found["dtype"], found["tokens"])
        self.starts = self._mapped("documents.bin", "int64", found["documents"] + 1)
        self.lines = self._mapped("lines.bin", "int64", 2 * found["lines"]).reshape(-1, 2)
        for name, places in (("documents.bin", self.starts), ("lines.bin", self.lines.reshape(-1))):
            if len(places) and not (places[0] >= 0 and places[-1] <= len(self.tokens) and _ascend(places)):
                raise ValueError(f"{self.path}/{name} does not fit tokens.bin: make the token file again")
        if self.starts[0] != 0 or self.starts[-1] != len(self.tokens):
            raise ValueError(f"{self.path}/documents.bin does not fit tokens.bin: make the token file again")

    def _mapped(self, name: str, dtype: str, length: int) -> np.ndarray:
        path = self.path / name
        expected = length * np.dtype(dtype).itemsize
        found = path.stat().st_size if path.is_file() else 0
        if found != expected:
            raise ValueError(f"{path} has {found} bytes, expected {expected}: make the token file again")
        return np.memmap(path, dtype=dtype, mode="r") if length else np.empty(0, dtype=dtype)

    def __len__(self) -> int:
        """The number of documents."""
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> Tensor:
        """The token ids of one document, int64 (T,)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        index %= len(self)
        return self.span(int(self.starts[index]), int(self.starts[index + 1]))

    def span(self, start: int, end: int) -> Tensor:
        """The token ids from ``start`` to before ``end``, across documents, int64 (T,)."""
        return torch.from_numpy(self.tokens[start:end].astype(np.int64))

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each document, int64."""
        return np.diff(self.starts)

    @property
    def predicted_tokens(self) -> int:
        """How many tokens a causal model predicts: all but the first of each document."""
        return len(self.tokens) - len(self)

    def lines_of(self, index: int) -> np.ndarray:
        """Where the lines of a document begin and end in :attr:`tokens`, int64 (lines, 2)."""
        first, last = np.searchsorted(self.lines[:, 0], self.starts[index : index + 2])
        return self.lines[first:last]

    def saved_tokenizer(self) -> Tokenizer:
        """The tokenizer that was saved with the ids.

        Raises:
            FileNotFoundError: none was.
            ValueError: it is another one than made them.
        """
        tokenizer = Tokenizer.load(self.path / TOKENIZER)
        self.check_tokenizer(tokenizer.fingerprint, tokenizer.vocab_size)
        return tokenizer

    def check_tokenizer(self, fingerprint: str, vocab_size: int) -> None:
        """Make sure that a tokenizer is the one that wrote the ids.

        Raises:
            ValueError: it is another one.
        """
        if fingerprint != self.tokenizer_fingerprint:
            raise ValueError(
                f"{self.path} was made by another tokenizer (vocabulary {self.vocab_size}, this one has {vocab_size}): "
                f"use the tokenizer that made it, or tokenize the text again"
            )


def _ascend(places: np.ndarray) -> bool:
    """Whether no number is smaller than the one before it, looked at in blocks: there may be many millions."""
    blocks = (places[first : first + _BLOCK + 1] for first in range(0, len(places), _BLOCK))
    return all((block[1:] >= block[:-1]).all() for block in blocks)


def is_token_file(path: Path) -> bool:
    """Whether a path is a folder with the metadata of a token file."""
    return (path / METADATA).is_file()


def _checked_metadata(path: Path) -> dict[str, Any]:
    """The metadata, with every entry of the right type."""
    found = read_json_object(path, "metadata")
    if found.get("kind") != KIND:
        raise ValueError(f"{path} describes the format {found.get('kind')!r}, expected {KIND!r}: tokenize again")
    wrong = [name for name in _COUNTS if type(found.get(name)) is not int or not 0 <= found[name] < 2**50]
    if found.get("dtype") not in ("uint16", "uint32"):
        wrong.append("dtype")
    if not isinstance(found.get("tokenizer"), str):
        wrong.append("tokenizer")
    if wrong:
        raise ValueError(f"{path} is damaged: no valid {', '.join(wrong)}; make the token file again")
    return found


class TokenFileWriter:
    """Writes a token file as a stream: memory does not grow with the corpus.

    Use it in a ``with`` block; on leaving it without an error the folder takes its name, else nothing stays.

    Args:
        path: the folder to make.
        vocab_size: ids must be smaller; it also decides between uint16 and uint32.
        tokenizer: the fingerprint of the tokenizer.
        overwrite: replace a token file that is there, if nothing in it was changed or added since it was written.

    Raises:
        FileExistsError: the path is taken.
    """

    def __init__(self, path: str | Path, *, vocab_size: int, tokenizer: str, overwrite: bool = False) -> None:
        self.path = Path(path)
        refuse_link(self.path)
        if self.path.exists() and not (overwrite and is_token_file(self.path)):
            raise FileExistsError(f"{self.path} exists already: choose another name, or overwrite it")
        self.vocab_size = vocab_size
        self.tokenizer = tokenizer
        self.dtype = np.dtype("uint16" if vocab_size <= 2**16 else "uint32")
        self.num_tokens = self.num_documents = self.num_lines = 0
        self.text_bytes = self.characters = self.unknown = self.unknown_bytes = 0
        """Properties of the text for the metadata; the code that writes the tokens adds to them."""
        self._draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")

    def __enter__(self) -> TokenFileWriter:
        self._draft.mkdir(parents=True)
        self._tokens = _HashedFile(self._draft / "tokens.bin")
        self._starts = _HashedFile(self._draft / "documents.bin")
        self._lines = _HashedFile(self._draft / "lines.bin")
        self._starts.write(np.int64(0).tobytes())
        return self

    def write(self, ids: Sequence[int] | np.ndarray) -> None:
        """Append ids to the document being written.

        Raises:
            ValueError: an id is out of range.
        """
        array = np.asarray(ids, dtype=np.int64)
        if array.size and not 0 <= array.min() <= array.max() < self.vocab_size:
            wrong = int(array.min() if array.min() < 0 else array.max())
            raise ValueError(
                f"token id {wrong} is out of range: the vocabulary has {self.vocab_size} tokens, 0 to "
                f"{self.vocab_size - 1}. Is the tokenizer the one that the model was made for?"
            )
        self._tokens.write(array.astype(self.dtype).tobytes())
        self.num_tokens += array.size

    def add_line(self, start: int, end: int) -> None:
        """Record that the tokens from ``start`` to before ``end``, counted over all documents, are a line of text."""
        self._lines.write(struct.pack("=qq", start, end))
        self.num_lines += 1

    def end_document(self) -> None:
        """End the document being written: it holds everything written since the last end."""
        self._starts.write(np.int64(self.num_tokens).tobytes())
        self.num_documents += 1

    def save_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Save the tokenizer with the ids, so that the token file is all that training needs."""
        tokenizer.save(self._draft / TOKENIZER)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for file in (self._tokens, self._starts, self._lines):
                file.close(flush=kind is None)
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)

    def _finish(self) -> None:
        files = {file.path.name: file.sha256 for file in (self._tokens, self._starts, self._lines)}
        for path in (self._draft / TOKENIZER).rglob("*"):
            files[path.relative_to(self._draft).as_posix()] = file_sha256(path)
        metadata = marker(
            KIND,
            files,
            tokens=self.num_tokens,
            documents=self.num_documents,
            lines=self.num_lines,
            dtype=self.dtype.name,
            vocab_size=self.vocab_size,
            tokenizer=self.tokenizer,
            text_bytes=self.text_bytes,
            characters=self.characters,
            unknown=self.unknown,
            unknown_bytes=self.unknown_bytes,
        )
        (self._draft / METADATA).write_bytes(metadata)
        if self.path.exists() and not delete_own(self.path, METADATA, KIND, under=self._draft.with_suffix(".old")):
            raise FileExistsError(
                f"{self.path} holds files that are not as this program wrote them: it is not replaced; choose another "
                "name, or move it away"
            )
        os.replace(self._draft, self.path)


class _HashedFile:
    """A file that is written from beginning to end, and its SHA-256."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._hash = hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._hash.update(content)

    def close(self, *, flush: bool) -> None:
        if flush:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def write_tokens(
    path: str | Path, documents: Iterable[Sequence[int]], *, vocab_size: int, tokenizer: str, overwrite: bool = False
) -> TokenFile:
    """Write documents, each a sequence of token ids, to a token file and open it; arguments as for the writer.

    Each document is one line; nothing is known about its text.
    """
    with TokenFileWriter(path, vocab_size=vocab_size, tokenizer=tokenizer, overwrite=overwrite) as writer:
        for document in documents:
            start = writer.num_tokens
            writer.write(document)
            writer.add_line(start, writer.num_tokens)
            writer.end_document()
    return TokenFile(path)

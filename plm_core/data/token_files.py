"""A corpus as a file of token ids that is mapped into memory, not read: 100 MB of text need no 100 MB of objects.

A token file is a folder of three files, which appears whole or not at all:

================  ==============================================================================================
tokens.bin        the ids of all documents one after another, uint16 where the vocabulary allows, else uint32
documents.bin     int64: where each document begins, and the end of the last
metadata.json     counts, data type, vocabulary size and the fingerprint of the tokenizer that made the ids
================  ==============================================================================================
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

FORMAT = "plm-core tokens 1"


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
        try:
            self.metadata: dict[str, Any] = json.loads((self.path / "metadata.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"no token file at {self.path}: make one with `plm data tokenize`") from None
        except ValueError as error:
            raise ValueError(f"{self.path}/metadata.json is damaged ({error}): make the token file again") from error
        if self.metadata.get("format") != FORMAT:
            raise ValueError(f"{self.path} has the format {self.metadata.get('format')!r}, expected {FORMAT!r}")
        self.vocab_size: int = self.metadata["vocab_size"]
        self.tokenizer_fingerprint: str = self.metadata["tokenizer"]
        self.tokens = self._mapped("tokens.bin", self.metadata["dtype"], self.metadata["tokens"])
        self.starts = self._mapped("documents.bin", "int64", self.metadata["documents"] + 1)
        if self.starts[0] != 0 or self.starts[-1] != len(self.tokens) or (np.diff(self.starts) < 0).any():
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


class TokenFileWriter:
    """Writes a token file as a stream: memory does not grow with the corpus.

    Use it in a ``with`` block; on leaving it without an error the folder takes its name, else nothing stays.

    Args:
        path: the folder to make.
        vocab_size: ids must be smaller; it also decides between uint16 and uint32.
        tokenizer: the fingerprint of the tokenizer.
        overwrite: replace a token file that is there.

    Raises:
        FileExistsError: the path is taken.
    """

    def __init__(self, path: str | Path, *, vocab_size: int, tokenizer: str, overwrite: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() and not (overwrite and (self.path / "metadata.json").is_file()):
            raise FileExistsError(f"{self.path} exists already: choose another name, or ask for it to be overwritten")
        self.vocab_size = vocab_size
        self.tokenizer = tokenizer
        self.dtype = np.dtype("uint16" if vocab_size <= 2**16 else "uint32")
        self.num_tokens = 0
        self.num_documents = 0
        self._draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")

    def __enter__(self) -> TokenFileWriter:
        self._draft.mkdir(parents=True)
        self._tokens = open(self._draft / "tokens.bin", "wb")
        self._starts = open(self._draft / "documents.bin", "wb")
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
                f"token id {wrong} is out of range: the vocabulary has ids 0 to {self.vocab_size - 1}. "
                f"Do the tokenizer and the vocabulary size belong together?"
            )
        self._tokens.write(array.astype(self.dtype).tobytes())
        self.num_tokens += array.size

    def end_document(self) -> None:
        """What was written since the last end is one document."""
        self._starts.write(np.int64(self.num_tokens).tobytes())
        self.num_documents += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for file in (self._tokens, self._starts):
                if kind is None:
                    file.flush()
                    os.fsync(file.fileno())
                file.close()
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)

    def _finish(self) -> None:
        metadata = {
            "format": FORMAT,
            "tokens": self.num_tokens,
            "documents": self.num_documents,
            "dtype": self.dtype.name,
            "vocab_size": self.vocab_size,
            "tokenizer": self.tokenizer,
        }
        (self._draft / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
        if self.path.exists():  # overwrite: there is a moment without either, but none with half of one
            old = self._draft.with_suffix(".old")
            os.replace(self.path, old)
            os.replace(self._draft, self.path)
            shutil.rmtree(old)
        else:
            os.replace(self._draft, self.path)


def write_tokens(
    path: str | Path, documents: Iterable[Sequence[int]], *, vocab_size: int, tokenizer: str, overwrite: bool = False
) -> TokenFile:
    """Write documents, each a sequence of token ids, to a token file and open it; arguments as for the writer."""
    with TokenFileWriter(path, vocab_size=vocab_size, tokenizer=tokenizer, overwrite=overwrite) as writer:
        for document in documents:
            writer.write(document)
            writer.end_document()
    return TokenFile(path)

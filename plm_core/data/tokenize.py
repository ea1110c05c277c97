"""From text files to a token file, as a stream: whatever the size of the text, memory holds a few megabytes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from tqdm.auto import tqdm

from plm_core.data.texts import read_blocks, read_lines, read_pieces
from plm_core.data.token_files import TokenFile, TokenFileWriter
from plm_core.data.tokenizers import Tokenizer

Unit = Literal["file", "line"]
BATCH_CHARACTERS = 2**20
"""Text that is encoded in one call, on all cores."""


def tokenize_files(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    output: str | Path,
    *,
    unit: Unit = "file",
    max_length: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> TokenFile:
    """Turn text files into a token file; every document ends with ``[EOS]``.

    Args:
        paths: UTF-8 files, also ``.gz``, or ``.zip`` with one file inside.
        tokenizer: what makes the ids.
        output: the token file to make.
        unit: what a document is: a whole ``"file"`` or every ``"line"`` that is not empty.
        max_length: the longest document allowed, in tokens with the final one; None for any length.
        overwrite: replace a token file that is there.
        progress: show a bar.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read (see :func:`plm_core.data.texts.read_blocks`), or holds a
            document longer than ``max_length``, or nothing but white space.
    """
    if not paths:
        raise ValueError("no text files given: name at least one")
    with (
        TokenFileWriter(
            output, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint, overwrite=overwrite
        ) as writer,
        tqdm(desc="tokens", unit=" tokens", unit_scale=True, disable=not progress) as bar,
    ):
        for path in paths:
            before = writer.num_documents
            for number, ids, ends in _parts(path, tokenizer, unit):
                length = len(ids) + ends
                if max_length is not None and length > max_length:
                    raise ValueError(
                        f"{path}: {unit} {number} has {length} tokens, the model takes {max_length}: split the text, "
                        f"pack it into rows when training, or use a model with more positions"
                    )
                writer.write(ids)
                if ends:
                    writer.write([tokenizer.eos_id])
                    writer.end_document()
                bar.update(length)
            if writer.num_documents == before:
                raise ValueError(f"{path} holds no text, only white space")
    return TokenFile(output)


def _parts(path: Path, tokenizer: Tokenizer, unit: Unit) -> Iterator[tuple[int, list[int], bool]]:
    """Number of the document, some of its token ids, and whether it ends with them."""
    if unit == "line":
        number = 0
        for lines in _by_size(read_lines(path)):
            for line, ids in zip(lines, tokenizer.encode_all(lines), strict=True):
                number += 1
                if line.strip():
                    yield number, ids, True
    else:
        empty = True
        for pieces in _by_size(read_pieces(path)):
            empty = empty and not any(map(str.strip, pieces))
            for ids in tokenizer.encode_all(pieces):
                yield 1, ids, False
        if not empty:
            yield 1, [], True


def _by_size(texts: Iterator[str]) -> Iterator[list[str]]:
    """Group texts into lists of about :data:`BATCH_CHARACTERS`."""
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def training_texts(paths: Sequence[Path], *, characters: int | None = None) -> Iterator[str]:
    """The text of files for the training of a tokenizer, in pieces.

    Args:
        paths: as for :func:`tokenize_files`.
        characters: stop after about this many; None reads all.
    """
    seen = 0
    for path in paths:
        for piece in read_blocks(path):
            yield piece
            seen += len(piece)
            if characters is not None and seen >= characters:
                return

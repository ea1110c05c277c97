"""Reading text files as a stream: of any size, in bounded memory, with errors that say where the file is wrong."""

from __future__ import annotations

import codecs
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from plm_core.data.archives import open_gzip, open_member, safe_members

BLOCK_BYTES = 2**20


def read_blocks(path: Path) -> Iterator[str]:
    """The text of a UTF-8 file in blocks of about a megabyte; ``.gz`` and ``.zip`` (of one file) are read through.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, binary, not UTF-8 (the message names the byte), or a damaged archive.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no text file at {path}" + (": it is a folder" if path.is_dir() else ""))
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0  # of the first byte that the decoder has not seen
    with ExitStack() as stack:
        file = _opened(path, stack)
        while block := file.read(BLOCK_BYTES):
            if b"\0" in block:
                raise ValueError(
                    f"{path} is not a text file: it holds a NUL byte at position {position + block.index(0)}. "
                    f"UTF-16 text has such bytes too; convert it to UTF-8"
                )
            waiting = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, position - waiting + error.start, error) from error
            position += len(block)
            yield text.removeprefix("\ufeff") if position == len(block) else text
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, position - len(error.object) + error.start, error) from error
    if position == 0:
        raise ValueError(f"{path} is empty: expected a text file in UTF-8")


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends; errors as for :func:`read_blocks`."""
    rest = ""
    for block in read_blocks(path):
        *lines, rest = (rest + block).split("\n")
        yield from (line.removesuffix("\r") for line in lines)
    if rest:
        yield rest


def read_pieces(path: Path, *, characters: int = 2**16) -> Iterator[str]:
    """The text of a file in pieces that can be tokenised one by one: joined, their tokens are the text's tokens.

    A piece ends before a blank that stands between two characters that are no white space, where no tokenizer of
    :mod:`plm_core.data.tokenizers` makes a token across the border. A text without blanks is one piece.
    """
    rest = ""
    for block in read_blocks(path):
        rest += block
        start = 0
        while len(rest) - start > characters:
            cut = _next_border(rest, start + characters)
            if cut < 0:
                break
            yield rest[start:cut]
            start = cut
        rest = rest[start:]
    if rest:
        yield rest


def _next_border(text: str, start: int) -> int:
    """The first blank at or after ``start`` that stands alone between two characters, or -1."""
    cut = text.find(" ", start)
    while 0 <= cut < len(text) - 1:
        if not text[cut - 1].isspace() and (text[cut + 1].isascii() and not text[cut + 1].isspace()):
            return cut
        cut = text.find(" ", cut + 1)
    return -1


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    if path.suffix == ".gz":
        return stack.enter_context(open_gzip(path))
    if path.suffix == ".zip":
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is damaged or truncated (not a zip archive): delete it and fetch it again")
        with zipfile.ZipFile(path) as archive:
            members = safe_members(archive, path)
        if len(members) != 1:
            raise ValueError(f"{path} holds {len(members)} files, expected one: unpack it and name the files you want")
        return stack.enter_context(open_member(path, members[0]))
    return stack.enter_context(open(path, "rb"))


def _not_utf8(path: Path, position: int, error: UnicodeDecodeError) -> ValueError:
    value = error.object[error.start]
    return ValueError(
        f"{path} is not UTF-8: byte 0x{value:02x} at position {position} ({error.reason}). "
        f"Save the file as UTF-8, for example with: iconv -f LATIN1 -t UTF-8"
    )

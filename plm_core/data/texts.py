"""Reading text files as a stream: of any size, in bounded memory, with errors that name the place in the file."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from typing import BinaryIO

from plm_core.data.archives import open_gzip, open_only_member
from plm_core.files import require_file

BLOCK_BYTES = 2**20


def read_blocks(path: Path) -> Iterator[str]:
    """The text of a UTF-8 file in blocks of about a megabyte; ``.gz`` and ``.zip`` (of one file) are read through.

    Lines end in ``\\n``, ``\\r\\n`` or ``\\r``, and in nothing else; all three are given as ``\\n``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, binary, not UTF-8 (the message names the byte), or a damaged archive.
    """
    require_file(path, "text file")
    decoder = codecs.getincrementaldecoder("utf-8")()
    line_ends = io.IncrementalNewlineDecoder(None, translate=True)
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
            yield line_ends.decode(text.removeprefix("\ufeff") if position == len(block) else text)
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, position - len(error.object) + error.start, error) from error
    if position == 0:
        raise ValueError(f"{path} is empty: expected a text file in UTF-8")
    yield line_ends.decode("", final=True)


def text_files(path: Path) -> list[Path]:
    """The text files that a path means: itself, or every file below a folder, in the order of their names.

    Hidden files and empty ones are left out.

    Raises:
        FileNotFoundError: there is nothing, or no file in the folder.
    """
    if not path.is_dir():
        return [path]
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    shown = [file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    found = [file for file in shown if file.stat().st_size]
    if not found:
        raise FileNotFoundError(f"the folder {path} holds no text file")
    return found


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    if path.suffix == ".gz":
        return stack.enter_context(open_gzip(path))
    if path.suffix == ".zip":
        return stack.enter_context(open_only_member(path))
    return stack.enter_context(open(path, "rb"))


def _not_utf8(path: Path, position: int, error: UnicodeDecodeError) -> ValueError:
    value = error.object[error.start]
    archive = path.suffix in (".gz", ".zip")
    how = "" if archive else f", for example with: iconv -f LATIN1 -t UTF-8 {quote(str(path))} > utf8.txt"
    return ValueError(
        f"{path} is not UTF-8: byte 0x{value:02x} at position {position} ({error.reason}). Save the file as UTF-8{how}"
    )

"""Tables of examples: CSV, TSV and JSON lines with named columns, one example a row.

==========  =======================================================================================================
``.csv``    a header, then rows separated by commas; fields with commas or line ends stand in double quotes (RFC 4180)
``.tsv``    a header, then rows separated by tabs; quotation marks are plain characters
``.jsonl``  one JSON object a line; its names are the columns, and its numbers and truth values are read as text
==========  =======================================================================================================

Files are UTF-8, may begin with a byte-order mark, and may be packed (``.csv.gz``). What is wrong with a file is said in
one message that names the line.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from plm_core.data.texts import read_blocks

Format = Literal["csv", "tsv", "jsonl"]
FORMATS: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""The format of a file by the end of its name."""

TEXT_COLUMNS = ("text", "sentence", "question", "review", "content", "sentence1", "premise")
PAIR_COLUMNS = ("pair", "text_pair", "sentence2", "hypothesis")
LABEL_COLUMNS = ("label", "class", "category", "sentiment", "target")
"""Names by which a column is found that nobody has named, the first that is there."""

MAX_FIELD = 2**24
"""Characters of the longest field of a CSV file."""


@dataclass(frozen=True)
class Table:
    """The rows of a file."""

    path: Path
    """The file, for messages."""
    columns: tuple[str, ...]
    """The names of the columns."""
    rows: tuple[dict[str, str], ...]
    """The rows; a row of a JSON file lacks the columns that it does not name or that are null."""
    lines: tuple[int, ...]
    """The line of the file on which each row ends, from 1."""

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[str]:
        """The values of a column.

        Raises:
            ValueError: there is no such column, or a row has no value for it.
        """
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(self.columns)}"
            raise ValueError(f"{self.path} has no column {name!r}: {hint}")
        for row, line in zip(self.rows, self.lines, strict=True):
            if name not in row or not row[name].strip():
                raise ValueError(f"{self.path}, line {line}: the column {name!r} is empty")
        return [row[name] for row in self.rows]

    def find(self, names: Sequence[str], what: str) -> str:
        """The first of some usual names that is a column.

        Args:
            names: such as :data:`TEXT_COLUMNS`.
            what: what the column holds, for the message.

        Raises:
            ValueError: none of them is.
        """
        for name in names:
            if name in self.columns:
                return name
        raise ValueError(
            f"{self.path}: no column for the {what} was named, and none is called {' or '.join(names)}; "
            f"its columns are {', '.join(self.columns)}"
        )


def read_table(path: str | Path, *, format: Format | None = None, delimiter: str | None = None) -> Table:
    """Read a table.

    Args:
        path: the file.
        format: how it is written; None for what the end of its name says.
        delimiter: what separates the fields of a CSV file, if it is no comma.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown format; a file that is empty, damaged, not UTF-8 or in mixed encodings; a header with an
            empty name or the same name twice; a row with more or fewer fields than the header; no row.
    """
    path = Path(path)
    if format is None:
        endings = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zip")]
        ending = endings[-1].lower() if endings else ""
        if ending not in FORMATS:
            raise ValueError(f"{path}: expected a file that ends in {', '.join(FORMATS)}, or name its format")
        format = FORMATS[ending]
    columns, rows, lines = _json_rows(path) if format == "jsonl" else _delimited_rows(path, format, delimiter)
    if not rows:
        raise ValueError(f"{path} holds no row" + ("" if format == "jsonl" else " besides its header"))
    return Table(path, columns, tuple(rows), tuple(lines))


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, without their ends.

    Raises:
        FileNotFoundError, ValueError: as for :func:`~plm_core.data.texts.read_blocks`; a file that begins in UTF-8 and
            goes on in another encoding is told from one that is in another from the start.
    """
    number, begun, has_utf8 = 0, "", False
    try:
        for block in read_blocks(path):
            *whole, begun = (begun + block).split("\n")
            has_utf8 = has_utf8 or not block.isascii()
            number += len(whole)
            yield from whole
    except ValueError as error:
        cause = error.__cause__
        if not isinstance(cause, UnicodeDecodeError):
            raise
        before = cause.object[: cause.start]
        if has_utf8 or not before.isascii():
            line = number + before.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
            raise ValueError(
                f"{path} mixes encodings: line {line} is not UTF-8 (byte 0x{cause.object[cause.start]:02x}), but what "
                "stands before it is. Convert each of its sources to UTF-8 before they are joined"
            ) from error
        raise
    if begun:
        yield begun


def _delimited_rows(
    path: Path, format: Format, delimiter: str | None
) -> tuple[tuple[str, ...], list[dict[str, str]], list[int]]:
    separator = delimiter or ("," if format == "csv" else "\t")
    if len(separator) != 1:
        raise ValueError(f"the delimiter must be one character, got {separator!r}")
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if format == "csv" else csv.QUOTE_NONE
    old_limit = csv.field_size_limit(MAX_FIELD)
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    columns: tuple[str, ...] = ()
    reader = csv.reader((line + "\n" for line in read_lines(path)), delimiter=separator, quoting=quoting, strict=True)
    try:
        for fields in reader:
            if not fields:
                continue
            if not columns:
                columns = _checked_header(path, [field.strip() for field in fields], separator)
                continue
            if len(fields) != len(columns):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, but the header names {len(columns)} "
                    f"({', '.join(columns)})" + (": put fields that hold commas in quotes" if format == "csv" else "")
                )
            rows.append(dict(zip(columns, fields, strict=True)))
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not a {format.upper()} file: {error}") from error
    finally:
        csv.field_size_limit(old_limit)
    return columns, rows, lines


def _checked_header(path: Path, names: list[str], separator: str) -> tuple[str, ...]:
    other = next((mark for mark in (";", "\t", ",") if mark != separator and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        raise ValueError(
            f"{path}: the header has one column, {names[0]!r}; do its fields end in {other!r} (delimiter)?"
        )
    if "" in names:
        raise ValueError(f"{path}: column {names.index('') + 1} of the header has no name")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: the header names the column {twice!r} twice")
    return tuple(names)


def _json_rows(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]], list[int]]:
    columns: dict[str, None] = {}
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"{path}, line {number}: expected an object with names, got {type(values).__name__}")
        columns |= dict.fromkeys(values)
        rows.append({name: _as_text(value, path, number, name) for name, value in values.items() if value is not None})
        lines.append(number)
    return tuple(columns), rows, lines


def _as_text(value: Any, path: Path, number: int, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise ValueError(f"{path}, line {number}: {name!r} holds a {type(value).__name__}, expected text or a number")

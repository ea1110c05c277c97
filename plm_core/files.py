"""Reading small files of unknown origin: text, JSON and YAML, bounded in size, with errors that name the file.

A configuration, a manifest or an index may be damaged, huge, nested without end or no file at all. Whatever is wrong,
the reader gets a ValueError or a FileNotFoundError that names the file; no parser's own error leaves this module.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 64 * 2**20
"""Largest JSON file that is read: a tokenizer of 250,000 entries takes about 20 MiB."""
MAX_YAML_BYTES = 2**20
"""Largest YAML text that is read."""
MAX_DEPTH = 50
"""How deep mappings and lists may be nested."""


def require_file(path: Path, what: str = "file") -> Path:
    """Return the path if a regular file is there.

    A named pipe or a device would block or never end, so it is refused before it is opened.

    Args:
        path: where the file should be.
        what: what the file is, for the message: ``"configuration file"``.

    Raises:
        FileNotFoundError: nothing is there, or a folder.
        ValueError: a pipe, a socket or a device, or a path that no file can have.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no {what} at {path}") from None
    except ValueError as error:  # a NUL character in the path
        raise ValueError(f"{str(path)!r} cannot be the path of a {what}: {error}") from error
    if stat.S_ISDIR(mode):
        raise FileNotFoundError(f"no {what} at {path}: it is a folder")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is no regular file but a pipe, a socket or a device: copy its content to a file")
    return path


def read_text(path: Path, what: str = "file", *, max_bytes: int = MAX_BYTES) -> str:
    """The content of a UTF-8 file of limited size; a byte-order mark is left out.

    Raises:
        FileNotFoundError: as :func:`require_file`.
        ValueError: as :func:`require_file`; a file that is too large or not UTF-8.
    """
    with require_file(path, what).open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"{path} is too large for a {what}: at most {max_bytes:,} bytes are read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}; "
            "save it again as UTF-8"
        ) from error


def read_json(path: Path, what: str = "JSON file", *, max_bytes: int = MAX_BYTES) -> Any:
    """The value in a JSON file.

    Raises:
        FileNotFoundError: as :func:`require_file`.
        ValueError: as :func:`read_text`; a file that is damaged, nested too deeply, or gives a key twice.
    """
    text = read_text(path, what, max_bytes=max_bytes)
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply for a {what}") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def read_json_object(path: Path, what: str = "JSON file", *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The object in a JSON file; errors as for :func:`read_json`, and a ValueError for any other value."""
    value = read_json(path, what, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: expected an object with keys, found {type(value).__name__}")
    return value


def parse_yaml(text: str) -> Any:
    """The value of a YAML document that holds plain data: mappings, lists, text, numbers, true, false, null.

    Raises:
        ValueError: text that is not YAML; several documents; a key given twice; tags, anchors, aliases and merge keys,
            with which a short text can stand for a huge value or for code; numbers in base 60 or with a leading zero,
            which are rarely meant; more than :data:`MAX_DEPTH` levels or :data:`MAX_YAML_BYTES` bytes.
    """
    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"the YAML text is too long: at most {MAX_YAML_BYTES:,} characters are read")
    try:
        _refuse_unusual_yaml(text)
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"this is not valid YAML: {' '.join(str(error).split())}") from error
    except (RecursionError, OverflowError) as error:
        raise ValueError(f"this is no YAML for a configuration: {error}") from error


def read_yaml(path: Path, what: str = "configuration file") -> Any:
    """The value in a YAML file.

    Raises:
        FileNotFoundError: as :func:`require_file`.
        ValueError: as :func:`read_text` and :func:`parse_yaml`, with the file's name.
    """
    text = read_text(path, what, max_bytes=MAX_YAML_BYTES)
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key!r} is given twice")
        values[key] = value
    return values


def _refuse_unusual_yaml(text: str) -> None:
    """Look at the events of the parser, which needs no recursion, before anything is built from them."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError(f"line {line}: anchors (&name) and aliases (*name) are not read: write the value out")
        if tag := getattr(event, "tag", None):
            raise ValueError(f"line {line}: the tag {tag!r} is not read: write a plain value")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ValueError(f"line {line}: a second document begins: expected one in the file")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"line {line}: more than {MAX_DEPTH} levels of nesting")


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which also refuses keys given twice and numbers that are easily misread."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                raise ValueError(f"line {line}: expected a name as key, got {str(key_node.value)[:40]!r}")
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ValueError(f"line {line}: the key {key!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _plain_number(construct: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A constructor that refuses what YAML 1.1 reads in base 60 (1:30) or base 8 (010)."""

    def checked(loader: _PlainLoader, node: yaml.ScalarNode) -> Any:
        digits = node.value.lstrip("+-")
        if ":" in digits or (len(digits) > 1 and digits.isdigit() and digits[0] == "0"):
            raise ValueError(
                f"line {node.start_mark.line + 1}: {node.value} is not read as a number: put text in quotes, and write "
                "numbers without leading zeros and colons"
            )
        return construct(loader, node)

    return checked


def _text(loader: _PlainLoader, node: yaml.ScalarNode) -> str:
    """A date stays the text that it is."""
    return str(loader.construct_scalar(node))


_PlainLoader.add_constructor("tag:yaml.org,2002:timestamp", _text)
for _tag, _construct in (
    ("int", yaml.SafeLoader.construct_yaml_int),
    ("float", yaml.SafeLoader.construct_yaml_float),
):
    _PlainLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _plain_number(_construct))

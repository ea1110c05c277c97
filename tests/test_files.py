"""Small files of others: what is no plain data, too large or no file at all is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plm_core.files import MAX_YAML_BYTES, parse_yaml, read_json, read_json_object, read_text, read_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 2: the key 'a' is given twice"),
        ("a: &x 1", "anchors"),
        ("a: *x", "anchors"),
        ("a: !!python/object:os.system x", "the tag"),
        ("a: 010", "without leading zeros"),
        ("a: 1:30", "without leading zeros and colons"),
        ("<<: {a: 1}", "expected a name as key"),
        ("a: 1\n---\na: 2", "a second document"),
        ("[" * 10_000, "levels of nesting"),
        ("a: [1", "not valid YAML"),
        ("a" * (MAX_YAML_BYTES + 1), "too long"),
    ],
)
def test_yaml_that_is_easily_misread_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)


def test_plain_yaml_is_read_and_dates_stay_text() -> None:
    text = "a: 1\nb: [1.5, x, null, true]\nc: {d: 2024-01-01}\n"
    assert parse_yaml(text) == {"a": 1, "b": [1.5, "x", None, True], "c": {"d": "2024-01-01"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' is given twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{", "is damaged"),
        (b"caf\xe9", "byte 0xe9 at position 3"),
        (b"", "is damaged"),
    ],
)
def test_json_that_is_damaged_is_refused_by_the_name_of_its_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.json.*{message}"):
        read_json(tmp_path / "x.json")


def test_a_value_that_is_no_object_is_refused_where_one_is_expected(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ValueError, match="expected an object with keys, found list"):
        read_json_object(tmp_path / "x.json")


def test_a_pipe_a_device_and_a_folder_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="no regular file"):
            read_yaml(path)
    with pytest.raises(FileNotFoundError, match="it is a folder"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no thing at .*nothing"):
        read_text(tmp_path / "nothing", "thing")
    with pytest.raises(ValueError, match="cannot be the path"):
        read_text(tmp_path / "a\0b")


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(101))
    with pytest.raises(ValueError, match="at most 100 bytes"):
        read_text(tmp_path / "x", max_bytes=100)

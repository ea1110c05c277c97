"""Tables: three formats give the same rows, and whatever is wrong is said in one message that names the line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plm_core.data.label_names import LabelNames
from plm_core.data.tables import LABEL_COLUMNS, TEXT_COLUMNS, read_lines, read_table

ROWS = [
    {"text": "Ann runs.", "label": "1"},
    {"text": 'She said "no", twice', "label": "0"},
    {"text": "空 ☃", "label": "1"},
]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_three_formats_give_the_same_rows(tmp_path):
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(ROWS)
    written(tmp_path / "a.tsv", "text\tlabel\r\n" + "".join(f"{r['text']}\t{r['label']}\r\n" for r in ROWS))
    lines = [json.dumps({"text": r["text"], "label": int(r["label"])}, ensure_ascii=False) for r in ROWS]
    written(tmp_path / "a.jsonl", "\n".join(lines) + "\n\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    for name in ("a.csv", "a.tsv", "a.jsonl", "b.csv.gz"):
        table = read_table(tmp_path / name)
        assert list(table.rows) == ROWS
        assert table.columns == ("text", "label")
        assert table.column("label") == ["1", "0", "1"]
        assert len(table) == 3
    assert table.find(TEXT_COLUMNS, "text") == "text"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_every_csv_file_of_pythons_comes_back(tmp_path, rows):
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a", "b"], *rows])
    assert [list(row.values()) for row in read_table(path).rows] == rows


def test_a_field_may_hold_line_ends_and_lines_are_counted_with_them(tmp_path):
    table = read_table(written(tmp_path / "a.csv", 'text,label\n"two\nlines",x\nplain,y\n'))
    assert table.column("text") == ["two\nlines", "plain"]
    assert table.lines == (3, 4)
    assert read_table(written(tmp_path / "b.csv", "text;label\na,b;x\n"), delimiter=";").rows[0]["text"] == "a,b"
    assert read_table(written(tmp_path / "c.txt", "text,label\na,x\n"), format="csv").rows[0]["label"] == "x"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "text,label\na,b,c\n",
            r"a.csv, line 2: 3 fields, but the header names 2 \(text, label\): put fields",
        ),
        ("a.tsv", "text\tlabel\n\na\n", r"a.tsv, line 3: 1 fields, but the header names 2"),
        ("a.csv", "text,label\n", "a.csv holds no row besides its header"),
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "text;label\na;b\n", r"the header has one column, 'text;label'; do its fields end in ';'"),
        ("a.csv", "text,text\na,b\n", "the header names the column 'text' twice"),
        ("a.csv", "text,\na,b\n", "column 2 of the header has no name"),
        ("a.csv", 'text,label\n"a,b\n', "a.csv, line 2: not a CSV file: unexpected end of data"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl, line 1: expected an object with names, got list"),
        ("a.jsonl", '{"text": ["a"]}\n', "a.jsonl, line 1: 'text' holds a list, expected text or a number"),
        ("a.jsonl", "\n\n", "a.jsonl holds no row"),
        ("a.xlsx", "x", "expected a file that ends in .csv, .tsv, .jsonl"),
        ("a.csv", "text,label\na\0,b\n", "holds a NUL byte"),
        ("a.csv", b"text,label\ncaf\xe9,b\n", "is not UTF-8: byte 0xe9"),
        ("a.csv", "text,label\ncafé,b\n".encode() + b"caf\xe9,b\n", "mixes encodings: line 3 is not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_message(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_table(written(tmp_path / name, content))


def test_mixed_encodings_are_told_far_into_a_file(tmp_path):
    good = "text,label\n" + "naïve,b\n" * 200_000  # more than one block
    path = written(tmp_path / "a.csv", good.encode() + b"plain,b\nna\xefve,b\n")
    with pytest.raises(ValueError, match="line 200003 is not UTF-8"):
        list(read_lines(path))
    with pytest.raises(FileNotFoundError, match="no text file at"):
        read_table(tmp_path / "none.csv")


def test_missing_columns_and_values_are_named(tmp_path):
    table = read_table(written(tmp_path / "a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": null}\n'))
    with pytest.raises(ValueError, match=r"a.jsonl has no column 'labels': did you mean 'label'"):
        table.column("labels")
    with pytest.raises(ValueError, match="has no column 'gold': its columns are text, label"):
        table.column("gold")
    with pytest.raises(ValueError, match=r"a.jsonl, line 2: the column 'label' is empty"):
        table.column("label")
    other = read_table(written(tmp_path / "b.csv", "a,b\n1,2\n"))
    with pytest.raises(ValueError, match="no column for the label was named, and none is called label or class or"):
        other.find(LABEL_COLUMNS, "label")


def test_classes_are_numbered_in_order_and_wrong_ones_are_named():
    assert LabelNames.of(["neg", "pos", "neg"], "train.csv").names == ("neg", "pos")
    names = LabelNames.of(["10", "9", "2"], "train.csv")
    assert names.names == ("2", "9", "10")
    assert names.ids(["10", "2"], "test.csv") == [2, 0]
    assert len(names) == 3
    with pytest.raises(ValueError, match=r"train.csv: every example is 'pos': there is one class only"):
        LabelNames.of(["pos", "pos"], "train.csv")
    with pytest.raises(ValueError, match=r"train.csv: there is no example"):
        LabelNames.of([], "train.csv")
    with pytest.raises(
        ValueError, match=r"test.csv: example 2 has the unknown label 'postive': did you mean 'positive'"
    ):
        LabelNames(("negative", "positive")).ids(["negative", "postive"], "test.csv")
    with pytest.raises(ValueError, match=r"unknown label 'x': the classes are c0, c1, c2, .* and 2 more"):
        LabelNames(tuple(f"c{n}" for n in range(12))).ids(["x"], "test.csv")
    with pytest.raises(ValueError, match="the class 'a' is named twice"):
        LabelNames(("a", "a"))
    with pytest.raises(ValueError, match="at least two classes, got 'a'"):
        LabelNames(("a",))

"""Documents: the same rule whatever the line ends and the blocks, every line found, nothing between them lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data import texts
from plm_core.data.documents import RULES, document_parts, documents_as_text, sentences
from plm_core.data.texts import read_blocks

TEXT = "\n\n".join(f"first sentence {n} .\nsecond sentence {n} ." for n in range(12))


def documents(text, rule, **options):
    return list(documents_as_text(document_parts([[text]], rule, **options)))


def lines(parts):
    """The lines of all documents, put together from the parts."""
    found = []
    for part in parts:
        if part.begins_line:
            found.append(part.text.lstrip())
        elif part.text.strip():
            found[-1] += part.text
    return found


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("change", [("\n", "\r\n"), ("\n", "\r"), ("\n\n", "\n \t\n"), ("\n\n", "\n\u3000\n\n")])
def test_documents_and_lines_do_not_depend_on_the_kind_of_line_end(tmp_path, monkeypatch, rule, change):
    monkeypatch.setattr(texts, "BLOCK_BYTES", 7)  # falls between \r and \n
    paths = tmp_path / "plain", tmp_path / "changed"
    for path, content in zip(paths, (TEXT, TEXT.replace(*change)), strict=True):
        path.write_bytes(content.encode())
    plain, changed = (list(document_parts([read_blocks(path)], rule)) for path in paths)
    assert lines(changed) == lines(plain)
    assert len(lines(plain)) == 24
    assert [part.ends_document for part in changed] == [part.ends_document for part in plain]
    assert sum(part.ends_document for part in plain) == {"stream": 1, "file": 1, "blank_line": 12, "line": 24}[rule]


def test_nothing_but_a_line_end_ends_a_line():
    text = "one\u2028sentence\x0cwith\x85marks\x1c1\nsecond"
    assert documents(text, "line") == ["one\u2028sentence\x0cwith\x85marks\x1c1", "second"]
    assert lines(document_parts([[text]], "stream")) == ["one\u2028sentence\x0cwith\x85marks\x1c1", "second"]


@given(st.text("ab \n\n\té\u0301中", max_size=80), st.sampled_from(RULES), st.integers(2, 9), st.integers(0, 80))
@settings(max_examples=400, deadline=None)
def test_documents_do_not_depend_on_blocks_and_parts(text, rule, characters, place):
    whole = documents(text, rule)
    in_blocks = document_parts([[text[:place], text[place:]]], rule, characters=characters)
    assert list(documents_as_text(in_blocks)) == whole
    if rule in ("stream", "file"):
        assert whole == ([text] if text.strip() else [])
    if rule == "line":
        assert whole == [line.rstrip() for line in text.split("\n") if line.strip()]


def test_files_are_documents_of_their_own_except_in_a_stream():
    files = [["one\n"], [" \n"], ["two", "\n\nthree"]]
    assert list(documents_as_text(document_parts(files, "file"))) == ["one\n", "two\n\nthree"]
    assert list(documents_as_text(document_parts(files, "blank_line"))) == ["one", "two", "three"]
    assert list(documents_as_text(document_parts(files, "stream"))) == ["one\n \ntwo\n\nthree"]
    assert list(documents_as_text(document_parts([["a"], ["b"]], "stream"))) == ["a\nb"], "files do not run together"


def test_a_document_of_any_size_is_streamed():
    blocks = ("word " * 200 for _ in range(100))
    assert max(len(part.text) for part in document_parts([blocks], "blank_line", characters=500)) <= 500


def test_paragraphs_are_cut_into_sentences_in_english_and_chinese():
    assert sentences('It rains. Does it? "Yes." He paid 3.50 today!') == [
        "It rains.", "Does it?", '"Yes."', "He paid 3.50 today!",
    ]  # fmt: skip
    assert sentences("他来了。她说：“好！”然后走了？") == ["他来了。", "她说：“好！”", "然后走了？"]
    assert sentences("no end") == ["no end"]

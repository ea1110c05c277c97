"""A new chapter takes its place in the table of contents and replaces nothing; `test_contributing` runs one."""

from __future__ import annotations

import pytest
import yaml

from book.__main__ import main
from book.tool.chapters import BookError
from book.tool.scaffold import new_chapter, with_chapter, with_entry, with_package
from book.tool.toc import Entry

TOC = """\
# A comment that stays.
format: jb-book
root: book/intro
parts:
  - caption: Start here
    chapters:
      - file: book/how_to
  - caption: II
    chapters:
      - file: chapters/05_e
      - file: chapters/07_g
  - caption: Reference
    chapters:
      - file: book/api/index
        sections:
          - file: book/api/data
"""
PARTS = ["I", "II", "II", "III"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("curriculum", "'curriculum' is not a chapter's name"),
        ("11-Curriculum", "'11-Curriculum' is not a chapter's name"),
        ("../11_x", "'../11_x' is not a chapter's name"),
        ("11_curiculum", "11_curiculum is not on the map of the book. Did you mean 11_curriculum?"),
        ("98_unheard_of", "98_unheard_of is not on the map of the book. Say what to add: --part, --title and --about"),
        ("01_lines", "chapter 01_lines is already there: edit chapters/01_lines.md"),
    ],
)
def test_bad_names_are_refused_and_nothing_is_written(tiny, capsys, name, message) -> None:
    before = sorted(tiny.root.rglob("*"))
    assert main(["new", name], tiny.root) == 2
    assert message in capsys.readouterr().err
    assert sorted(tiny.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("98_unheard_of", "VIII. Elsewhere", "there is no part 'VIII. Elsewhere'. Parts: I. Foundations, "),
        ("11_curriculum", "III. Pretraining", "11_curriculum is on the map already"),
    ],
)
def test_an_entry_of_the_map_is_neither_doubled_nor_lost(tiny, capsys, name, part, message) -> None:
    before = tiny.path("book/map.yml").read_text()
    assert main(["new", name, "--part", part, "--title", "T", "--about", "a"], tiny.root) == 2
    assert message in capsys.readouterr().err
    assert tiny.path("book/map.yml").read_text() == before


def test_an_entry_is_added_to_the_map_in_order(root) -> None:
    text = (root / "book" / "map.yml").read_text(encoding="utf-8")
    lines = with_entry(text, Entry("08b_memory", 'Memory: "long"', "a, b", "II. The Transformer")).splitlines()
    added = lines.index('    08b_memory: ["Memory: \\"long\\"", "a, b"]')
    assert lines[added - 1].startswith("    08_")
    assert lines[added + 1] == "- part: III. Pretraining"
    assert lines[:added] + lines[added + 1 :] == text.splitlines()


def test_a_list_of_packages_that_cannot_be_read_is_left_alone() -> None:
    with pytest.raises(BookError, match="has no list `packages"):
        with_package('packages = ["a"]\n', "b")


def test_nothing_is_overwritten(tiny) -> None:
    tiny.path("chapters/checks/curriculum").mkdir(exist_ok=True)
    tiny.path("chapters/checks/curriculum/basics.py").write_text("# mine")
    with pytest.raises(BookError, match=r"chapters/checks/curriculum/basics\.py already there"):
        new_chapter(tiny.root, "11_curriculum")
    assert tiny.path("chapters/checks/curriculum/basics.py").read_text() == "# mine"
    assert not tiny.path("chapters/11_curriculum.md").exists()


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (Entry("06_f", "", "", "II"), ("II", ["chapters/05_e", "chapters/06_f", "chapters/07_g"])),
        (Entry("01_a", "", "", "I"), ("I", ["chapters/01_a"])),
        (Entry("09_i", "", "", "III"), ("III", ["chapters/09_i"])),
    ],
)
def test_a_chapter_is_put_in_its_part_in_order(entry, place) -> None:
    text = with_chapter(TOC, entry, PARTS)
    contents = yaml.safe_load(text)
    assert text.startswith("# A comment that stays.\nformat: jb-book\n")
    listed = [(part["caption"], [each["file"] for each in part["chapters"]]) for part in contents["parts"]]
    assert place in listed
    captions = [caption for caption, _ in listed]
    assert captions == sorted(captions, key=["Start here", "I", "II", "III", "Reference"].index)
    # Everything else stays as it was, to the letter.
    added = set(text.splitlines()) - set(TOC.splitlines())
    assert added <= {f"  - caption: {entry.part}", f"      - file: chapters/{entry.name}"}

"""A new chapter runs, passes the check and stands in the table of contents as it is."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from book.__main__ import main
from book.tool.chapters import BookError
from book.tool.execute import execute
from book.tool.scaffold import new_chapter, with_chapter
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


def test_a_new_chapter_runs_and_passes_the_check(tiny) -> None:
    (tiny.root / "book" / "_toc.yml").write_text(TOC)
    command = [sys.executable, "-m", "book", "new", "11_curriculum"]
    done = subprocess.run(command, cwd=tiny.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (
        "chapters/11_curriculum.md",
        "chapters/experiments/11_curriculum.py",
        "chapters/experiments/results/11_curriculum.laptop.json",
        "chapters/exercises/11_curriculum.md",
        "chapters/exercises/wrong/11_curriculum.py",
        "chapters/checks/curriculum/basics.py",
    ):
        assert tiny.path(path).is_file()
        assert path in done.stdout
        assert "[[" not in tiny.path(path).read_text() or path.endswith(".json")
    execute(tiny.root, ["11"])
    assert tiny.findings("11") == []
    parts = yaml.safe_load(tiny.path("book/_toc.yml").read_text())["parts"]
    assert {"caption": "III. Pretraining", "chapters": [{"file": "chapters/11_curriculum"}]} in parts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("curriculum", "'curriculum' is not a chapter's name"),
        ("11-Curriculum", "'11-Curriculum' is not a chapter's name"),
        ("../11_x", "'../11_x' is not a chapter's name"),
        ("11_curiculum", "11_curiculum is not on the map of the book. Did you mean 11_curriculum?"),
        ("98_unheard_of", "98_unheard_of is not on the map of the book. Add its title"),
        ("01_lines", "chapter 01_lines is already there: edit chapters/01_lines.md"),
    ],
)
def test_bad_names_are_refused_and_nothing_is_written(tiny, capsys, name, message) -> None:
    before = sorted(tiny.root.rglob("*"))
    assert main(["new", name], tiny.root) == 2
    assert message in capsys.readouterr().err
    assert sorted(tiny.root.rglob("*")) == before


def test_nothing_is_overwritten(tiny) -> None:
    tiny.path("chapters/checks/curriculum").mkdir()
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
def test_place_in_the_table_of_contents(entry, place) -> None:
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

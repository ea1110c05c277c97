"""A tiny book to edit: the real build tool and library, and two short chapters, executed once."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from book.tool.chapters import find_chapters, read_notebook, setup_block, write_atomically
from book.tool.check import Finding, find_all
from book.tool.classroom import assemble
from book.tool.execute import execute
from book.tool.exercise_rules import student_path
from book.tool.notebooks import prepare, save
from book.tool.scaffold import chapter_files
from book.tool.stamp import KEY
from book.tool.toc import Entry

HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""

FIRST = """\
# Lines

A {term}`mask` says what counts {cite:p}`vaswani2017attention`.

```{code-cell} ipython3
:tags: [setup]

SETUP
import matplotlib.pyplot as plt

from plm_chapters.notebook import glue, use_figure_style

use_figure_style()
```

```{code-cell} ipython3
---
mystnb:
  image:
    alt: "A line that rises."
---
plt.plot([1, 2, 4]);
```

```{code-cell} ipython3
:tags: [nbval-ignore-output]

ratio = 4 / 2
glue("ratio", ratio, ".2f")
```

```{code-cell} ipython3
assert ratio == 2
```

The line rises by a factor of {glue:text}`ratio`.
"""

SECOND = """\
# Settings

```{code-cell} ipython3
:tags: [setup]

SETUP
from dataclasses import dataclass

from plm_core.config import Config
```

```{code-cell} ipython3
:tags: [raises-exception]

@dataclass(frozen=True)
class Width(Config):
    value: int

Width.from_dict({"values": 1})
```
"""

LINES, SETTINGS = "01_lines", "02_settings"


@dataclass(frozen=True)
class TinyBook:
    """A copy of the tiny book, and short ways to edit and check it."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name

    def edit(self, name: str, old: str, new: str) -> int:
        """Replace a text that occurs once in a file; return the line where it stood."""
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return text[: text.index(old)].count("\n") + 1

    def line(self, name: str, words: str) -> int:
        """The first line of a file that holds some words."""
        lines = (self.root / name).read_text(encoding="utf-8").splitlines()
        return next(number for number, line in enumerate(lines, 1) if words in line)

    def pretend_executed(self, name: str) -> None:
        """Let the notebook agree with an edited text without running it; the outputs stay where they are."""
        chapter = find_chapters(self.root, [name])[0]
        old, fresh = read_notebook(chapter.notebook), prepare(chapter)
        for cell, before in zip(fresh.cells, old.cells, strict=True):
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = before.outputs, before.execution_count
        save(chapter, fresh, old.metadata[KEY])

    def findings(self, *names: str) -> list[Finding]:
        return find_all(self.root, find_chapters(self.root, names))

    def said(self) -> list[tuple[str, int, str]]:
        """Every finding as path, line and message."""
        findings = self.findings()
        assert all(finding.mend for finding in findings)
        return [(finding.path, finding.line, finding.message) for finding in findings]


@pytest.fixture(scope="session")
def executed_book(root: Path, once_per_run: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The tiny book, executed; nobody edits this one."""
    return once_per_run("tiny_book", lambda folder: make_book(root, folder / "book")) / "book"


def make_book(root: Path, made: Path) -> None:
    """Write the tiny book, with its exercises, and execute it."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.ipynb")
    for folder in ("book", "plm_core"):
        shutil.copytree(root / folder, made / folder, ignore=unwanted)
    (made / "book" / "_toc.yml").unlink()  # its pages are checked elsewhere
    for file in ("constraints.txt", "_config.yml"):
        shutil.copy(root / file, made)
    experiments = made / "chapters" / "experiments"
    (experiments / "results").mkdir(parents=True)
    for file in ("__init__.py", "notebook.py", "experiments/__init__.py"):
        shutil.copy(root / "chapters" / file, made / "chapters" / file)
    shutil.copytree(root / "chapters" / "checks", made / "chapters" / "checks", ignore=unwanted)
    # An installation maps plm_chapters to chapters; for a copy on the path a link does the same.
    (made / "plm_chapters").symlink_to("chapters")
    for name, text in ((LINES, FIRST), (SETTINGS, SECOND)):
        filled = HEADER + text.replace("SETUP\n", setup_block(made))
        (made / "chapters" / f"{name}.md").write_text(filled, encoding="utf-8")
        for path, written in chapter_files(made, Entry(name, "Tiny", "", "")).items():
            if path.startswith("chapters/exercises/"):
                write_atomically(made / path, written)
        shutil.copy(root / "chapters/exercises/assignment.yml", made / "chapters/exercises")
        with tempfile.TemporaryDirectory() as scratch:
            write_atomically(student_path(made, name), assemble(made, name, Path(scratch)).student)
    execute(made)


@pytest.fixture
def tiny(executed_book: Path, tmp_path: Path) -> TinyBook:
    """A fresh copy of the executed tiny book."""
    copy = tmp_path / "book"
    shutil.copytree(executed_book, copy, symlinks=True)
    return TinyBook(copy)


@pytest.fixture
def says() -> Callable[[list[tuple[str, int, str]], str, int, str], None]:
    """Assert that there is exactly one finding, at a place, whose message matches."""

    def exactly(said: list[tuple[str, int, str]], path: str, line: int, pattern: str) -> None:
        assert len(said) == 1, said
        assert said[0][:2] == (path, line)
        assert re.search(pattern, said[0][2]), said[0][2]

    return exactly

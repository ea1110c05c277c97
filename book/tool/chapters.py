"""Chapters on disk: which there are, the text that people edit, and the executed notebook beside it."""

from __future__ import annotations

import difflib
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import nbformat

ROOT = Path(__file__).resolve().parents[2]
"""The repository that holds this tool."""

PATTERN = "[0-9A][0-9]_*"
"""Numbered chapters (``05_attention``) and appendices (``A1_storyworld``)."""


class BookError(Exception):
    """Something that the person at the keyboard can mend: shown as one message, without a traceback."""

    exit_code = 2


class ChapterFailed(BookError):
    """A chapter or an experiment was run and did not succeed."""

    exit_code = 1


class BrokenText(BookError):
    """A text cannot be read; ``line`` is the place, counted from 1."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path.name}:{line}: {message}")
        self.path, self.line, self.message = path, line, message


@dataclass(frozen=True, order=True)
class Chapter:
    """One chapter of the book at ``root``, known by the stem of its files, for example ``"05_attention"``."""

    root: Path
    name: str

    @property
    def text(self) -> Path:
        """The MyST file that people edit and review."""
        return self.root / "chapters" / f"{self.name}.md"

    @property
    def notebook(self) -> Path:
        """The executed pair, which the site shows and the tests run again."""
        return self.root / "chapters" / f"{self.name}.ipynb"

    @property
    def exercises(self) -> Path:
        """The master file of the chapter's exercises."""
        return self.root / "chapters" / "exercises" / f"{self.name}.md"

    @property
    def number(self) -> str:
        """``"05"`` of ``"05_attention"``."""
        return self.name.partition("_")[0]

    @property
    def is_appendix(self) -> bool:
        """Whether this is an appendix, which needs no exercises."""
        return self.name.startswith("A")

    def shown(self, path: Path) -> str:
        """A path as messages show it: relative to the repository."""
        return path.relative_to(self.root).as_posix()


def find_chapters(root: Path, names: Iterable[str] = ()) -> list[Chapter]:
    """Return the named chapters, or all of them, in the order of the book.

    Args:
        root: the repository.
        names: names, numbers or paths (``05_attention``, ``05``, ``chapters/05_attention.md``); empty means all.

    Raises:
        BookError: no chapter has one of these names.
    """
    folder = root / "chapters"
    known = {path.stem for suffix in (".md", ".ipynb") for path in folder.glob(PATTERN + suffix)}
    wanted: list[str] = []
    for name in names:
        stem = Path(name).name.removesuffix(".md").removesuffix(".ipynb")
        found = [stem] if stem in known else [each for each in known if each.partition("_")[0] == stem]
        if not found:
            near = difflib.get_close_matches(stem, known, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]}?" if near else ""
            listed = ", ".join(sorted(known)) or "none yet"
            raise BookError(f"there is no chapter {name!r}.{hint} Chapters: {listed}")
        wanted += found
    return [Chapter(root, name) for name in sorted(set(wanted) if wanted else known)]


def read_text(path: Path) -> nbformat.NotebookNode:
    """Read a MyST file as a notebook; ``cell.metadata.line`` is the line on which each cell starts, from 1.

    Raises:
        BookError: the file is missing or is not valid MyST.
        BrokenText: a fence is not closed, so that prose would be read as code or code as prose.
    """
    from jupytext.myst import MystMetadataParsingError, myst_to_notebook

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BookError(f"{path} is missing: restore it, or remove the notebook that belongs to it") from None
    lines = text.splitlines()
    if broken := broken_fence(lines):
        raise BrokenText(path, *broken)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notebook = myst_to_notebook(text, add_source_map=True)
    except MystMetadataParsingError as error:
        raise BookError(f"{path}: {error}") from None
    for cell, line in zip(notebook.cells, notebook.metadata.pop("source_map"), strict=True):
        if cell.cell_type == "markdown":
            while line < len(lines) and not lines[line].strip():
                line += 1
            line += 1
        cell.metadata["line"] = line
    return notebook


def broken_fence(lines: Sequence[str]) -> tuple[int, str] | None:
    """The first fence that is not closed before the next one or the end: its line, from 1, and what is wrong."""
    opened, length = 0, 0
    for number, line in enumerate(lines, 1):
        fence = re.match(r" {0,3}(`{3,})([^`]*)$", line)
        if fence is None:
            continue
        if not opened:
            opened, length = number, len(fence[1])
        elif len(fence[1]) >= length and not fence[2].strip():
            opened = 0
        elif fence[2].strip():
            return opened, f"this fence is not closed before the next one, in line {number}: add a line of backticks"
    return (opened, "this fence is not closed before the end of the file: add a line of backticks") if opened else None


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read an executed notebook.

    Raises:
        BookError: it is missing or damaged.
    """
    import nbformat

    if not path.exists():
        raise BookError(f"{path} is missing: run `python -m book execute {path.stem}`")
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, OSError, AttributeError, KeyError) as error:
        raise BookError(f"{path} cannot be read as a notebook ({error}): delete it and execute again") from None


ROLES = {"setup": "hide-input", "plot": "hide-input", "check": "hide-input", "glue": "remove-cell"}
"""Tags that say what a cell is for, and the tag by which MyST-NB shows it so: folded, or not at all."""

EXECUTION_TAGS = {"raises-exception", "skip-execution"}
"""Tags that change what a cell does; all others change only how it is shown or tested."""


def shown_tags(tags: Iterable[str]) -> list[str]:
    """Tags as the executed notebook carries them: those of the author, and those that follow from a cell's role."""
    written = list(tags)
    return list(dict.fromkeys(written + [ROLES[tag] for tag in written if tag in ROLES]))


def body(cell: nbformat.NotebookNode) -> tuple[str, str, dict[str, Any]]:
    """What text and notebook must agree on: kind, source and metadata of a cell, apart from tags that others imply."""
    own = {key: value for key, value in cell.metadata.items() if key not in ("line", "execution")}
    implied = {ROLES[tag] for tag in tags_of(cell) if tag in ROLES}
    if implied:
        own["tags"] = [tag for tag in tags_of(cell) if tag not in implied]
    return cell.cell_type, cell.source.strip(), own


def code_of(notebook: nbformat.NotebookNode) -> list[tuple[str, list[str]]]:
    """What decides about the outputs: the source of every code cell, in order, and the tags that change its work."""
    return [
        (cell.source.strip(), sorted(EXECUTION_TAGS & set(tags_of(cell))))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def tags_of(cell: nbformat.NotebookNode) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that an interruption leaves the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def within(root: Path, path: str) -> str | None:
    """A path relative to the repository, or ``None`` if it lies outside."""
    try:
        return Path(path).resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return None


def repository_url(root: Path) -> str:
    """The address of the repository; ``_config.yml`` is the only place where it stands.

    Raises:
        BookError: the file or the entry ``repository: url`` is missing.
    """
    path = root / "_config.yml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        return str(config["repository"]["url"]).rstrip("/")
    except FileNotFoundError:
        raise BookError(f"{path} is missing: it holds the address of the repository") from None
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise BookError(f"{path} has no readable entry `repository: url` ({error})") from None


SETUP = """\
import importlib.util, os
if importlib.util.find_spec("plm_core") is None:  # on Colab or in an empty environment
    source = os.environ.get("PLM_SOURCE", "git+{url}")
    %pip install --quiet "plm-core @ {{source}}"
"""


def setup_block(root: Path) -> str:
    """The first lines of every set-up cell: they install ``plm_core`` where it is missing."""
    return SETUP.format(url=repository_url(root))


def setup_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The cell that carries the tag ``setup``, if there is one."""
    return next((cell for cell in notebook.cells if "setup" in tags_of(cell)), None)


def refresh_setup(root: Path, path: Path) -> bool:
    """Bring the first lines of a file's set-up cell up to date with the repository's address; say if they changed."""
    cell = setup_cell(read_text(path))
    block = setup_block(root)
    if cell is None or cell.source.startswith(block.rstrip()):
        return False
    old = re.match(r"\A(?:.*\n)*?[ \t]*%pip install.*(?:\n|\Z)", cell.source)
    source = block + (cell.source[old.end() :] if old else cell.source)
    text = path.read_text(encoding="utf-8")
    if text.count(cell.source) != 1:
        raise BookError(f"{path.relative_to(root)}:{cell.metadata.line}: the set-up cell must begin with\n{block}")
    write_atomically(path, text.replace(cell.source, source.rstrip("\n")))
    return True

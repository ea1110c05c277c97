"""The stamp of an executed notebook: hashes of everything that its outputs depend on.

A chapter is stale when its text, a module of the library or of the chapters that it really imported, a file of theirs
that it really opened, or the pinned set has changed. All of this is read from the kernel after the run and kept in the
notebook's metadata under ``plm``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from book.tool import modules
from book.tool.chapters import BookError, Chapter, body, code_of, read_notebook, read_text, tags_of

if TYPE_CHECKING:
    import nbformat

KEY = "plm"


def text_hash(text: str) -> str:
    """SHA-256 of a text; the kind of line ending makes no difference."""
    return hashlib.sha256(text.replace("\r\n", "\n").replace("\r", "\n").encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file; the kind of line ending makes no difference."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")).hexdigest()


def opened_hash(path: Path) -> str:
    """SHA-256 of a file that a chapter opened; of stored results, only what a chapter can show counts.

    The hashes of the library in a results file say on what its runs depended, and change when a module is renamed.
    """
    if path.parent.name == "results" and path.suffix == ".json":
        results = json.loads(path.read_text(encoding="utf-8"))
        results.pop("library", None)
        return text_hash(json.dumps(results, sort_keys=True))
    return file_hash(path)


def pins_hash(root: Path) -> str:
    """SHA-256 of the pinned set; comments and order make no difference."""
    path = root / "constraints.txt"
    if not path.exists():
        raise BookError(f"{path} is missing: it holds the pinned set")
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return text_hash("\n".join(sorted(line for line in lines if line)))


def cells_hash(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of what a person may edit in a notebook: kind, source and metadata of every cell."""
    return text_hash(json.dumps([body(cell) for cell in notebook.cells], sort_keys=True))


def changed_files(root: Path, recorded: Mapping[str, str]) -> list[str]:
    """Say which of the recorded files (path in the repository: hash) are not what they were, one sentence each."""
    reasons = []
    for name, old in sorted(recorded.items()):
        path = root / name
        if not path.is_file():
            reasons.append(f"{name} is gone")
        elif opened_hash(path) != old:
            reasons.append(f"{name} changed")
    return reasons


def failed_cells(notebook: nbformat.NotebookNode) -> list[int]:
    """Positions of code cells that ended in an error which is not expected (tag ``raises-exception``)."""
    return [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        and "raises-exception" not in tags_of(cell)
        and any(output.output_type == "error" for output in cell.outputs)
    ]


def unexecuted_cells(notebook: nbformat.NotebookNode) -> list[int]:
    """Positions of code cells that were not executed although they should have been."""
    return [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        and cell.source.strip()
        and cell.execution_count is None
        and "skip-execution" not in tags_of(cell)
    ]


def run_reasons(chapter: Chapter, notebook: nbformat.NotebookNode, *, preset: str | None = None) -> list[str]:
    """Why the outputs of an executed notebook can no longer be trusted, the text apart; empty if they can."""
    stamp = notebook.metadata.get(KEY)
    if not stamp:
        return ["never executed by this tool"]
    reasons = []
    if failed_cells(notebook):
        reasons.append("executed with an error")
    if unexecuted_cells(notebook):
        reasons.append("not wholly executed")
    reasons += modules.changed_modules(chapter.root, stamp.get("modules", {}))
    reasons += changed_files(chapter.root, stamp.get("files", {}))
    if stamp.get("pins") != pins_hash(chapter.root):
        reasons.append("pinned set changed")
    if preset and stamp.get("preset") != preset:
        reasons.append(f"executed with preset {stamp.get('preset')}, not {preset}")
    return reasons


def edited_by_hand(notebook: nbformat.NotebookNode) -> bool:
    """Whether somebody edited the cells of an executed notebook since it was stamped."""
    stamp = notebook.metadata.get(KEY)
    return bool(stamp) and stamp.get("cells") != cells_hash(notebook)


def in_sync(text: nbformat.NotebookNode, notebook: nbformat.NotebookNode) -> bool:
    """Whether text and notebook hold the same cells."""
    return [body(cell) for cell in text.cells] == [body(cell) for cell in notebook.cells]


def stale_reasons(chapter: Chapter, *, preset: str | None = None) -> tuple[list[str], bool]:
    """Why a chapter is stale, and whether it must be run for that.

    Prose may change without touching what the code prints: then the new text is taken over and nothing runs.

    Raises:
        BookError: the text is missing, or the notebook was edited and its text was not.
    """
    text = read_text(chapter.text)
    if not chapter.notebook.exists():
        return ["never executed"], True
    notebook = read_notebook(chapter.notebook)
    if edited_by_hand(notebook) and not in_sync(text, notebook):
        raise BookError(
            f"{chapter.shown(chapter.notebook)} was edited, {chapter.shown(chapter.text)} was not: take the edit over "
            f"with `jupytext --to md:myst {chapter.shown(chapter.notebook)}`, or drop it with "
            f"`python -m book execute --force {chapter.name}`"
        )
    reasons = run_reasons(chapter, notebook, preset=preset)
    must_run = bool(reasons)
    if code_of(text) != code_of(notebook):
        reasons.insert(0, "code changed")
        must_run = True
    elif notebook.metadata.get(KEY, {}).get("text") != text_hash(
        chapter.text.read_text(encoding="utf-8")
    ) or not in_sync(text, notebook):
        reasons.insert(0, "text changed, its code did not")
    return reasons, must_run

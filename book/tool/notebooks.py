"""Write executed notebooks: from a chapter's text, with the outputs of a run and the stamp of what they depend on."""

from __future__ import annotations

from typing import Any

import nbformat

from book.tool import stamp
from book.tool.chapters import Chapter, read_notebook, read_text, shown_tags, tags_of, write_atomically


def take_over_text(chapter: Chapter) -> None:
    """Put changed prose into the executed notebook; its outputs stay, because its code did not change."""
    old = read_notebook(chapter.notebook)
    fresh = prepare(chapter)
    outputs = [cell for cell in old.cells if cell.cell_type == "code"]
    for cell, executed in zip((c for c in fresh.cells if c.cell_type == "code"), outputs, strict=True):
        cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
    fresh.metadata.update({key: old.metadata[key] for key in ("language_info", stamp.KEY) if key in old.metadata})
    save(chapter, fresh, fresh.metadata[stamp.KEY])


def prepare(chapter: Chapter) -> nbformat.NotebookNode:
    """The chapter's text as a notebook without outputs, its cells named after their content."""
    notebook = read_text(chapter.text)
    header = notebook.metadata.get("jupytext")
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    if header:
        notebook.metadata["jupytext"] = header
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        cell.metadata.pop("line")
        if tags_of(cell):
            cell.metadata["tags"] = shown_tags(tags_of(cell))
        digest = stamp.text_hash(f"{cell.cell_type}\n{cell.source}")[:8]
        seen[digest] = seen.get(digest, -1) + 1
        cell.id = f"{digest}-{seen[digest]}" if seen[digest] else digest
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def save(chapter: Chapter, notebook: nbformat.NotebookNode, details: dict[str, Any]) -> None:
    """Stamp a notebook with the hash of its text and write it."""
    notebook.metadata[stamp.KEY] = dict(details) | {
        "text": stamp.text_hash(chapter.text.read_text(encoding="utf-8")),
        "cells": stamp.cells_hash(notebook),
    }
    write_atomically(chapter.notebook, nbformat.writes(notebook) + "\n")

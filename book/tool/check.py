"""The gate: everything that a machine can see about the agreement of text, notebook, library, sources and exercises."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from book.tool import rules, stamp
from book.tool.chapters import (
    BookError,
    BrokenText,
    Chapter,
    body,
    code_of,
    find_chapters,
    read_notebook,
    read_text,
    setup_block,
    setup_cell,
    tags_of,
)
from book.tool.modules import changed_modules
from book.tool.toc import MAP, TOC, toc_problems


@dataclass(frozen=True, order=True)
class Finding:
    """Something wrong at a place, and the command or edit that mends it. A warning alone does not close the gate."""

    path: str
    line: int
    message: str
    mend: str
    warning: bool = False

    def __str__(self) -> str:
        kind = "warning: " if self.warning else ""
        return f"{self.path}:{self.line}: {kind}{self.message} (mend: {self.mend})"


def check(root: Path, names: Sequence[str] = ()) -> int:
    """Check the named chapters, or all, print every finding, and return the exit code."""
    chapters = find_chapters(root, names)
    findings = find_all(root, chapters)
    if not names:
        findings = sorted(findings + list(_contents(root)))
    for finding in findings:
        print(finding)
    errors = sum(not finding.warning for finding in findings)
    warnings = len(findings) - errors
    print(
        f"{len(chapters)} chapter{'s' * (len(chapters) != 1)} checked: "
        f"{errors or 'no'} finding{'s' * (errors != 1)}, {warnings or 'no'} warning{'s' * (warnings != 1)}."
    )
    return 1 if errors else 0


def find_all(root: Path, chapters: Sequence[Chapter]) -> list[Finding]:
    """All findings about some chapters, in the order of files and lines."""
    sources = rules.Sources.of(root)
    findings = [Finding(*problem) for problem in sources.problems]
    for chapter in chapters:
        try:
            findings += _chapter(chapter, sources)
        except BrokenText as error:
            findings.append(Finding(chapter.shown(error.path), error.line, error.message, "close the fence"))
        except BookError as error:
            findings.append(Finding(chapter.shown(chapter.text), 1, str(error), "repair the file"))
    return sorted(set(findings))


def _contents(root: Path) -> Iterator[Finding]:
    """What is wrong with the table of contents."""
    if (root / MAP).exists() and (root / TOC).exists():
        for problem in toc_problems(root):
            path, _, message = problem.partition(": ")
            yield Finding(path, 1, message, f"edit {path}")


def _chapter(chapter: Chapter, sources: rules.Sources) -> Iterator[Finding]:
    shown = chapter.shown(chapter.text)
    run = f"python -m book execute {chapter.name}"
    if not chapter.text.exists():
        mend = f"jupytext --to md:myst {chapter.shown(chapter.notebook)}, or delete the notebook"
        yield Finding(chapter.shown(chapter.notebook), 1, f"its text {shown} is missing", mend)
        return
    text = read_text(chapter.text)
    notebook = None
    if chapter.notebook.exists():
        notebook = read_notebook(chapter.notebook)
        yield from _pair(chapter, text, notebook, run)
    else:
        yield Finding(shown, 1, "never executed: its notebook is missing", run)
    yield from _setup(chapter, text, run)
    yield from _assertions(chapter, text)
    yield from _sources_without_paths(chapter, text)
    outputs = notebook if notebook is not None and code_of(text) == code_of(notebook) else None
    if outputs is not None:
        yield from _outputs(chapter, text, outputs, run)
    for problem in rules.prose_problems(chapter, text, sources, rules.glued_names(outputs) if outputs else None):
        yield Finding(shown, *problem)
    for placed in rules.exercise_problems(chapter):
        yield Finding(*placed)
    yield from _experiments(chapter)


def _pair(
    chapter: Chapter, text: nbformat.NotebookNode, notebook: nbformat.NotebookNode, run: str
) -> Iterator[Finding]:
    shown, pair = chapter.shown(chapter.text), chapter.shown(chapter.notebook)
    if not stamp.in_sync(text, notebook):
        index = _first_difference(text, notebook)
        if stamp.edited_by_hand(notebook):
            line = _line_in_notebook(chapter.notebook, notebook, index)
            mend = f"jupytext --to md:myst {pair} to keep the edit, or {run} --force to drop it"
            yield Finding(pair, line, "the notebook was edited without its text", mend)
        else:
            yield Finding(shown, _line(text, index), "the text changed since the notebook was executed", run)
    elif notebook.metadata.get(stamp.KEY, {}).get("text") != stamp.text_hash(chapter.text.read_text(encoding="utf-8")):
        yield Finding(shown, 1, "the text changed since the notebook was executed", run)
    for index in stamp.failed_cells(notebook):
        yield Finding(pair, _line_in_notebook(chapter.notebook, notebook, index), "a cell ended in an error", run)
    for index in stamp.unexecuted_cells(notebook):
        yield Finding(pair, _line_in_notebook(chapter.notebook, notebook, index), "a cell was not executed", run)
    # The tests run every notebook again, and they do so with the laptop preset.
    for reason in stamp.run_reasons(chapter, notebook, preset="laptop"):
        if reason not in ("executed with an error", "not wholly executed"):
            yield Finding(pair, 1, f"stale: {reason}", f"{run} --preset laptop" if "preset" in reason else run)


def _first_difference(text: nbformat.NotebookNode, notebook: nbformat.NotebookNode) -> int:
    pairs = zip(text.cells, notebook.cells, strict=False)
    shorter = min(len(text.cells), len(notebook.cells))
    return next((index for index, (one, other) in enumerate(pairs) if body(one) != body(other)), shorter)


def _line(text: nbformat.NotebookNode, index: int) -> int:
    return int(text.cells[min(index, len(text.cells) - 1)].metadata.line) if text.cells else 1


def _line_in_notebook(path: Path, notebook: nbformat.NotebookNode, index: int) -> int:
    if not notebook.cells:
        return 1
    wanted = f'"id": "{notebook.cells[min(index, len(notebook.cells) - 1)].get("id")}"'
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if wanted in line), 1)


def _setup(chapter: Chapter, text: nbformat.NotebookNode, run: str) -> Iterator[Finding]:
    shown = chapter.shown(chapter.text)
    cell = setup_cell(text)
    if cell is None:
        yield Finding(shown, 1, "there is no set-up cell", "give the first code cell the tag `setup`")
    elif not cell.source.startswith(setup_block(chapter.root).rstrip()):
        message = "the set-up cell does not begin by installing plm_core from the address in _config.yml"
        yield Finding(shown, cell.metadata.line, message, run)


def _assertions(chapter: Chapter, text: nbformat.NotebookNode) -> Iterator[Finding]:
    code = [cell for cell in text.cells if cell.cell_type == "code"]
    asserts = [re.search(r"^[^#\n]*\bassert", cell.source, re.MULTILINE) is not None for cell in code]
    varies = ["nbval-ignore-output" in tags_of(cell) and "setup" not in tags_of(cell) for cell in code]
    for index, cell in enumerate(code):
        if not varies[index]:
            continue
        following = next((j for j in range(index + 1, len(code)) if varies[j]), len(code))
        if not any(asserts[index : max(following, index + 3)]):
            message = "its output is not compared (tag nbval-ignore-output) and no assertion states what must hold"
            mend = "add a cell after it that asserts the claim with its tolerance"
            yield Finding(chapter.shown(chapter.text), cell.metadata.line, message, mend)


def _sources_without_paths(chapter: Chapter, text: nbformat.NotebookNode) -> Iterator[Finding]:
    for cell in text.cells:
        path = rules.machine_path(chapter.root, cell.source) if cell.cell_type == "code" else None
        if path:
            message = f"this cell names a path of one machine: {path}"
            yield Finding(chapter.shown(chapter.text), cell.metadata.line, message, "use pathlib, tempfile or plm_core")


def _outputs(
    chapter: Chapter, text: nbformat.NotebookNode, notebook: nbformat.NotebookNode, run: str
) -> Iterator[Finding]:
    shown = chapter.shown(chapter.text)
    lines = [cell.metadata.line for cell in text.cells if cell.cell_type == "code"]
    sources = [cell for cell in text.cells if cell.cell_type == "code"]
    for cell, source, line in zip((c for c in notebook.cells if c.cell_type == "code"), sources, lines, strict=True):
        if any(mime.startswith("image/") for output in cell.outputs for mime in output.get("data", {})):
            alt = source.metadata.get("mystnb", {}).get("image", {}).get("alt")
            if not (isinstance(alt, str) and alt.strip()):
                mend = 'add `mystnb: {image: {alt: "..."}}` to the cell'
                yield Finding(shown, line, "this cell draws a figure without alt text", mend)
        for output in cell.outputs:
            path = rules.machine_path(chapter.root, json.dumps(rules.output_texts(output), ensure_ascii=False))
            if path:
                message = f"the output of this cell holds a path of one machine: {path}"
                yield Finding(shown, line, message, f"print something portable, then {run}")
                break


def _experiments(chapter: Chapter) -> Iterator[Finding]:
    folder = chapter.root / "chapters" / "experiments"
    rerun = f"python -m book experiment {chapter.number}"
    for script in sorted(folder.glob(f"{chapter.number}_*.py")):
        if not list((folder / "results").glob(f"{script.stem}.*.json")):
            yield Finding(chapter.shown(script), 1, "this experiment has no stored results", rerun, warning=True)
    for path in sorted((folder / "results").glob(f"{chapter.number}_*.json")):
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            changed = changed_modules(chapter.root, results["library"])
            preset = results["preset"]
        except (ValueError, KeyError, TypeError) as error:
            yield Finding(chapter.shown(path), 1, f"these results cannot be read ({error!r})", rerun)
            continue
        if changed:
            message = f"stored results are older than the library: {'; '.join(changed)}"
            yield Finding(chapter.shown(path), 1, message, f"{rerun} --preset {preset}", warning=True)

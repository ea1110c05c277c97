"""The gate's rules about prose, sources and exercises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from book.tool.chapters import Chapter, read_text
from book.tool.exercise_rules import broken_rules, student_problems, wrong_answer_problems
from book.tool.numbers import typed_measurements
from book.tool.prose import Prose, read_prose

Problem = tuple[int, str, str]
"""Line, message, mend."""
PlacedProblem = tuple[str, int, str, str]
"""Path, line, message, mend."""


@dataclass(frozen=True)
class Sources:
    """What chapters may refer to: citation keys and glossary terms (lower case), and what is wrong with either file."""

    citations: frozenset[str]
    terms: frozenset[str]
    problems: tuple[PlacedProblem, ...]

    @classmethod
    def of(cls, root: Path) -> Sources:
        """Read ``book/references.bib`` and ``book/glossary.md``; a missing file holds nothing."""
        problems: list[PlacedProblem] = []
        citations: frozenset[str] = frozenset()
        bibliography = root / "book" / "references.bib"
        if bibliography.exists():
            from pybtex.database import parse_file
            from pybtex.exceptions import PybtexError

            try:
                citations = frozenset(parse_file(str(bibliography), bib_format="bibtex").entries)
            except PybtexError as error:
                line = getattr(error, "lineno", None) or 1
                problems.append(("book/references.bib", line, f"cannot be read: {error}", "repair the entry"))
        glossary = root / "book" / "glossary.md"
        terms = glossary_terms(glossary.read_text(encoding="utf-8")) if glossary.exists() else []
        return cls(citations, frozenset(terms), tuple(problems))


def glossary_terms(text: str) -> list[str]:
    """The terms that a glossary page defines, in lower case."""
    return [
        re.split(r"\s+:\s+", line)[0].strip().lower()
        for directive in read_prose(text).directives
        if directive.name == "glossary"
        for line in directive.body.splitlines()
        if re.match(r"[^\s:%]", line)
    ]


def glued_names(notebook: nbformat.NotebookNode) -> set[str]:
    """The names that an executed notebook glues."""
    return {
        output.metadata["scrapbook"]["name"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "name" in output.get("metadata", {}).get("scrapbook", {})
    }


def prose_problems(
    chapter: Chapter, text: nbformat.NotebookNode, sources: Sources, glued: set[str] | None
) -> Iterator[Problem]:
    """What is wrong in the prose of a chapter.

    Args:
        chapter: the chapter.
        text: its text, as :func:`book.tool.chapters.read_text` returns it.
        sources: what may be referred to.
        glued: the names that its executed notebook glues; ``None`` if that is not known.
    """
    pages = [read_prose(cell.source, cell.metadata.line) for cell in text.cells if cell.cell_type == "markdown"]
    solved = {each.argument for page in pages for each in page.directives if each.name.startswith("solution")}
    run = f"python -m book execute {chapter.name}"
    for page in pages:
        yield from _numbers(page)
        yield from _images(page)
        yield from _references(page, sources, glued, run)
        for directive in page.directives:
            if directive.name.startswith("exercise") and str(directive.options.get("label")) not in solved:
                mend = "give it a :label: and add a {solution} directive of that label"
                yield directive.line, "this exercise has no solution", mend


def _numbers(page: Prose) -> Iterator[Problem]:
    for passage in page.passages:
        if passage.excused == "":
            yield passage.line, "`% number:` gives no reason", "say after the colon why this number may be typed"
        for line, words in typed_measurements(passage):
            mend = 'glue("name", value, ".2f") in a code cell and {glue:text}`name` here; or cite the source in this '
            mend += "sentence; or put `% number: reason` above the paragraph"
            yield line, f"a measured number is typed into prose: {words!r}", mend


def _images(page: Prose) -> Iterator[Problem]:
    for image in page.images:
        if not image.alt:
            yield image.line, "an image without alt text", "write ![what it shows](file), or :alt: in the directive"


def _references(page: Prose, sources: Sources, glued: set[str] | None, run: str) -> Iterator[Problem]:
    for role in page.roles:
        kind, _, variant = role.name.partition(":")
        if kind == "cite":
            for key in (each.strip() for each in role.content.split(",")):
                if key not in sources.citations:
                    yield role.line, f"citation {key!r} is not in book/references.bib", "add the entry, or fix the key"
        elif role.name == "term":
            target = re.search(r"<([^<>]+)>\s*\Z", role.content)
            term = " ".join((target.group(1) if target else role.content).split())
            if term.lower() not in sources.terms:
                yield role.line, f"term {term!r} is not in book/glossary.md", "add it in its alphabetical place"
        elif kind == "glue" and glued is not None:
            name = role.content if variant in ("", "any") else re.sub(r":[^:]*\Z", "", role.content)
            if role.content not in glued and name.strip() not in glued:
                mend = f'add glue("{name}", value, ".2f") to a code cell, then {run}'
                yield role.line, f"the notebook glues nothing under the name {name!r}", mend


def exercise_problems(chapter: Chapter) -> Iterator[PlacedProblem]:
    """What is wrong with a chapter's exercises: no file, a broken rule, no wrong answer, an old student notebook."""
    shown = chapter.shown(chapter.exercises)
    if not chapter.exercises.exists():
        if not chapter.is_appendix:
            mend = f"write {shown}, as the docstring of book/tool/classroom.py says"
            yield chapter.shown(chapter.text), 1, f"the chapter has no exercises {shown}", mend
        return
    build = f"python -m book classroom {chapter.name}"
    for mend, problems in (
        (f"edit it, then {build}", broken_rules(chapter.root, chapter.name)),
        ("add a wrong answer with its marks and message", wrong_answer_problems(chapter.root, chapter.name)),
        (f"{build}, then commit the student notebook", student_problems(chapter.root, chapter.name)),
    ):
        for problem in problems:
            found = re.match(r"(?P<path>[^:]+):(?P<line>\d+): (?P<message>.*)", problem, re.DOTALL)
            path, line, message = found.group("path", "line", "message") if found else (shown, 1, problem)
            yield path, int(line), message, mend
    for cell in read_text(chapter.exercises).cells:
        if cell.cell_type == "markdown":
            for image_problem in _images(read_prose(cell.source, cell.metadata.line)):
                yield shown, *image_problem


def output_texts(output: nbformat.NotebookNode) -> Any:
    """Everything readable in an output: streams, errors, and data other than pictures."""
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return [output.ename, output.evalue, *output.traceback]
    return {mime: data for mime, data in output.data.items() if not mime.startswith(("image/png", "image/jpeg"))}


def machine_path(root: Path, text: str) -> str | None:
    """The first path in a text that exists on one machine only, or ``None``."""
    pattern = (
        rf"""(?:{re.escape(str(root))}\b|/home/\w|/Users/\w|/root/|/tmp/|[A-Za-z]:\\+Users\\|/\S*/site-packages/)"""
    )
    found = re.search(rf"{pattern}[^\s\"'`,;)]*", text)
    return found.group() if found else None

"""The rules for exercises: masters, wrong answers and committed student notebooks, without running Otter-Grader."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

from book.tool.chapters import PATTERN
from book.tool.stamp import KEY, text_hash

FEWEST_EXERCISES = 5
HEADING = re.compile(r"^## Exercise (?P<number>\d+) (?P<level>★{1,3}) (?P<title>\S.*)$")
POINTS = re.compile(r"^points: (?:[\d.]+|\[(?P<each>[\d., ]+)\])\s*$")
MASTER_KEY = "master"
"""Where a student notebook keeps the hash of the master from which it was built, below ``plm`` in its metadata."""


def find_masters(root: Path) -> dict[str, Path]:
    """The master notebooks by name, in the order of the chapters."""
    return {path.stem: path for path in sorted((root / "chapters" / "exercises").glob(f"{PATTERN}.md"))}


def student_path(root: Path, name: str) -> Path:
    """Where the committed student notebook of a chapter lies."""
    return root / "chapters" / "exercises" / "student" / f"{name}.ipynb"


def autograder_path(root: Path, name: str) -> Path:
    """Where the autograder of a chapter's exercises is built."""
    return root / "_build" / "classroom" / name / "autograder.zip"


def master_hash(root: Path, name: str) -> str:
    """SHA-256 of a master; the kind of line ending makes no difference."""
    return text_hash(find_masters(root)[name].read_text(encoding="utf-8"))


def broken_rules(root: Path, name: str) -> list[str]:
    """What a master lacks of what every set of exercises must hold; each finding names file and line."""
    where = f"chapters/exercises/{name}.md"
    lines = find_masters(root)[name].read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip() == "# BEGIN QUESTION"]
    findings: list[str] = []
    headings: list[re.Match[str]] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        block = lines[start:end]
        here = f"{where}:{start + 1}: the question"
        heading = next((found for line in block if (found := HEADING.match(line))), None)
        if heading is None:
            findings.append(f"{here} has no heading of the form '## Exercise 3 ★★ Title' with one to three stars")
        else:
            headings.append(heading)
        if not any(re.search(r"\S.*# SOLUTION|^\s+# BEGIN SOLUTION", line) for line in block):
            findings.append(f"{here} has no solution: mark its lines with '# SOLUTION', or indent '# BEGIN SOLUTION'")
        if "# HIDDEN" not in block:
            findings.append(f"{here} has no hidden test: add a '# HIDDEN' function for each stage of its check")
        points = next((found for line in block if (found := POINTS.match(line))), None)
        if points is None:
            findings.append(f"{here} says no points: add 'points: N', or one number for each stage, 'points: [1, 2]'")
        elif points["each"] and (given := points["each"].count(",") + 1) != (stages := block.count("# HIDDEN")):
            findings.append(f"{here} gives points for {given} stages and has {stages}")
    if len(starts) < FEWEST_EXERCISES:
        findings.append(f"{where}:1: {len(starts)} exercises, at least {FEWEST_EXERCISES} are wanted")
    if missing := sorted({"★", "★★", "★★★"} - {heading["level"] for heading in headings}):
        findings.append(f"{where}:1: no exercise of level {', '.join(missing)}")
    if not any(heading["title"].startswith("Predict, then run") for heading in headings):
        findings.append(f"{where}:1: no exercise is titled 'Predict, then run'")
    if [int(heading["number"]) for heading in headings] != list(range(1, len(headings) + 1)):
        findings.append(f"{where}:1: the exercises are not numbered 1 to {len(headings)} in order")
    return findings


def student_problems(root: Path, name: str) -> list[str]:
    """Say so if the committed student notebook is missing, or was built from another version of its master."""
    where = f"chapters/exercises/{name}.md:1:"
    path = student_path(root, name)
    shown = path.relative_to(root).as_posix()
    if not path.is_file():
        return [f"{where} its student notebook {shown} was never built"]
    try:
        built_from = json.loads(path.read_text(encoding="utf-8"))["metadata"].get(KEY, {}).get(MASTER_KEY)
    except (ValueError, KeyError, AttributeError):
        return [f"{where} its student notebook {shown} cannot be read"]
    if built_from == master_hash(root, name):
        return []
    return [f"{where} the exercises changed since the student notebook {shown} was built"]


def wrong_answers_path(root: Path, name: str) -> Path:
    """Where the typical wrong answers to a chapter's exercises lie."""
    return root / "chapters" / "exercises" / "wrong" / f"{name}.py"


def wrong_answer_problems(root: Path, name: str) -> list[str]:
    """What is missing among the typical wrong answers; each finding names file and line."""
    path = wrong_answers_path(root, name)
    shown = path.relative_to(root).as_posix()
    master = f"chapters/exercises/{name}.md"
    lines = find_masters(root)[name].read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines, 1) if line.strip() == "# BEGIN QUESTION"]
    questions = {lines[start].removeprefix("name: ").strip(): start + 1 for start in starts if start < len(lines)}
    if not path.is_file():
        return [f"{master}:1: no exercise has a wrong answer: {shown} is missing"]
    try:
        answers = runpy.run_path(str(path))["WRONG"]
        known = [(str(answer["question"]), float(answer["score"])) for answer in answers]
    except Exception as error:  # the file is code and may raise anything
        return [f"{shown}:1: the wrong answers cannot be read: {type(error).__name__}: {error}"]
    answered = {question for question, _ in known}
    findings = [
        f"{master}:{line}: the question {question} has no wrong answer in {shown}"
        for question, line in questions.items()
        if question not in answered
    ]
    findings += [f"{shown}:1: {each!r} is no question of {master}" for each in sorted(answered - set(questions))]
    if known and not any(score > 0 for _, score in known):
        findings.append(f"{shown}:1: no wrong answer earns part of the marks")
    return findings

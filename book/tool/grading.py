"""Grade a class: a folder of submitted student notebooks in, one CSV with points and feedback out.

Every submission is graded by Otter-Grader in a process of its own, in a temporary folder, with a time limit. Code that
students wrote runs on this machine: grade where that is acceptable, for example in a container.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from book.tool.chapters import BookError, write_atomically
from book.tool.classroom import build_classroom, choose_masters
from book.tool.exercise_rules import autograder_path
from book.tool.machine import cores, kernel_environment

COLUMNS = ("file", "exercises", "points", "possible", "problem")
"""The first columns of the CSV; two follow for every question: its points and the feedback on it."""


@dataclass(frozen=True)
class Grade:
    """What one submission earned.

    Attributes:
        file: the submission, relative to the folder of the class.
        exercises: the name of the exercises, for example ``05_attention``; empty if it is not known.
        questions: for each question its name, the points, what it is worth, and the feedback of its failed stages.
        problem: why the submission could not be graded; empty if it was.
    """

    file: str
    exercises: str = ""
    questions: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    def row(self) -> dict[str, Any]:
        """The row of the CSV, by column."""
        row: dict[str, Any] = {"file": self.file, "exercises": self.exercises, "problem": self.problem}
        if not self.problem:
            row["points"] = f"{sum(each['points'] for each in self.questions):g}"
            row["possible"] = f"{sum(each['possible'] for each in self.questions):g}"
        for each in self.questions:
            row[each["name"]] = f"{each['points']:g}"
            row[f"{each['name']} feedback"] = each["feedback"]
        return row


def grade_folder(
    root: Path,
    folder: Path,
    *,
    output: Path | None = None,
    exercises: str | None = None,
    jobs: int | None = None,
    timeout: float = 900,
    force: bool = False,
) -> Path:
    """Grade every notebook in a folder and below it; a damaged submission costs its own row only.

    Args:
        root: the repository; autograders that are missing or stale are built first.
        folder: the submissions, ``.ipynb`` files under any name.
        output: the CSV to write; default: ``grades.csv`` in the folder.
        exercises: the exercises that were set (``05_attention`` or ``05``); default: what each notebook says in its
            metadata.
        jobs: how many submissions to grade side by side; default: as many as there are cores.
        timeout: seconds after which a submission is given up.
        force: replace an output that exists.

    Returns:
        The path of the CSV.

    Raises:
        BookError: no folder, no submissions, unknown exercises, or an output that exists.
    """
    if not folder.is_dir():
        raise BookError(f"{folder} is not a folder: name the folder that holds the submitted notebooks")
    submissions = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not submissions:
        raise BookError(f"{folder} holds no notebooks: submissions are .ipynb files, in the folder or below it")
    target = folder / "grades.csv" if output is None else output
    if target.exists() and not force:
        raise BookError(f"{target} exists: name another file with --output, or replace it with --force")
    if not target.parent.is_dir():
        raise BookError(f"{target.parent} is not a folder: make it, or name another file with --output")
    given = choose_masters(root, [exercises])[0] if exercises else None
    names = {path: given or assignment_of(path) for path in submissions}
    known = set(choose_masters(root, []))
    build_classroom(root, sorted({name for name in names.values() if name in known}))

    def grade(path: Path) -> Grade:
        file, name = path.relative_to(folder).as_posix(), names[path]
        if name not in known:
            return Grade(file, problem=name_problem(path, name))
        return grade_one(root, path, file, name, timeout=timeout)

    with concurrent.futures.ThreadPoolExecutor(min(jobs or cores(), len(submissions))) as pool:
        grades = list(tqdm(pool.map(grade, submissions), total=len(submissions), desc="grading", disable=None))
    write_atomically(target, as_csv(grades))
    failed = [each for each in grades if each.problem]
    print(f"{len(grades) - len(failed)} of {len(grades)} submissions graded: {target}")
    for each in failed:
        print(f"  {each.file}: {each.problem}")
    return target


def assignment_of(path: Path) -> str | None:
    """The exercises to which a submission says that it belongs; None if it does not say, or cannot be read."""
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["metadata"]["otter"]["assignment_name"]
    except (ValueError, OSError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def name_problem(path: Path, name: str | None) -> str:
    """Why it is not known to which exercises a submission belongs."""
    if name is not None:
        return f"it says that it belongs to the exercises {name!r}, and there are none of that name"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return "it cannot be read as a notebook"
    return "it does not say to which exercises it belongs: name them with --exercises"


def grade_one(root: Path, path: Path, file: str, name: str, *, timeout: float) -> Grade:
    """Grade one submission in a process of its own, which is ended with its kernel when the time is over."""
    environment = kernel_environment(root, threads=1) | {"JUPYTER_PREFER_ENV_PATH": "1"}
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "grade.json"
        command = [sys.executable, "-m", "book.tool.grading", str(autograder_path(root, name)), str(path), str(answer)]
        process = subprocess.Popen(
            command, cwd=scratch, env=environment, start_new_session=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace",
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            return Grade(file, name, problem=f"it did not end within {timeout:g} s")
        finally:
            end_group(process)
        try:
            found = json.loads(answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            last = (said.strip().splitlines() or ["it said nothing"])[-1]
            return Grade(file, name, problem=f"the grader ended with code {process.returncode}: {last}")
    return Grade(file, name, found["questions"], found["problem"])


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process and everything that it started; a group that has ended is left alone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def as_csv(grades: Sequence[Grade]) -> str:
    """The table: one row for each submission; questions in the order in which they are met."""
    rows = [grade.row() for grade in grades]
    columns = dict.fromkeys([*COLUMNS, *(column for row in rows for column in row)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_text(row) for row in rows)
    return text.getvalue()


def as_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose cells no spreadsheet takes for a formula."""
    return {key: f"'{value}" if str(value)[:1] in "=+-@\t\r" and value else value for key, value in row.items()}


def feedback(message: str | None) -> str:
    """What a failed stage says to the student: the message of its exception, without the traceback."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", message or "").strip()
    found = re.search(r"^(?:[\w.]*\.)?CheckFailed: (.*)", text, re.MULTILINE | re.DOTALL)
    if found:
        return found.group(1).strip()
    return text.splitlines()[-1] if text else ""


def main(autograder: str, submission: str, answer: str) -> None:
    """Grade one submission and write what came of it as JSON; the other side of :func:`grade_one`."""
    from otter.api import grade_submission

    found: dict[str, Any] = {"questions": [], "problem": ""}
    try:
        results = grade_submission(submission, autograder, quiet=True)
        if error := results.catastrophic_error:
            raise error
        for name, test in results.results.items():
            told = [
                f"stage {number}: {feedback(stage.message)}"
                for number, stage in enumerate(test.test_case_results, 1)
                if not stage.passed
            ]
            found["questions"].append(
                {"name": name, "points": test.score, "possible": test.possible, "feedback": "\n".join(told)}
            )
    except Exception as error:  # whatever a submission makes Otter raise
        found["problem"] = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

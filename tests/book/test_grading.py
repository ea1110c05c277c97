"""A class is graded into one table, whatever single submissions are like."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import nbformat
import pytest

from book.__main__ import main
from book.tool.chapters import BookError, write_atomically
from book.tool.classroom import build_classroom, stale_reason
from book.tool.exercise_rules import student_path
from book.tool.grading import Grade, as_csv, feedback
from book.tool.scaffold import chapter_files
from book.tool.toc import Entry

NAME = "01_lines"
pytestmark = pytest.mark.xdist_group("grading")


def submit(path: Path, student: Path, answers: dict[int, str], *, kernel: str = "python3") -> None:
    """Hand in the student notebook with some of its questions answered."""
    notebook = nbformat.read(student, as_version=4)
    for cell in notebook.cells:
        for number, answer in answers.items():
            if cell.cell_type == "code" and f"def double_{number}(" in cell.source:
                cell.source = f"def double_{number}(x):\n    {answer}"
    notebook.metadata["kernelspec"]["name"] = kernel
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def school(executed_book: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny book, whose exercises have their checks, built for the classroom."""
    root = tmp_path_factory.mktemp("school") / "book"
    shutil.copytree(executed_book, root, symlinks=True)
    for path, text in chapter_files(root, Entry(NAME, "Lines", "", "")).items():
        if path.startswith("chapters/checks/"):
            write_atomically(root / path, text)
    student_path(root, NAME).unlink()
    build_classroom(root, [NAME])
    return root


def test_only_what_is_stale_is_built(school, executed_book, tmp_path, capsys) -> None:
    same = student_path(executed_book, NAME).read_bytes()
    assert student_path(school, NAME).read_bytes() == same, "the same on every machine"
    build_classroom(school, ["01"])
    assert f"{NAME}: up to date" in capsys.readouterr().out

    copy = tmp_path / "book"
    shutil.copytree(school, copy, symlinks=True)
    checks = copy / "chapters/checks/feedback.py"
    checks.write_text(checks.read_text(encoding="utf-8").replace("class Check:", "class Check:  # edited"))
    assert stale_reason(copy, NAME) == "plm_chapters.checks.feedback changed"
    master = copy / f"chapters/exercises/{NAME}.md"
    master.write_text(master.read_text(encoding="utf-8").replace("points: 2", "points: many", 1))
    with pytest.raises(BookError, match="says no points"):
        build_classroom(copy, [NAME])


def test_a_class_is_graded_and_a_bad_submission_costs_its_own_row_only(school, tmp_path, monkeypatch, capsys) -> None:
    folder = tmp_path / "handed in"
    student = student_path(school, NAME)
    right = dict.fromkeys(range(1, 5), "return 2 * x")
    submit(folder / "anna" / "work.ipynb", student, right | {2: "return x**2"}, kernel="my-conda-env")
    submit(folder / "ben.ipynb", student, {1: "import os; os._exit(1)"})
    (folder / "cleo.ipynb").write_text(student.read_text(encoding="utf-8")[:500], encoding="utf-8")
    other = nbformat.read(student, as_version=4)
    other.metadata["otter"]["assignment_name"] = "98_unheard_of"
    nbformat.write(other, folder / "dora.ipynb")

    monkeypatch.chdir(school)
    assert main(["grade", str(folder), "--jobs", "1"], school) == 0
    assert "1 of 4 submissions graded" in capsys.readouterr().out
    rows = {row["file"]: row for row in csv.DictReader((folder / "grades.csv").open(encoding="utf-8"))}
    assert list(rows) == ["anna/work.ipynb", "ben.ipynb", "cleo.ipynb", "dora.ipynb"]
    anna = rows["anna/work.ipynb"]
    assert (anna["exercises"], anna["points"], anna["possible"], anna["problem"]) == (NAME, "7", "10", "")
    assert (anna["q1_double"], anna["q1_double feedback"]) == ("2", "")
    assert anna["q2_double"] == "1"
    assert anna["q2_double feedback"].startswith("stage 2: ")
    assert "this is the square, not the double" in anna["q2_double feedback"]
    assert anna["q5_double"] == "0", "an untouched question earns nothing"
    assert "is the code written" in anna["q5_double feedback"]
    assert rows["ben.ipynb"]["exercises"] == NAME
    assert rows["ben.ipynb"]["problem"].startswith("DeadKernelError")
    assert rows["cleo.ipynb"]["problem"] == "it cannot be read as a notebook"
    assert "98_unheard_of" in rows["dora.ipynb"]["problem"]
    assert not list(school.rglob("results.json")), "Otter's results stay out of the repository"

    before = (folder / "grades.csv").read_bytes()
    assert main(["grade", str(folder)], school) == 2
    assert "name another file with --output, or replace it with --force" in capsys.readouterr().err
    assert (folder / "grades.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "is not a folder: name the folder that holds the submitted notebooks"),
        (["."], "holds no notebooks"),
    ],
)
def test_a_folder_without_submissions_is_refused(tiny, tmp_path, capsys, arguments, message) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["grade", str(empty / arguments[0])], tiny.root) == 2
    assert message in capsys.readouterr().err


def test_feedback_is_the_message_of_the_check_without_the_traceback() -> None:
    traceback = (
        "Traceback (most recent call last):\n  File x\nplm_chapters.checks.feedback.CheckFailed: too wide\nby one"
    )
    assert feedback(traceback) == "too wide\nby one"
    assert feedback("\x1b[31mTraceback\x1b[0m\nNameError: name 'double' is not defined") == (
        "NameError: name 'double' is not defined"
    )
    assert feedback(None) == ""


def test_what_students_wrote_is_no_formula_in_a_spreadsheet() -> None:
    questions = [{"name": "q1", "points": 0, "possible": 2, "feedback": "=cmd()"}]
    [row] = csv.DictReader(as_csv([Grade("=a.ipynb", "05", questions)]).splitlines())
    assert row["file"] == "'=a.ipynb"
    assert row["q1 feedback"] == "'=cmd()"

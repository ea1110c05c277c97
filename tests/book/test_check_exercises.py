"""The gate bites on exercises and stored results: what is missing, unreadable or older than its sources."""

from __future__ import annotations

import json

import pytest

from book.__main__ import main
from tests.book.test_check import EXERCISES, TEXT

WRONG = "chapters/exercises/wrong/01_lines.py"
OLD_STUDENT = "the exercises changed since the student notebook chapters/exercises/student/01_lines.ipynb was built"


def test_a_chapter_needs_exercises(tiny, says) -> None:
    tiny.path(EXERCISES).unlink()
    says(tiny.said(), TEXT, 1, "the chapter has no exercises")


def test_an_exercise_without_a_solution_is_named(tiny) -> None:
    tiny.edit(EXERCISES, "def double_3(x):\n    return 2 * x  # SOLUTION", "def double_3(x):\n    ...")
    old, (path, line, message) = sorted(tiny.said())
    assert (path, line) == (EXERCISES, tiny.line(EXERCISES, "name: q3_double") - 1)
    assert "has no solution" in message
    assert old == (EXERCISES, 1, OLD_STUDENT)


def test_a_student_notebook_older_than_its_master_is_reported(tiny, says) -> None:
    tiny.edit(EXERCISES, "Twice a tensor, number 3", "Twice the tensor, number 3")
    says(tiny.said(), EXERCISES, 1, f"^{OLD_STUDENT}$")
    assert tiny.findings()[0].mend == "python -m book classroom 01_lines, then commit the student notebook"


def test_a_student_notebook_that_was_never_built_is_reported(tiny, says) -> None:
    tiny.path("chapters/exercises/student/01_lines.ipynb").unlink()
    says(tiny.said(), EXERCISES, 1, r"its student notebook \S*/01_lines\.ipynb was never built")


def test_a_question_without_a_wrong_answer_is_named(tiny, says) -> None:
    tiny.edit(WRONG, "q3_double", "q4_double")
    says(tiny.said(), EXERCISES, tiny.line(EXERCISES, "name: q3_double"), "the question q3_double has no wrong answer")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "no exercise has a wrong answer: chapters/exercises/wrong/01_lines.py is missing"),
        ("WRONG = [{}]", "the wrong answers cannot be read: KeyError: 'question'"),
        ("WRONG = [", "the wrong answers cannot be read: SyntaxError"),
    ],
)
def test_wrong_answers_that_are_missing_or_unreadable_are_reported(tiny, wrong, message) -> None:
    tiny.path(WRONG).unlink() if wrong is None else tiny.path(WRONG).write_text(wrong)
    [(_, line, said)] = tiny.said()
    assert line == 1
    assert message in said


def test_stored_results_older_than_the_library_are_a_warning(tiny, capsys) -> None:
    tiny.path("chapters/experiments/01_lines.py").write_text("VARIANTS = SEEDS = []\n")
    assert main(["check"], tiny.root) == 0
    assert "01_lines.py:1: warning: this experiment has no stored results" in capsys.readouterr().out
    results = {"library": {"plm_core.config": "0" * 64}, "preset": "laptop"}
    tiny.path("chapters/experiments/results/01_lines.laptop.json").write_text(json.dumps(results))
    assert main(["check"], tiny.root) == 0
    said = capsys.readouterr().out
    assert "01_lines.laptop.json:1: warning: stored results are older than the library: plm_core.config changed" in said
    assert "(mend: python -m book experiment 01 --preset laptop)" in said


def test_results_that_cannot_be_read_are_reported(tiny, says) -> None:
    path = "chapters/experiments/results/01_lines.laptop.json"
    tiny.path(path).write_text("{")
    says(tiny.said(), path, 1, "cannot be read")

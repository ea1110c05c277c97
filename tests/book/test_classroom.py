"""The exercises grade as they promise: the solution in full, an empty submission not at all, typical mistakes in part.

Every master in ``chapters/exercises`` is graded here with Otter's own test files, in this process; ``test_grading``
goes the whole way with a small one, from ``build_classroom`` to the grades of a class.
"""

from __future__ import annotations

import contextlib
import functools
import io
import runpy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from otter.nbmeta_config import NBMetadataConfig
from otter.test_files import TestFile as Grade
from otter.test_files import create_test_file

from book.tool.chapters import BookError
from book.tool.classroom import assemble, build_classroom
from book.tool.exercise_rules import broken_rules, find_masters, student_path, wrong_answer_problems
from plm_chapters.checks.feedback import VISIBLE_SEED, Check

ROOT = Path(__file__).resolve().parents[2]
NAMES = list(find_masters(ROOT))
FIRST = "05_attention"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The use of `x.T`:UserWarning")


Load = Callable[[str], "Exercises"]


@dataclass
class Question:
    """One question of an assembled notebook: its cells, and which of them the student answers."""

    name: str
    test: Path
    cells: list[str]
    answer: int


@dataclass
class Exercises:
    seed: int
    student_text: str
    student: list[str]
    opening: list[str]
    questions: dict[str, Question]

    @functools.cached_property
    def solved(self) -> dict[str, Any]:
        """The names that stand after the whole solution has run."""
        env: dict[str, Any] = {"__name__": "__main__", "check_seed": self.seed}
        for source in self.opening + [cell for question in self.questions.values() for cell in question.cells]:
            run_cell(source, env)
        return env


@pytest.fixture(scope="session")
def load(once_per_run: Callable[[str, Callable[[Path], object]], Path]) -> Callable[[str], Exercises]:
    """Assembled exercises by name: Otter Assign runs once for each in a run of the tests."""

    @functools.cache
    def by_name(name: str) -> Exercises:
        def fill(folder: Path) -> None:
            (folder / "student.ipynb").write_text(assemble(ROOT, name, folder).student, encoding="utf-8")

        return read_exercises(name, once_per_run(f"exercises_{name}", fill))

    return by_name


def read_exercises(name: str, folder: Path) -> Exercises:
    student_text = (folder / "student.ipynb").read_text(encoding="utf-8")
    solutions = folder / "out" / "autograder" / f"{name}.ipynb"
    student = [cell.source for cell in nbformat.reads(student_text, as_version=4).cells if cell.cell_type == "code"]
    shared = yaml.safe_load((ROOT / "chapters" / "exercises" / "assignment.yml").read_text(encoding="utf-8"))
    questions: dict[str, Question] = {}
    cells: list[str] = []
    opening: list[str] = []
    answer = None
    for cell in nbformat.read(solutions, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        if not opening:
            assert "setup" in cell.metadata.tags, "the first code cell is the set-up cell"
            opening.append(cell.source)
            continue
        if "otter_assign_solution_cell" in cell.metadata.get("tags", []):
            assert answer is None, f"one answer cell for each question: {cell.source!r} is a second"
            answer = len(cells)
        cells.append(cell.source)
        for question in cell.metadata.get("otter", {}).get("tests", []):
            assert answer is not None, f"question {question} has no answer cell"
            test = solutions.parent / "tests" / f"{question}.py"
            questions[question] = Question(question, test, cells, answer)
            cells, answer = [], None
    return Exercises(shared["seed"]["autograder_value"], student_text, student, opening, questions)


def run_cell(source: str, env: dict[str, Any]) -> str:
    """Run one cell as a kernel would, without a kernel; return what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(TransformerManager().transform_cell(source), "<cell>", "exec"), env)
    return printed.getvalue()


def grade(question: Question, env: dict[str, Any]) -> Grade:
    graded = create_test_file(str(question.test), NBMetadataConfig())
    graded.run(env)
    return graded


def wrong_answers(name: str) -> list[dict[str, Any]]:
    path = ROOT / "chapters" / "exercises" / "wrong" / f"{name}.py"
    return list(runpy.run_path(str(path))["WRONG"]) if path.is_file() else []


# All tests of one set of exercises run in one worker, which runs their solution once.
EXERCISES = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NAMES]
WRONG = [
    pytest.param(
        name,
        answer,
        id=f"{name}-{answer['question']}-{answer['mistake'].replace(' ', '_')}",
        marks=pytest.mark.xdist_group(name),
    )
    for name in NAMES
    for answer in wrong_answers(name)
]


@pytest.mark.parametrize("name", EXERCISES)
def test_master_keeps_the_rules_and_its_student_notebook_is_up_to_date(name: str, load: Load) -> None:
    assert broken_rules(ROOT, name) == []
    assert student_path(ROOT, name).read_text(encoding="utf-8") == load(name).student_text


@pytest.mark.parametrize("name", EXERCISES)
def test_solution_gets_full_marks(name: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    exercises = load(name)
    env = dict(exercises.solved)
    graded: list[tuple[Check, str, int | None]] = []
    original = Check.grade

    def record(self: Check, stage: str, *answers: Any, seed: int | None = None) -> None:
        graded.append((self, stage, seed))
        original(self, stage, *answers, seed=seed)

    monkeypatch.setattr(Check, "grade", record)
    for question in exercises.questions.values():
        for seed in range(1, 6):
            assert (result := grade(question, env | {"check_seed": seed})).passed_all, result.summary()
        graded.clear()
        result = grade(question, env)
        assert result.passed_all, result.summary()
        (check,) = {check for check, _, _ in graded}
        stages = [stage for _, stage, _ in graded]
        assert stages == list(check.stages), f"{question.name}: hidden tests grade each stage once, in order"
        assert {seed for _, _, seed in graded} == {exercises.seed}, "hidden checks draw from the autograder's seed"
    assert exercises.seed != VISIBLE_SEED


@pytest.mark.parametrize("name", EXERCISES)
def test_empty_submission_gets_nothing(name: str, load: Load) -> None:
    exercises = load(name)
    env: dict[str, Any] = {"__name__": "__main__", "check_seed": exercises.seed}
    for source in exercises.student:
        assert "All stages passed" not in run_cell(source, env)
    for question in exercises.questions.values():
        assert grade(question, env).score == 0, f"{question.name} gives marks for nothing"


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_wrong_answer_gets_its_marks_and_the_message_that_helps(name: str, wrong: dict[str, Any], load: Load) -> None:
    exercises = load(name)
    question = exercises.questions[wrong["question"]]
    env = dict(exercises.solved)
    shown = ""
    for position, source in enumerate(question.cells):
        shown += run_cell(wrong["code"] if position == question.answer else source, env)
    assert wrong["message"] in shown, f"the student reads\n{shown}"
    for seed in (exercises.seed, 1, 2):  # no luck of the draw
        graded = grade(question, env | {"check_seed": seed})
        assert wrong["message"] in graded.summary(), f"the autograder says\n{graded.summary()}"
        assert graded.score == pytest.approx(wrong["score"]), graded.summary()
        assert graded.score < graded.possible


@pytest.mark.parametrize("name", EXERCISES)
def test_every_question_has_a_wrong_answer_and_one_earns_part_of_the_marks(name: str, load: Load) -> None:
    assert wrong_answer_problems(ROOT, name) == []
    assert {answer["question"] for answer in wrong_answers(name)} == set(load(name).questions)


# --- the builder ----------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository that holds one set of exercises and what it needs."""
    for part in (
        f"chapters/exercises/{FIRST}.md",
        "chapters/exercises/assignment.yml",
        "_config.yml",
        "book/tool/classroom.py",
    ):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / part, tmp_path / part)
    for part in ("plm_core", "chapters/checks"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "chapters" / "exercises" / "wrong", tmp_path / "chapters" / "exercises" / "wrong")
    return tmp_path


def edit(root: Path, old: str, new: str, path: str = f"chapters/exercises/{FIRST}.md", count: int = -1) -> None:
    text = (root / path).read_text(encoding="utf-8")
    assert old in text
    (root / path).write_text(text.replace(old, new, count), encoding="utf-8")


def test_unknown_name_is_one_clear_message(copy: Path) -> None:
    with pytest.raises(BookError, match=f"no exercises '99_nothing'. Exercises: {FIRST}"):
        build_classroom(copy, ["99_nothing"])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("# HIDDEN\n", "", "has no hidden test"),
        ("## Exercise 1 ★ ", "## Exercise 1 ", "has no heading of the form"),
        ("★★★", "★★", "no exercise of level ★★★"),
        ("Predict, then run", "Guess", "no exercise is titled 'Predict, then run'"),
        ("## Exercise 2 ", "## Exercise 12 ", "not numbered 1 to "),
        ("    # BEGIN SOLUTION\n", "", "has no solution"),
    ],
)
def test_broken_rule_is_named_with_file_and_line(copy: Path, old: str, new: str, complaint: str) -> None:
    edit(copy, old, new)
    (finding, *_) = [line for line in broken_rules(copy, FIRST) if complaint in line]
    assert finding.startswith(f"chapters/exercises/{FIRST}.md:")


def test_too_few_exercises_are_reported(copy: Path) -> None:
    path = copy / "chapters" / "exercises" / f"{FIRST}.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("name: q4_silent")], encoding="utf-8")
    assert any("at least 5 are wanted" in line for line in broken_rules(copy, FIRST))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("# HIDDEN\ndef test_scores", "def test_scores", "mark tests as '# HIDDEN'"),
        ("git+https://", "git+https://elsewhere.", "must begin with"),
        ("# END QUESTION", "# END NOTHING", "not a valid Otter Assign notebook"),
        ("name: q1_pencil\n", "", "not a valid Otter Assign notebook"),
    ],
)
def test_student_notebook_that_would_not_work_is_refused(
    copy: Path, tmp_path_factory: pytest.TempPathFactory, old: str, new: str, complaint: str
) -> None:
    edit(copy, old, new, count=1)
    with pytest.raises(BookError, match=complaint):
        assemble(copy, FIRST, tmp_path_factory.mktemp("assembled"))


def test_outdated_and_missing_student_notebooks_are_reported(copy: Path) -> None:
    (missing,) = build_classroom(copy, check=True)
    assert "is missing; run `python -m book classroom" in missing
    student_path(copy, FIRST).parent.mkdir()
    shutil.copyfile(student_path(ROOT, FIRST), student_path(copy, FIRST))
    assert build_classroom(copy, check=True) == []
    edit(copy, "Attention by pencil", "Attention with a pencil")
    (outdated,) = build_classroom(copy, check=True)
    assert "is not what its master gives" in outdated


def test_student_notebook_stands_alone() -> None:
    text = student_path(ROOT, FIRST).read_text(encoding="utf-8")
    for unwanted in ("import otter", "grader", "SOLUTION", "check_seed", "HIDDEN"):
        assert unwanted not in text
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)


@pytest.mark.parametrize(
    ("points", "complaint"),
    [("points: [1, 2]", "gives points for 2 stages and has 3"), ("points: [1, 1, 2]", None), ("points: 1.5", None)],
)
def test_points_are_shared_by_the_stages_or_given_to_each(copy: Path, points: str, complaint: str | None) -> None:
    edit(copy, "name: q1_pencil\npoints: 3", f"name: q1_pencil\n{points}")
    found = broken_rules(copy, FIRST)
    assert [line for line in found if "points" in line] == (found if complaint else [])
    assert complaint is None or complaint in found[0]


def test_points_given_to_each_stage_weigh_the_marks(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    edit(copy, "name: q1_pencil\npoints: 3", "name: q1_pencil\npoints: [0, 1, 5]")
    folder = tmp_path_factory.mktemp("weighed")
    assemble(copy, FIRST, folder)
    test = create_test_file(str(folder / "out" / "autograder" / "tests" / "q1_pencil.py"), NBMetadataConfig())
    assert [case.points for case in test.test_cases] == [0, 1, 5]

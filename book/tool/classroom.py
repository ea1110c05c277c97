"""Build the exercises of a chapter: the student notebook, the autograder and the solutions, from one master notebook.

``chapters/exercises/NN_name.md`` is the master: MyST Markdown in the format of Otter Assign, with the solutions inside.
``python -m book classroom [NAME...]`` (``make classroom``) turns it into

- ``chapters/exercises/student/NN_name.ipynb``, committed. It needs nothing beside it: the set-up cell is that of a
  chapter, and the checks that students run come from :mod:`plm_chapters.checks`, so that one file opened on Colab gives
  full feedback without Otter-Grader.
- ``_build/classroom/NN_name/``: ``autograder.zip`` (for Otter-Grader or Gradescope) and the notebook with the
  solutions. ``python -m book grade FOLDER`` grades a class into a CSV (:mod:`book.tool.grading`); for one notebook,
  ``otter run -a _build/classroom/NN_name/autograder.zip -o FOLDER_OF_THE_RESULT HANDED_IN.ipynb``.

Writing exercises for a chapter
-------------------------------
1. Checks, in ``chapters/checks/<topic>/``: one :class:`plm_chapters.checks.feedback.Check` for each exercise. Its
   stages go from shape through one mechanism at a time to the full reference; each draws its inputs from ``draw``,
   compares with a truth computed without the student's code, and names the likely mistake
   (``expect_close(mistakes=...)``). Choose inputs that no common mistake survives: sizes that all differ, one token,
   large values.
2. The master, in ``chapters/exercises/NN_name.md``. Start from an existing one. A question is a fenced ``otter`` block
   ``# BEGIN QUESTION`` with ``name`` and ``points`` (``points: 3`` are shared equally by the stages; ``points: [1, 2]``
   give each stage, in order, its own), a heading ``## Exercise N ★★ Title`` (one to three stars), the
   text (what is asked, shapes, what is checked), a solution block whose code cell carries ``# SOLUTION`` marks, a cell
   that calls the check, and a tests block with one ``# HIDDEN`` function for each stage, which calls ``grade`` with the
   autograder's ``check_seed``. Code to start from (find the bug) stands between lines that end in ``# BEGIN PROMPT``
   and ``# END PROMPT`` inside a string; it must earn nothing as it stands. At least five questions, all three levels,
   one titled "Predict, then run".
3. Wrong answers, in ``chapters/exercises/wrong/NN_name.py``: a list ``WRONG`` of dictionaries with the keys
   ``question`` (its name), ``mistake`` (a few words), ``code`` (what a student would type instead of the whole
   answer cell), ``score`` (the points it earns) and ``message`` (a part of the feedback it must get). Every question
   has at least one, and at least one earns partial marks. ``tests/book/test_classroom.py`` finds the file by its name.
4. ``python -m book classroom NN_name``, then commit the master, the wrong answers and the student notebook.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from book.tool.chapters import (
    BookError,
    ChapterFailed,
    read_text,
    repository_url,
    setup_block,
    setup_cell,
    write_atomically,
)
from book.tool.exercise_rules import (
    MASTER_KEY,
    autograder_path,
    broken_rules,
    find_masters,
    master_hash,
    student_path,
)
from book.tool.machine import in_kernel_environment
from book.tool.modules import changed_modules, module_file, module_hash
from book.tool.stamp import KEY, changed_files, file_hash

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LIST_MODULES = """
import json as _json, sys as _sys
print(_json.dumps(sorted(name for name in _sys.modules if name.partition(".")[0] in ("plm_core", "plm_chapters"))))
"""


@dataclass(frozen=True)
class Assembled:
    """What Otter Assign made of one master, in a temporary folder.

    Attributes:
        student: the student notebook, as text.
        solutions: the notebook with the solutions.
        autograder: the zip file with the hidden tests.
    """

    student: str
    solutions: Path
    autograder: Path


def build_classroom(root: Path, names: list[str] | None = None, *, check: bool = False) -> list[str]:
    """Build the student notebooks, autograders and solutions whose sources changed, several side by side.

    The solutions of all that is built are graded, and must get full marks.

    Args:
        root: the repository.
        names: what to build (``05_attention`` or ``05``); all chapters with exercises if empty.
        check: build nothing, only compare the committed student notebooks with their masters.

    Returns:
        With ``check``, one line for each finding; else an empty list.

    Raises:
        BookError: a name without exercises, or a master that breaks a rule.
        ChapterFailed: a solution that does not get full marks.
    """
    chosen = choose_masters(root, names or [])
    findings = [finding for name in chosen for finding in broken_rules(root, name)]
    if check:
        return findings + [line for name in chosen if (line := _outdated(root, name))]
    if findings:
        raise BookError("\n".join(findings))
    stale = []
    for name in chosen:
        why = stale_reason(root, name)
        print(f"{name}: {'building, ' + why if why else 'up to date'}", flush=True)
        stale += [name] if why else []
    if len(stale) < 2:
        for name in stale:
            print(_build(root, name))
        return []

    from tqdm import tqdm

    failures = []
    workers, spawn = min(len(stale), os.cpu_count() or 1), multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, spawn) as pool:
        running = {pool.submit(_build, root, name): name for name in stale}
        for done in tqdm(concurrent.futures.as_completed(running), total=len(running), desc="classroom"):
            try:
                tqdm.write(done.result())
            except BookError as error:
                failures.append(str(error))
    if failures:
        raise ChapterFailed("\n".join(failures))
    return []


def assemble(root: Path, name: str, folder: Path) -> Assembled:
    """Run Otter Assign on one master, offline and without PDFs, in an empty folder.

    Raises:
        BookError: the master is not in the format of Otter Assign, or its student notebook would not work alone.
    """
    from otter.assign import main as otter_assign

    where = f"chapters/exercises/{name}.md"
    master = read_text(find_masters(root)[name])
    for cell in master.cells:
        del cell.metadata["line"]
    cell = setup_cell(master)
    if cell is None or not cell.source.startswith(setup_block(root).rstrip()):
        raise BookError(f"{where}: the cell with the tag `setup` must begin with\n{setup_block(root)}")
    master.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    nbformat.write(master, folder / f"{name}.ipynb")
    shared = yaml.safe_load((root / "chapters" / "exercises" / "assignment.yml").read_text(encoding="utf-8"))
    shared["requirements"] = [f"plm-core @ git+{repository_url(root)}"]
    (folder / "assignment.yml").write_text(yaml.safe_dump(shared), encoding="utf-8")
    try:
        otter_assign(str(folder / f"{name}.ipynb"), str(folder / "out"), no_pdfs=True, no_run_tests=True)
    except Exception as error:  # it raises whatever its parts raise, from AssertionError to SyntaxError
        raise BookError(f"{where} is not a valid Otter Assign notebook: {error}") from error
    graded = folder / "out" / "autograder"
    student = nbformat.read(folder / "out" / "student" / f"{name}.ipynb", as_version=4)
    return Assembled(
        student=_finish_student(student, where, colab_link(root, name), master_hash(root, name)),
        solutions=graded / f"{name}.ipynb",
        autograder=next(graded.glob("*.zip")),
    )


def colab_link(root: Path, name: str) -> str:
    """The address under which Colab opens a student notebook."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    place = repository_url(root).removeprefix("https://github.com/")
    path = student_path(root, name).relative_to(root).as_posix()
    return f"https://colab.research.google.com/github/{place}/blob/{config['repository'].get('branch', 'main')}/{path}"


def _finish_student(notebook: nbformat.NotebookNode, where: str, link: str, master: str) -> str:
    """Make a student notebook reproducible byte by byte; see that it works alone and gives nothing away."""
    for cell in notebook.cells:
        leak = re.search(r"^.*(\bgrader\.|# ?SOLUTION|(BEGIN|END) SOLUTION|check_seed).*$", cell.source, re.MULTILINE)
        if cell.cell_type == "code" and leak:
            raise BookError(
                f"{where}: the student notebook would hold `{leak[0].strip()}`; mark tests as '# HIDDEN' and keep "
                "solutions inside solution blocks"
            )
    opening = f"[Open in Colab]({link}). Replace every `...` by your answer, then run the cell that checks it."
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(opening))
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        cell.source = cell.source.strip("\n")
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": KERNEL,
            "language_info": {"name": "python"},
            "otter": notebook.metadata.get("otter", {}),
            KEY: {MASTER_KEY: master},
        }
    )
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def choose_masters(root: Path, names: Sequence[str]) -> list[str]:
    """The names of the exercises meant by ``05_attention`` or ``05``; of all exercises if ``names`` is empty.

    Raises:
        BookError: there are no exercises of one of the names.
    """
    masters = find_masters(root)
    chosen = []
    for name in names:
        stem = Path(name).stem
        found = [each for each in masters if stem in (each, each.partition("_")[0])]
        if not found:
            raise BookError(f"there are no exercises {name!r}. Exercises: {', '.join(masters) or 'none yet'}")
        chosen += found
    return sorted(set(chosen or masters))


def _build(root: Path, name: str) -> str:
    """Build one set of exercises and grade its solutions; returns a line for people."""
    from otter.api import grade_submission

    where = f"chapters/exercises/{name}.md"
    target = root / "_build" / "classroom" / name
    with tempfile.TemporaryDirectory() as temporary:
        made = assemble(root, name, Path(temporary))
        submission = nbformat.read(made.solutions, as_version=4)
        submission.cells.append(nbformat.v4.new_code_cell(LIST_MODULES))
        handed_in = Path(temporary) / f"{name}_submission.ipynb"
        nbformat.write(submission, handed_in)
        with in_kernel_environment(root, threads=1):
            results = grade_submission(str(handed_in), str(made.autograder), quiet=True)
        if results.total != results.possible:
            raise ChapterFailed(f"{where}: the solution does not get full marks\n{results.summary()}")
        target.mkdir(parents=True, exist_ok=True)
        autograder_path(root, name).write_bytes(made.autograder.read_bytes())
        (target / f"{name}.ipynb").write_bytes(made.solutions.read_bytes())
        write_atomically(student_path(root, name), made.student)
    modules = {module: module_file(root, module) for module in _printed(results.notebook)}
    stamp = {
        "files": {path.relative_to(root).as_posix(): file_hash(path) for path in _files(root, name)},
        "modules": {module: module_hash(path) for module, path in modules.items() if path},
    }
    write_atomically(target / "stamp.json", json.dumps(stamp, indent=1, sort_keys=True) + "\n")
    return f"{name}: the solution gets {results.total:g} of {results.possible:g} points"


def _printed(notebook: nbformat.NotebookNode) -> list[str]:
    """The modules that :data:`LIST_MODULES` printed in a graded notebook."""
    cell = next(cell for cell in reversed(notebook.cells) if LIST_MODULES.strip() in cell.source)
    return list(json.loads(cell.outputs[0].text))


def _files(root: Path, name: str) -> list[Path]:
    """What a build depends on besides the modules that the exercises import."""
    folder = root / "chapters" / "exercises"
    own = root / "book" / "tool" / "classroom.py"
    return [find_masters(root)[name], folder / "assignment.yml", root / "_config.yml", own, student_path(root, name)]


def stale_reason(root: Path, name: str) -> str | None:
    """The reason for building, in words; ``None`` if nothing changed since the last build."""
    target = root / "_build" / "classroom" / name
    for path in (target / "autograder.zip", target / f"{name}.ipynb", target / "stamp.json"):
        if not path.is_file():
            return f"{path.relative_to(root).as_posix()} is missing"
    stamp: dict[str, Any] = json.loads((target / "stamp.json").read_text(encoding="utf-8"))
    return "; ".join(changed_files(root, stamp["files"]) + changed_modules(root, stamp["modules"])) or None


def _outdated(root: Path, name: str) -> str | None:
    """Say so if the committed student notebook is not what its master gives."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            wanted = assemble(root, name, Path(temporary)).student
        except BookError as error:
            return str(error)
    path = student_path(root, name)
    if path.is_file() and path.read_text(encoding="utf-8") == wanted:
        return None
    state = "is not what its master gives" if path.is_file() else "is missing"
    return f"{path.relative_to(root).as_posix()}: {state}; run `python -m book classroom {name}` and commit it"

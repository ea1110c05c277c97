"""Executing: only what is stale, for a stated reason, reproducibly, and leaving the old notebook alone on failure."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from book.__main__ import main
from book.tool.machine import cores, kernel_environment
from book.tool.modules import module_hash
from book.tool.stamp import text_hash

TEXT, NOTEBOOK = "chapters/01_lines.md", "chapters/01_lines.ipynb"
OTHER, OTHER_NOTEBOOK = "chapters/02_settings.md", "chapters/02_settings.ipynb"


def stamp_of(path: Path) -> dict:
    return nbformat.read(path, as_version=4).metadata["plm"]


def without_stamp(path: Path) -> dict:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    del notebook["metadata"]["plm"]
    return notebook


def test_a_fresh_book_is_left_alone(tiny, capsys) -> None:
    before = tiny.path(NOTEBOOK).read_bytes()
    assert main(["execute"], tiny.root) == 0
    assert capsys.readouterr().out == "2 chapters up to date, nothing to execute.\n"
    assert tiny.path(NOTEBOOK).read_bytes() == before


def test_the_stamp_says_what_was_used_and_on_what(tiny) -> None:
    stamp = stamp_of(tiny.path(NOTEBOOK))
    # Only what was really imported: not the rest of the library.
    assert set(stamp["modules"]) == {"plm_chapters", "plm_chapters.notebook", "plm_core"}
    assert stamp["modules"]["plm_chapters.notebook"] == module_hash(tiny.path("chapters/notebook.py"))
    assert set(stamp["files"]) == {"plm_core/figures.mplstyle"}
    assert stamp["text"] == text_hash(tiny.path(TEXT).read_text())
    assert stamp["preset"] == "laptop"
    assert stamp["precision"] == "fp32"
    assert stamp["seconds"] > 0
    assert stamp["peak_memory_mib"] > 10
    assert stamp["versions"]["python"] == "{}.{}.{}".format(*sys.version_info)
    assert set(stamp["versions"]) == {"python", "torch", "numpy", "plm-core"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", stamp["date"])
    assert set(stamp_of(tiny.path(OTHER_NOTEBOOK))["modules"]) == {"plm_core", "plm_core.config", "plm_core.files"}


def test_outputs_hold_no_path_and_no_time(tiny) -> None:
    text = tiny.path(OTHER_NOTEBOOK).read_text(encoding="utf-8")
    assert "plm_core/config.py" in text  # the traceback of the expected error
    for outputs in (cell.get("outputs") for cell in json.loads(text)["cells"]):
        assert "/book/plm_core" not in json.dumps(outputs)
        assert not re.search(r"/tmp/|ipykernel_\d", json.dumps(outputs))
    assert "iopub" not in text


def test_executing_again_gives_the_same_notebook(tiny) -> None:
    before = without_stamp(tiny.path(OTHER_NOTEBOOK))
    assert main(["execute", "--force", "02"], tiny.root) == 0
    assert without_stamp(tiny.path(OTHER_NOTEBOOK)) == before


def test_only_the_chapters_that_import_a_changed_module_run(tiny, capsys) -> None:
    other = tiny.path(NOTEBOOK).read_bytes()
    with tiny.path("plm_core/config.py").open("a") as file:
        file.write("\n# touched\n")
    assert main(["execute"], tiny.root) == 0
    said = capsys.readouterr().out
    assert "02_settings: plm_core.config changed\n" in said
    assert "01_lines" not in said
    assert tiny.path(NOTEBOOK).read_bytes() == other
    assert tiny.said() == []


def test_changed_prose_is_taken_over_without_running(tiny, capsys) -> None:
    before = stamp_of(tiny.path(NOTEBOOK))
    tiny.edit(TEXT, "The line rises by", "It rises by")
    assert main(["execute"], tiny.root) == 0
    said = capsys.readouterr().out
    assert "01_lines: text changed, its code did not\n1 taken over without running." in said
    assert "side by side" not in said
    assert {**stamp_of(tiny.path(NOTEBOOK)), "text": 0, "cells": 0} == {**before, "text": 0, "cells": 0}
    assert "It rises by" in tiny.path(NOTEBOOK).read_text()
    assert tiny.said() == []


def test_changed_code_is_run_side_by_side(tiny, capsys) -> None:
    tiny.edit(TEXT, "assert ratio == 2", "assert ratio == 2.0")
    tiny.edit(OTHER, '{"values": 1}', '{"values": 2}')
    assert main(["execute", "--jobs", "2"], tiny.root) == 0
    said = capsys.readouterr().out
    assert "01_lines: code changed" in said
    assert "02_settings: code changed" in said
    assert re.search(r"2 of 2 executed in \d+ s, 2 side by side", said)
    assert tiny.said() == []


def test_ids_of_cells_stay_when_another_cell_changes(tiny) -> None:
    def ids() -> list[str]:
        return [cell.id for cell in nbformat.read(tiny.path(NOTEBOOK), as_version=4).cells]

    before = ids()
    assert len(set(before)) == len(before)
    tiny.edit(TEXT, "# Lines\n", "# Lines\n\nA first paragraph.\n\n+++\n\nAnother cell.\n")
    assert main(["execute"], tiny.root) == 0
    after = ids()
    assert after[-len(before) + 1 :] == before[1:]


def test_a_failing_cell_is_named_and_leaves_the_old_notebook(tiny, capsys) -> None:
    old = tiny.path(NOTEBOOK).read_bytes()
    tiny.edit(TEXT, "assert ratio == 2", "print('so far')\nassert ratio == 3, 'the ratio is not three'")
    tiny.edit(OTHER, '{"values": 1}', '{"values": 2}')
    line = tiny.line(TEXT, "so far") - 1
    assert main(["execute"], tiny.root) == 1
    out, said = capsys.readouterr()
    assert f"{TEXT}:{line}: this cell failed" in said
    assert "AssertionError: the ratio is not three" in said
    assert "assert ratio == 3" in said
    assert "Traceback" not in said
    assert tiny.path(NOTEBOOK).read_bytes() == old
    assert "1 of 2 executed" in out  # the other one is finished
    assert '"values\\": 2' in tiny.path(OTHER_NOTEBOOK).read_text()


def test_a_kernel_that_dies_is_reported(tiny, capsys) -> None:
    tiny.edit(OTHER, "@dataclass(frozen=True)", "import os\nos._exit(9)\n\n@dataclass(frozen=True)")
    assert main(["execute", "02"], tiny.root) == 1
    assert "the kernel died in this cell" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "pattern"),
    [
        ("\n1 / 0\n", r"plm_core/config\.py cannot be imported: ZeroDivisionError: division by zero"),
        ("\ndef (\n", r"plm_core/config\.py cannot be imported: SyntaxError"),
        ("\nimport no_such_module\n", r"plm_core/config\.py cannot be imported: ModuleNotFoundError.*no_such_module"),
    ],
    ids=["raises", "syntax", "import"],
)
def test_a_module_that_cannot_be_imported_is_named(tiny, capsys, broken, pattern) -> None:
    with tiny.path("plm_core/config.py").open("a") as file:
        file.write(broken)
    assert main(["execute"], tiny.root) == 2
    said = capsys.readouterr().err
    assert re.search(rf"{OTHER}:\d+: {pattern}", said), said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["01_line"], "there is no chapter '01_line'. Did you mean 01_lines? Chapters: 01_lines, 02_settings"),
        (["99"], "there is no chapter '99'. Chapters: 01_lines, 02_settings"),
        (["--preset", "huge"], "unknown preset 'huge': use one of laptop, gpu"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
    ],
)
def test_bad_input_gives_one_message(tiny, capsys, arguments, message) -> None:
    assert main(["execute", *arguments], tiny.root) == 2
    assert capsys.readouterr().err == f"execute: {message}\n"


def test_missing_text_is_not_invented(tiny, capsys) -> None:
    tiny.path(TEXT).unlink()
    assert main(["execute"], tiny.root) == 2
    assert f"{NOTEBOOK} has no text {TEXT}" in capsys.readouterr().err


def test_a_text_that_is_not_valid_is_named(tiny, capsys) -> None:
    tiny.edit(TEXT, ":tags: [nbval-ignore-output]", ":tags: [nbval-ignore-output")
    assert main(["execute"], tiny.root) == 2
    said = capsys.readouterr().err
    assert TEXT in said
    assert "Traceback" not in said


def test_a_notebook_edited_without_its_text_is_not_overwritten(tiny, capsys) -> None:
    edited = tiny.path(OTHER_NOTEBOOK).read_text().replace('\\"values\\": 1', '\\"values\\": 7')
    tiny.path(OTHER_NOTEBOOK).write_text(edited)
    assert main(["execute"], tiny.root) == 2
    said = capsys.readouterr().err
    assert f"{OTHER_NOTEBOOK} was edited, {OTHER} was not" in said
    assert "jupytext --to md:myst" in said
    assert tiny.path(OTHER_NOTEBOOK).read_text() == edited
    assert main(["execute", "--force", "02"], tiny.root) == 0
    assert tiny.said() == []


def test_the_set_up_cell_follows_the_address(tiny, capsys) -> None:
    tiny.edit("_config.yml", "https://github.com/plm-book/plm-book", "https://github.com/elsewhere/book")
    tiny.path(TEXT).rename(tiny.path("kept"))
    tiny.path(NOTEBOOK).unlink()  # one chapter is enough here
    assert main(["execute", "02"], tiny.root) == 0
    text = tiny.path(OTHER).read_text()
    assert 'os.environ.get("PLM_SOURCE", "git+https://github.com/elsewhere/book")' in text
    assert text.count("%pip install") == 1
    assert "from plm_core.config import Config" in text
    assert "github.com/elsewhere" in tiny.path("chapters/exercises/02_settings.md").read_text()
    [(_, _, message)] = tiny.said()
    assert message.startswith("the exercises changed since the student notebook"), "it holds the old address"


def test_another_kernel_registered_under_the_same_name_is_not_used(tiny, tmp_path, monkeypatch) -> None:
    kernels = tmp_path / "kernels" / "python3"
    kernels.mkdir(parents=True)
    spec = {"argv": ["no-such-interpreter", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert main(["execute", "--force", "02"], tiny.root) == 0


def test_kernels_share_the_cores_and_show_no_bars(root) -> None:
    env = kernel_environment(root, threads=3, preset="gpu")
    assert env["OMP_NUM_THREADS"] == env["MKL_NUM_THREADS"] == "3"
    assert env["TQDM_DISABLE"] == "1"
    assert env["PLM_PRESET"] == "gpu"
    assert env["PYTHONPATH"].split(os.pathsep)[0] == str(root)
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_an_interruption_keeps_finished_chapters(tiny) -> None:
    tiny.edit(TEXT, "assert ratio == 2", "import threading\nthreading.Event().wait()")
    tiny.edit(OTHER, '{"values": 1}', '{"values": 2}')
    old = tiny.path(NOTEBOOK).read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-m", "book", "execute", "--jobs", "2"],
        cwd=tiny.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("02_settings: executed"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "finished chapters are kept" in said
    assert "Traceback" not in said
    assert tiny.path(NOTEBOOK).read_bytes() == old
    assert '"values\\": 2' in tiny.path(OTHER_NOTEBOOK).read_text()
    assert not list(tiny.path("chapters").glob("*.tmp"))

"""Experiments: every variant with every seed, resumed where they stopped, stored with what they came from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from book.__main__ import main
from book.tool.experiment import load_saved, load_stored, saved_path
from book.tool.modules import module_hash
from tests import forked

pytestmark = pytest.mark.xdist_group("processes")  # one worker loads the server that they are forked from
SCRIPT = '''\
"""A tiny experiment: one variant works only once it is allowed to."""

from pathlib import Path

VARIANTS = ["plain", "picky / variant"]
SEEDS = [0, 1]


def run(variant, seed, preset):
    from plm_core.config import Config

    if variant != "plain" and not Path("allowed").exists():
        raise ValueError("not allowed yet")
    return {"value": 10 * VARIANTS.index(variant) + seed, "preset_seen": preset}
'''
STORED = "chapters/experiments/results/03_tiny.laptop.json"


FORKING = """
import multiprocessing, runpy
get_context = multiprocessing.get_context
multiprocessing.get_context = lambda method: get_context("fork" if method == "spawn" else method)
runpy.run_module("book", run_name="__main__", alter_sys=True)
"""
"""The build tool, whose runs are forked from it and need not import torch; ``spawned`` runs it as it is."""


@pytest.fixture
def experiment(tiny) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m book experiment`` on a copy that holds one."""
    tiny.path("chapters/experiments/03_tiny.py").write_text(SCRIPT)

    def run(*arguments: str, spawned: bool = False) -> subprocess.CompletedProcess[str]:
        program = ["-m", "book"] if spawned else ["-c", FORKING]
        return forked.run(*program, "experiment", *arguments, cwd=tiny.root, own_library=True)

    return run


def test_failed_runs_are_named_and_the_others_are_kept_for_the_next_time(tiny, experiment) -> None:
    failed = experiment("03", spawned=True)
    assert failed.returncode == 1
    assert "2 of 4 runs failed (the others are kept)" in failed.stderr
    assert "picky / variant, seed 1: ValueError: not allowed yet (03_tiny.py, line 13)" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not tiny.path(STORED).exists()

    tiny.path("allowed").touch()
    done = experiment("03_tiny", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert "03_tiny (laptop): 4 runs, 2 already there, 2 to do" in done.stdout
    results = json.loads(tiny.path(STORED).read_text())
    assert [(run["variant"], run["seed"], run["value"]) for run in results["runs"]] == [
        ("plain", 0, 0),
        ("plain", 1, 1),
        ("picky / variant", 0, 10),
        ("picky / variant", 1, 11),
    ]
    assert {run["preset_seen"] for run in results["runs"]} == {"laptop"}
    assert results["experiment"] == "03_tiny"
    assert results["command"] == "python -m book experiment 03 --preset laptop"
    assert results["seeds"] == [0, 1]
    assert set(results["versions"]) == {"python", "torch", "numpy"}
    assert results["library"]["plm_core.config"] == module_hash(tiny.path("plm_core/config.py"))
    assert "plm_chapters.experiments.03_tiny" in results["library"]
    assert "plm_chapters.notebook" not in results["library"]

    # Nothing is run twice, not even where only the stored file is left.
    before = tiny.path(STORED).read_bytes()
    runs = [("plain", 0), ("plain", 1), ("picky / variant", 0), ("picky / variant", 1)]
    for path in tiny.path("_build/experiments/03_tiny.laptop").iterdir():
        path.unlink()
    assert set(load_stored(tiny.root, tiny.path(STORED), runs)) == set(runs)
    assert "is up to date" in experiment("03").stdout
    assert tiny.path(STORED).read_bytes() == before


def test_saved_runs_count_only_while_their_modules_are_unchanged(tiny, capsys) -> None:
    folder, run = tiny.path("_build/saved"), ("plain", 0)
    folder.mkdir(parents=True)
    record = {"library": {"plm_core.config": module_hash(tiny.path("plm_core/config.py"))}, "result": {}}
    saved_path(folder, run).write_text(json.dumps(record))
    assert load_saved(tiny.root, folder, [run]) == {run: record}
    with tiny.path("plm_core/config.py").open("a") as file:
        file.write("\n# touched\n")
    assert load_saved(tiny.root, folder, [run]) == {}
    assert capsys.readouterr().out == "1 saved run set aside: plm_core.config changed\n"


def test_a_torn_record_is_passed_over(tiny) -> None:
    folder, run = tiny.path("_build/saved"), ("plain", 0)
    folder.mkdir(parents=True)
    saved_path(folder, run).write_text('{"library": {')
    assert load_saved(tiny.root, folder, [run]) == {}


def test_names_of_variants_cannot_collide_or_escape(tiny) -> None:
    names = ["a/b", "a b", "a-b", "../a-b", "A-b"]
    paths = {saved_path(tiny.root, (name, 0)) for name in names}
    assert len(paths) == len(names)
    assert {path.parent for path in paths} == {tiny.root}


def test_fewer_seeds_leave_the_stored_results_alone(tiny, experiment) -> None:
    tiny.path("allowed").touch()
    done = experiment("03", "--seeds", "1", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert not tiny.path(STORED).exists()
    results = json.loads(tiny.path("_build/experiments/03_tiny.laptop.json").read_text())
    assert [(run["seed"]) for run in results["runs"]] == [1, 1]
    assert results["command"].endswith("--seeds 1")


def test_partial_results_are_stored_with_what_is_missing_and_completed_later(tiny, experiment) -> None:
    tiny.path("allowed").touch()
    wrong = experiment("03", "--variants", "odd")
    assert wrong.returncode == 2
    assert wrong.stderr == "experiment: there is no variant 'odd'. Variants: 'plain', 'picky / variant'\n"

    done = experiment("03", "--variants", "plain", "--seeds", "1", "--jobs", "1", "--partial")
    assert done.returncode == 0, done.stderr
    assert "3 of 4 runs are missing" in done.stdout
    results = json.loads(tiny.path(STORED).read_text())
    assert [(run["variant"], run["seed"]) for run in results["runs"]] == [("plain", 1)]
    assert {"variant": "plain", "seed": 0} in results["missing"]

    # With another library the stored run counts only on request; the rest is run beside it.
    with tiny.path("plm_core/config.py").open("a") as file:
        file.write("\n# touched\n")
    for path in tiny.path("_build/experiments/03_tiny.laptop").iterdir():
        path.unlink()
    done = experiment("03", "--older", "--jobs", "2")
    assert "03_tiny (laptop): 4 runs, 1 already there, 3 to do" in done.stdout
    results = json.loads(tiny.path(STORED).read_text())
    assert len(results["runs"]) == 4
    assert "missing" not in results


def test_a_run_that_keeps_checkpoints_finds_its_folder_again_until_it_is_finished(tiny, experiment) -> None:
    """The first try leaves a checkpoint and fails; the second finds it, and the folder goes with success."""
    script = tiny.path("chapters/experiments/03_tiny.py")
    script.write_text(
        'VARIANTS, SEEDS = ["long"], [7]\n\n\n'
        "def run(variant, seed, preset, folder):\n"
        "    if not folder.exists():\n"
        "        folder.mkdir(parents=True)\n"
        '        raise ValueError("killed")\n'
        '    return {"resumed": True}\n'
    )
    assert experiment("03").returncode == 1
    assert experiment("03").returncode == 0
    assert json.loads(tiny.path(STORED).read_text())["runs"][0]["resumed"] is True
    assert [path.suffix for path in tiny.path("_build/experiments/03_tiny.laptop").iterdir()] == [".json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["04"], "there is no experiment '04'. Experiments: 03_tiny"),
        (["03", "--preset", "huge"], "unknown preset 'huge': use one of laptop, gpu"),
        (["03", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["03", "--seeds", "-1"], "seeds must not be negative, got -1"),
    ],
)
def test_bad_input_gives_one_message(tiny, capsys, arguments, message) -> None:
    tiny.path("chapters/experiments/03_tiny.py").write_text(SCRIPT)
    assert main(["experiment", *arguments], tiny.root) == 2
    assert capsys.readouterr().err == f"experiment: {message}\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("1 / 0\n", "chapters/experiments/03_tiny.py cannot be imported: ZeroDivisionError"),
        ("VARIANTS = ['a']\nSEEDS = []\ndef run(): ...\n", "must define VARIANTS (names), SEEDS (numbers) and run"),
    ],
)
def test_a_script_that_breaks_its_contract_is_named(tiny, experiment, script, message) -> None:
    tiny.path("chapters/experiments/03_tiny.py").write_text(script)
    done = experiment("03")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr

"""Killed at any instant, also during a save, and resumed: a run ends with the bits of the one that nobody killed."""

import json
from pathlib import Path

import pytest

from tests import forked

DEATHS = 16


@pytest.mark.xdist_group("processes")
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork, and has no SIGKILL")
def test_killed_and_resumed_to_the_same_bits(tmp_path):
    program = Path(__file__).with_name("mortal_runs.py")
    done = forked.run(program, tmp_path, str(DEATHS), cwd=program.parents[2])
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    whole = {line["mode"]: line["remains"] for line in lines if "killed" not in line}
    runs = [line for line in lines if "killed" in line]
    assert len(runs) == DEATHS
    for remains in whole.values():
        assert {"metrics.jsonl", "step-000000012/state.pt", "step-000000012/weights.safetensors"} <= remains.keys()
        assert any(name.startswith("best-") for name in remains)
    for number, run in enumerate(runs):
        assert run["remains"] == whole[run["mode"]], f"run {number}"
    assert all(run["killed"] for run in runs if not run["outside"]), "those that count their own instants all die"
    assert sum(run["half_saved"] for run in runs) >= 3, "some of them in the middle of a save"

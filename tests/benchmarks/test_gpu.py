"""The measurements for a GPU go their whole way on a CPU, at a tiny size; what they measure there means nothing."""

import json

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.gpu import PARTS, Part, gpu, run_parts
from benchmarks.gpu_parts import KINDS, Setting
from tests.benchmarks.sides import FORKED

pytestmark = pytest.mark.xdist_group("processes")


def setting(tmp_path, **changes) -> Setting:
    given = {"corpus": "python-documentation", "dry_run": True, "seconds": 30.0, "compile": False}
    return Setting(device=torch.device("cpu"), output=tmp_path / "part.json", **given | changes)


def test_parts_run_in_order_of_worth_and_leave_a_file_each(tmp_path) -> None:
    result = gpu(minutes=30, output=tmp_path / "gpu", device="cpu", dry_run=True, only=("one rank", "varlen kernel"))
    assert [(part["name"], part["outcome"], part["message"]) for part in result["parts"]] == [
        ("varlen kernel", "done", ""),
        ("one rank", "done", ""),
    ]
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "gpu").glob("*.json")}
    assert found.pop("summary.json") == json.loads(json.dumps(result))
    assert len(found) == 2
    for row in found["varlen_kernel.json"]["result"]["rows"]:
        assert max(row["error"]) < 0.05
    assert found["one_rank.json"]["result"]["largest_difference"] == 0


def test_every_part_has_its_measurement() -> None:
    assert {part.arguments[0] for part in PARTS} == set(KINDS)


def test_loss_scaling_ends_where_fp32_does_and_skips_what_overflows(tmp_path) -> None:
    runs = KINDS["fp16"](setting(tmp_path))
    assert runs["fp16"]["loss"] == pytest.approx(runs["fp32"]["loss"], abs=0.02)
    assert runs["fp16 from 2^40"]["steps"] == runs["fp16"]["steps"]  # skipped steps advance nothing


def test_a_language_model_trains_for_the_time_that_is_left(tmp_path) -> None:
    assert 0 < KINDS["text"](setting(tmp_path))["bits_per_byte"] < 9
    assert KINDS["chapters"](setting(tmp_path)) == {"done": []}
    with pytest.raises(ValueError, match="unknown corpus 'books'"):
        KINDS["text"](setting(tmp_path, corpus="books"))


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_contests_are_those_of_the_other_commands(kind, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.contest.multiprocessing", FORKED)
    assert set(KINDS[kind](setting(tmp_path))["ratios"]) == {"hf", "hf-tuned"}


def test_a_part_that_fails_or_takes_too_long_stops_nothing(tmp_path) -> None:
    parts = [Part("unknown", 1, ("nothing",)), Part("fp16", 1, ("fp16",)), Part("late", 1, ("varlen",))]
    common = ["--device", "cpu", "--corpus", "python-documentation", "--dry-run"]
    first, *others = run_parts(parts, common, tmp_path, seconds=1.2)
    assert first.outcome in ("failed", "out of time")
    assert {record.outcome for record in others} <= {"out of time", "skipped"}
    assert not list(tmp_path.glob("*.json"))


def test_mistakes_are_named(tmp_path, capsys) -> None:
    with pytest.raises(ValueError, match="for a GPU"):
        gpu(device="cpu", output=tmp_path)
    with pytest.raises(ValueError, match="must be positive"):
        gpu(device="cpu", dry_run=True, minutes=0, output=tmp_path)
    with pytest.raises(ValueError, match="no part 'all'"):
        gpu(device="cpu", dry_run=True, only=("all",), output=tmp_path)
    assert main(["gpu", "--device", "cpu", "--output", str(tmp_path)]) == 2
    assert "--dry-run" in capsys.readouterr().err

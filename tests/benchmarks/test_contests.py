"""The contests run end to end at a tiny size, on equal terms, and refuse unequal sides. Nothing here asserts a time."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import ours, results
from benchmarks import report as report_module
from benchmarks.__main__ import main
from benchmarks.causal import causal
from benchmarks.contest import Contestant, Turn, ratios, require_equal_losses, started
from benchmarks.data import data
from benchmarks.generate import generate
from benchmarks.int8 import int8
from benchmarks.job import Job
from benchmarks.memory import memory
from benchmarks.pretrain import pretrain
from benchmarks.text import padding_share
from benchmarks.training import SIDES, training_flops
from plm_core.models.cost import flops_per_token
from tests.benchmarks.sides import FORKED, traced

pytestmark = pytest.mark.xdist_group("processes")  # one worker loads the server that they are forked from

SMOKE = {"shape": "smoke", "corpus": "python-documentation", "vocab_size": 600, "threads": 1, "rounds": 1}


@pytest.fixture(autouse=True)
def _results_elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(report_module, "RESULTS", tmp_path)


@pytest.fixture
def _forked(monkeypatch) -> None:
    """Fork the sides' processes; that of a side with a mistake, below, is spawned as the command does it."""
    monkeypatch.setattr("benchmarks.contest.multiprocessing", FORKED)


@pytest.mark.usefixtures("_forked")
def test_pretraining_computes_the_same_on_all_sides() -> None:
    result = pretrain(**SMOKE, steps=1, length=48, batch_size=4)
    first, *others = result["losses"].values()
    for losses in others:
        assert losses == pytest.approx(first, abs=1e-4)
    assert set(result["ratios"]) == {"hf", "hf-tuned"}
    assert 0 < result["padding_share"] < 1
    stored = results.load_result("pretrain_smoke")
    assert stored == json.loads(json.dumps(result))
    assert stored["commit"] is not None
    assert stored["settings"]["batch_size"] == 4


@pytest.mark.usefixtures("_forked")
def test_causal_training_computes_the_same_on_all_sides() -> None:
    result = causal(**SMOKE, steps=1, length=32, batch_size=3, rows="paragraphs", save=False)
    assert result["losses"]["plm"] == pytest.approx(result["losses"]["hf"], abs=1e-4)


@pytest.mark.usefixtures("_forked")
def test_a_gpu_settings_path_runs_on_a_cpu_too() -> None:
    result = memory(**SMOKE | {"rounds": 1}, lengths=(16,), tokens=32, precision="bf16", save=False)
    assert [row["length"] for row in result["rows"]] == [16]


def test_integers_are_timed_against_floats_with_a_profile(tmp_path) -> None:
    result = int8(shape="smoke", lengths=(8,), threads=(1,), rounds=2, folder=tmp_path / "files", save=False)
    names = {row["candidate"] for row in result["rows"]}
    assert names > {"torch fp32", "onnxruntime fp32", "onnxruntime int8 dynamic", "onnxruntime int8 static"}
    assert {row["candidate"]: row["error"] for row in result["rows"]}["onnxruntime fp32"] < 1e-3
    assert result["bytes"]["onnxruntime int8 dynamic"] < result["bytes"]["onnxruntime fp32"] / 3
    for profile in result["profiles"]:
        assert 0 < sum(profile["share"].values()) <= 1.001
    integers = {profile["candidate"]: set(profile["share"]) for profile in result["profiles"]}
    assert {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"} & integers["onnxruntime int8 dynamic"]
    assert "QLinearMatMul" in integers["onnxruntime int8 static"]  # else the weights are read back to floats
    with pytest.raises(ValueError, match="unknown shape"):
        int8(shape="huge", save=False)


@pytest.mark.usefixtures("_forked")
def test_generation_writes_the_same_tokens() -> None:
    result = generate(**SMOKE, steps=1, new_tokens=5, batch_size=2)
    assert result["sides"]["plm"]["tokens_per_second"] > 0


def test_tokenizers_and_token_files() -> None:
    result = data(rounds=1, megabytes=1)
    assert set(result["ratios"]) == {"WordPiece", "BPE"}


def contestant(name: str, losses: list[float], turns: list[Turn] | None = None) -> Contestant:
    return Contestant(name, None, {"losses": losses, "gradient_norms": [1.0]}, turns or [])  # type: ignore[arg-type]


def test_unequal_sides_are_refused() -> None:
    require_equal_losses([contestant("a", [1.0, 2.0]), contestant("b", [1.0, 2.00009])])
    with pytest.raises(ValueError, match="a and b do not compute the same: losses"):
        require_equal_losses([contestant("a", [1.0]), contestant("b", [1.001])])
    with pytest.raises(ValueError, match="do not compute the same"):
        require_equal_losses([contestant("a", [1.0]), contestant("b", [float("nan")])])


def test_ratios_are_taken_round_by_round() -> None:
    ours = contestant("plm", [], [Turn(1.0, 300, 1, 1.0), Turn(2.0, 300, 1, 1.0), Turn(1.0, 400, 1, 2.0)])
    theirs = contestant("hf", [], [Turn(1.0, 100, 1, 1.0), Turn(2.0, 100, 1, 1.0), Turn(1.0, 100, 1, 1.0)])
    ours.peak_mib, theirs.peak_mib = 50.0, 200.0
    found = ratios(ours, theirs)
    assert found["speed"] == 3
    assert found["speed_least"] == 3
    assert found["speed_most"] == 4
    assert found["peak_memory"] == 0.25


def test_padding_share_of_known_rows() -> None:
    assert padding_share([4, 4, 4, 4], 2) == 0
    assert padding_share([2, 4], 2) == 0.25


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on a CPU needs a C++ compiler")
@pytest.mark.usefixtures("_forked")
def test_compiled_sides_compute_the_same(monkeypatch) -> None:
    for name, side in SIDES.items():
        monkeypatch.setitem(SIDES, name, partial(traced, side))
    result = pretrain(**SMOKE, steps=1, length=48, batch_size=4, compile=True, save=False)
    assert result["losses"]["plm"] == pytest.approx(result["losses"]["hf"], abs=1e-4)


def test_hardware_use_is_operations_needed_by_time_taken() -> None:
    side = contestant("plm", [], [Turn(2.0, 300, 1, 1.0)])
    told = results.summary(side, flops_per_token=2e9, peak=3e12)
    assert (told["gflops_per_second"], told["mfu"]) == (300.0, 0.1)
    assert results.hardware_use(told) == "10% MFU"
    assert results.hardware_use(results.summary(side, flops_per_token=2e9)) == "300 GFLOP/s"
    assert results.hardware_use(results.summary(side)) == ""


def test_operations_of_a_token_follow_the_row_it_stands_in() -> None:
    job = Job("mlm+nsp", Path(), "tiny", batch_size=2, length=128)
    short, long, both = (training_flops(job, rows, vocab_size=100) for rows in ([16, 16], [96], [16, 16, 96]))
    config = job.model_config(vocab_size=100, dropout=0.0)
    assert short == 3 * flops_per_token(config, 16)
    scores = 12 * config.num_hidden_layers * config.hidden_size  # operations for each token that is attended to
    # a quarter of the tokens see 16 others, three quarters see 96; the pooler's share is as at the mean of 76
    assert both == pytest.approx(short / 4 + long * 3 / 4, rel=0.01)
    assert long - short == pytest.approx(80 * scores, rel=0.2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is what a machine without a GPU says")
@pytest.mark.parametrize(
    "command",
    [
        "pretrain --shape bert-base --length 512 --precision bf16 --compile",
        "causal --shape gpt2 --length 1024 --precision bf16 --compile",
        "generate --shape gpt2",
        "memory --shape tiny --precision bf16",
    ],
)
def test_without_a_gpu_cuda_is_refused_before_any_work(command, capsys) -> None:
    assert main([*command.split(), "--device", "cuda", "--corpus", "nothing"]) == 2
    assert "torch finds no CUDA GPU here; use 'cpu'" in capsys.readouterr().err


def test_a_mistake_that_a_side_notices_reaches_the_command(tmp_path) -> None:
    job = Job("causal", tmp_path / "nothing", "smoke", batch_size=2, length=16)
    with pytest.raises(OSError, match="nothing"), started("plm", ours.train, job, device="cpu", threads=1):
        pass


def test_mistakes_are_one_line_and_exit_code_2(capsys) -> None:
    assert main(["pretrain", "--shape", "huge", "--corpus", "python-documentation"]) == 2
    assert "unknown shape 'huge'" in capsys.readouterr().err
    assert main(["causal", "--corpus", "nothing"]) == 2
    assert "unknown corpus" in capsys.readouterr().err

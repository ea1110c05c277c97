"""Several processes train what one would: the same gradients, losses and weights; and a failure is reported once."""

import pickle
import runpy
import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from plm_core.distributed import Processes, start_processes
from plm_core.objectives.causal_lm import CausalLM
from plm_core.training.checkpoints.directory import LAST, WEIGHTS, complete, newest_checkpoint
from plm_core.training.checkpoints.sharded import OPTIMIZER
from plm_core.training.config import TrainConfig
from plm_core.training.logs import METRICS_FILE
from plm_core.training.trainer import Trainer

ranks = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ranks.py"))))

STRATEGIES = ["ddp", "fsdp"]
pytestmark = pytest.mark.xdist_group("processes")  # they share pairs of processes


def assert_equal_tensors(found, expected, *, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] is None) == (value is None), name
        if value is not None:
            torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance, msg=lambda m, name=name: name + m)


def assert_equal_records(found, expected, *, tolerance):
    assert [record.keys() for record in found] == [record.keys() for record in expected]
    for one, other in zip(found, expected, strict=True):
        for key in one:
            assert one[key] == pytest.approx(other[key], abs=tolerance, rel=tolerance), key


GRADIENTS = [
    {"both": both, "position": position, "split": split}
    for both in (True, False)
    for position in ("learned", "t5")
    for split in (False, True)
]


@pytest.fixture(scope="module")
def together(returned, tmp_path_factory):
    """What two processes return for a task: one pair of processes for each strategy does all that only compute."""
    folder = tmp_path_factory.mktemp("together")

    @cache
    def by_strategy(strategy):
        tasks = [("gradients", options) for options in GRADIENTS if strategy == "ddp" or not options["split"]]
        tasks += [("train", {"steps": 50}), ("train", {"dropout": 0.3, "folder": folder / strategy})]
        tasks += [("random_numbers", {})] if strategy == "ddp" else [("parts", {})]
        return tasks, list(zip(*returned("several", strategy=strategy, tasks=tasks), strict=True))

    def answers(task, *, strategy, **options):
        if "dropout" in options:
            options["folder"] = folder / strategy
        tasks, found = by_strategy(strategy)
        return list(found[tasks.index((task, options))])

    answers.folder = folder
    return answers


@pytest.mark.parametrize("both", [True, False], ids=["mlm+nsp", "mlm"])
@pytest.mark.parametrize("position", ["learned", "t5"])
def test_two_processes_have_the_gradients_of_one(together, both, position):
    """Also with heads that no loss reaches (mlm), and with parameters that the blocks share (t5)."""
    options = {"both": both, "position": position}
    alone = ranks.gradients(Processes(), **options)
    assert_equal_tensors(ranks.gradients(Processes(), split=True, **options), alone, tolerance=1e-6)
    assert max(value.abs().max() for value in alone.values() if value is not None) > 1e-2
    for strategy in STRATEGIES:
        for found in together("gradients", strategy=strategy, split=False, **options):
            assert_equal_tensors(found, alone, tolerance=1e-6)
    for found in together("gradients", strategy="ddp", split=True, **options):
        assert_equal_tensors(found, alone, tolerance=1e-6)


@pytest.fixture(scope="module")
def alone():
    """Fifty steps of one process; the windows cross the ends of epochs, which have a short last batch."""
    return ranks.train(Processes(), steps=50)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fifty_steps_of_two_processes_equal_those_of_one(together, alone, strategy):
    for found in together("train", strategy=strategy, steps=50):
        assert_equal_tensors(found["weights"], alone["weights"], tolerance=1e-5)
        assert_equal_records(found["records"], alone["records"], tolerance=1e-5)
        assert found["progress"].tokens == alone["progress"].tokens
        assert found["progress"].best_step == alone["progress"].best_step


def test_evaluation_counts_every_example_once(alone):
    """Five batches on two processes; the records above hold these counts for both worlds."""
    batches = [ranks.Pairs(first=10_000).batch(index) for index in range(5)]
    record = next(record for record in alone["records"] if "valid/loss" in record)
    assert record["valid/masked_lm/count"] == sum(int((batch["labels"] >= 0).sum()) for batch in batches)
    assert record["valid/next_sentence/count"] == sum(int((batch["pair_labels"] >= 0).sum()) for batch in batches)


def test_fsdp_keeps_a_part_of_everything_in_each_process(together):
    found = together("parts", strategy="fsdp")
    sizes, moments = zip(*found, strict=True)
    for name in sizes[0]:
        mine, other = sizes[0][name][0], sizes[1][name][0]
        assert mine + other == sizes[0][name][1], name
    assert sum(mine for mine, _ in sizes[0].values()) < 0.6 * sum(size for _, size in sizes[0].values())
    assert sum(moments) == 2 * sum(size for _, size in sizes[0].values())


def test_processes_draw_different_random_numbers(together):
    first, second = together("random_numbers", strategy="ddp")
    assert not torch.equal(first, second)
    assert torch.equal(first, ranks.random_numbers(Processes())), "the main process draws what it would draw alone"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_interrupted_and_resumed_ends_bit_identical(run_ranks, returned, together, tmp_path, strategy):
    """One process is asked to stop; both finish the step, save, and leave; with dropout, which draws in each."""
    complete_run = together("train", strategy=strategy, dropout=0.3)
    outcomes = run_ranks("interrupted", strategy=strategy, folder=tmp_path / "cut", index=21)
    assert outcomes[0][0] == "Interrupted"
    assert outcomes[1] == ("SystemExit", "143")
    assert newest_checkpoint(tmp_path / "cut")[0].name.endswith("6")
    resumed = returned("train", strategy=strategy, folder=tmp_path / "cut", dropout=0.3, seed=5, resume=True)
    for one, other in zip(complete_run, resumed, strict=True):
        assert_equal_tensors(other["weights"], one["weights"], tolerance=0)
        assert other["progress"] == one["progress"]
    whole, cut = together.folder / strategy, tmp_path / "cut"
    last = [newest_checkpoint(folder)[0] for folder in (whole, cut)]
    assert (last[0] / WEIGHTS).read_bytes() == (last[1] / WEIGHTS).read_bytes()
    assert (cut / METRICS_FILE).read_bytes() == (whole / METRICS_FILE).read_bytes()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_killed_process_stops_the_run_and_leaves_a_checkpoint(run_ranks, returned, together, tmp_path, strategy):
    outcomes = run_ranks("killed", strategy=strategy, folder=tmp_path, index=13)
    assert outcomes[1] == ("died", -9)
    kind, message = outcomes[0]
    assert kind == "ProcessError"
    assert "process 0 of 2 lost contact with another one" in message
    path, problems = newest_checkpoint(tmp_path)
    assert path.name.endswith("2")
    assert problems == []
    whole_run = together("train", strategy=strategy, dropout=0.3)
    resumed = returned("train", strategy=strategy, folder=tmp_path, dropout=0.3, seed=5, resume=True)
    assert_equal_tensors(resumed[1]["weights"], whole_run[1]["weights"], tolerance=0)


@pytest.mark.parametrize(("size", "strategy"), [(3, "fsdp"), (1, "fsdp"), (1, "ddp")])
def test_a_split_checkpoint_is_continued_by_another_number_of_processes(returned, split_run, tmp_path, size, strategy):
    folder, alone = split_run
    shutil.copytree(folder, tmp_path / "run")
    found = returned("train", size=size, strategy=strategy, folder=tmp_path / "run", resume=True, **SIX)
    for outcome in found:
        assert any("saved by 2 processes" in problem for problem in outcome["problems"])
        assert_equal_tensors(outcome["weights"], alone["weights"], tolerance=1e-5)


SIX = {"steps": 6, "micro_batches": 6, "save_every": 3, "eval_every": 3}


@pytest.fixture(scope="module")
def split_run(returned, tmp_path_factory):
    """The folder of a run that two processes began and left after three steps, and what one process reaches."""
    folder = tmp_path_factory.mktemp("split")
    returned("train", strategy="fsdp", folder=folder, **SIX)
    shutil.rmtree(complete(folder, LAST)[-1])
    return folder, ranks.train(Processes(), **SIX)


def test_split_checkpoints_execute_nothing(returned, split_run, tmp_path):
    """No file in them is a pickle but the state, which is read as data only; and a pickle put beside is not opened."""
    folder, _ = split_run
    shutil.copytree(folder, tmp_path / "run")
    path = complete(tmp_path / "run", LAST)[0]
    parts = list((path / OPTIMIZER).iterdir())
    assert len(parts) == 2
    for part in parts:
        assert load_file(part)
    witness = tmp_path / "executed"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (witness,)

    for place in (path, path / OPTIMIZER):
        (place / ".metadata").write_bytes(pickle.dumps(Bomb()))
    found = returned("train", strategy="fsdp", folder=tmp_path / "run", resume=True, **SIX)
    assert found[0]["progress"].step == 6
    assert not witness.exists()


def test_exactly_one_process_reports_a_failure(run_ranks):
    outcomes = run_ranks("unreadable")
    assert outcomes[1] == ("ProcessError", "process 1 of 2: the disk is gone")
    assert outcomes[0] == ("SystemExit", "1")


@pytest.mark.parametrize(
    ("strategy", "where", "named"),
    [
        ("ddp", "loss", "step 3, rank 1: the gradient is not finite in "),
        ("fsdp", "loss", "step 3, rank 1: the gradient is not finite in "),
        ("ddp", "gradient", "step 3, rank 1: the gradient is not finite in pooler.dense.weight;"),
    ],
)
def test_a_value_that_is_not_finite_in_one_process_stops_all_and_names_its_rank(run_ranks, strategy, where, named):
    outcomes = run_ranks("poisoned", strategy=strategy, where=where)
    assert sorted(kind for kind, _ in outcomes) == ["ProcessError", "SystemExit"]
    message = next(message for kind, message in outcomes if kind == "ProcessError")
    assert named in message
    assert "nothing was stepped" in message


@pytest.mark.parametrize(
    ("processes", "changes", "message"),
    [
        (
            Processes(size=2),
            {"micro_batches": 3},
            "2 processes cannot share 3 micro-batches evenly: set train.micro_batches to a multiple of 2",
        ),
        (Processes(strategy="fsdp"), {"optimizer": "muon"}, "'muon' cannot be split among processes"),
        (Processes(strategy="fsdp"), {"optimizer": "sgd"}, "'sgd' cannot be split among processes"),
    ],
)
def test_a_step_that_the_processes_cannot_share_is_refused(processes, changes, message):
    with pytest.raises(ValueError, match=message):
        ranks.make_trainer(processes, **changes)


def test_impossible_sets_of_processes_are_refused(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"splits a model among processes.*torchrun"):
        start_processes("fsdp", device="cpu")
    with pytest.raises(ValueError, match="unknown strategy 'zero'"):
        start_processes("zero", device="cpu")
    assert start_processes(device="cpu") == Processes()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="the backend 'nccl' connects NVIDIA GPUs"):
        start_processes(device="cpu", backend="nccl")


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="2 processes need a GPU each, and this machine has 1"):
        start_processes(device="cuda")


def test_every_micro_batch_goes_to_exactly_one_process():
    for size in (1, 2, 3, 4):
        dealt = [Processes(rank=rank, size=size).shard(range(12)) for rank in range(size)]
        assert sorted(number for numbers in dealt for number in numbers) == list(range(12))
        assert {len(numbers) for numbers in dealt} == {12 // size}


@pytest.mark.parametrize("option", ["activation_checkpointing", "compile"])
def test_the_trainer_applies_the_options_that_act_on_blocks(option, monkeypatch):
    applied = []
    for name, switch in {"activation_checkpointing": "checkpoint_activations", "compile": "compile_blocks"}.items():
        monkeypatch.setattr(f"plm_core.training.trainer.{switch}", lambda model, name=name, **_: applied.append(name))
    config = TrainConfig(**{option: True})
    assert TrainConfig.from_dict(config.to_dict()) == config
    Trainer(nn.Linear(1, 1), CausalLM(), ranks.Pairs(), config, quiet=True)
    assert applied == [option]

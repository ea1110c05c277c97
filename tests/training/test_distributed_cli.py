"""``plm train`` on several processes: the same run, one report, one message when something is wrong."""

import os
import signal

import pytest
import yaml

from plm_core.cli import main
from plm_core.distributed import launcher
from plm_core.training.checkpoints.directory import LAST, complete
from plm_core.training.logs import read_metrics
from tests import forked
from tests.tiny_text import TINY_TEXT

pytestmark = pytest.mark.xdist_group("processes")  # one worker loads the server that they are forked from
TINY = {
    "corpus": str(TINY_TEXT),
    "tokenizer": "words",
    "max_documents": 40,
    "context": 128,
    "batch_size": 2,
    "model": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    "train": {
        "steps": 4,
        "micro_batches": 2,
        "warmup_steps": 1,
        "eval_every": 2,
        "save_every": 2,
        "log_every": 2,
        "activation_checkpointing": True,
    },
}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("PLM_DEVICE", "cpu")


@pytest.fixture
def write(tmp_path):
    """Write a configuration file whose output is the folder of that name."""

    def writer(name, **changes):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**TINY, "output": str(tmp_path / name), **changes}))
        return str(path)

    return writer


def test_two_processes_make_the_run_of_one(run_ranks, write, tmp_path, capsys):
    assert main(["train", write("one")]) == 0
    alone = capsys.readouterr().out
    config = write("two")
    (_, (code, printed, _)), (_, (other_code, other_printed, other_errors)) = run_ranks(
        "command", arguments=["train", config]
    )
    assert (code, other_code) == (0, 0)
    assert (other_printed, other_errors) == ("", "")
    records = [read_metrics(tmp_path / name) for name in ("one", "two")]
    assert [record.keys() for record in records[0]] == [record.keys() for record in records[1]]
    for one, two in zip(*records, strict=True):
        assert one == pytest.approx(two, abs=1e-5, rel=1e-5)
    assert printed.splitlines()[0] == alone.splitlines()[0]
    assert (tmp_path / "two" / "learning_curve.png").is_file()
    resumed = run_ranks("command", arguments=["train", config, "train.steps=6", "--resume"])
    assert [outcome[1][0] for outcome in resumed] == [0, 0], resumed
    assert read_metrics(tmp_path / "two")[-1]["step"] == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"micro_batches": 1}}, "2 processes cannot share 1 micro-batches evenly: set train.micro_batches"),
        ({"strategy": "zero"}, "expected one of 'ddp', 'fsdp', got 'zero'"),
        ({"corpus": "no-such-corpus"}, "no-such-corpus"),
    ],
)
def test_a_mistake_of_all_processes_is_reported_once(run_ranks, write, changes, message):
    outcomes = run_ranks("command", arguments=["train", write("run", **changes)])
    errors = [error for _, (_, _, error) in outcomes if error]
    assert len(errors) == 1
    assert message in errors[0]
    assert errors[0].startswith("plm: ")
    assert errors[0].count("\n") == 1
    assert all(code != 0 for _, (code, _, _) in outcomes)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "plm"),
        ({"RANK": "0", "WORLD_SIZE": "4"}, "torchrun --nproc-per-node 4 -m plm_core.cli"),
        (
            {"RANK": "9", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"},
            "torchrun --nnodes 2 --nproc-per-node 8 -m plm_core.cli",
        ),
    ],
)
def test_messages_repeat_the_command_as_it_was_started(monkeypatch, environment, words):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert " ".join(launcher()) == words


def test_fsdp_needs_torchrun(write, capsys):
    assert main(["train", write("run", strategy="fsdp")]) == 2
    assert "torchrun --nproc-per-node" in capsys.readouterr().err


def test_torchrun_trains_a_split_model_that_opens_like_any_other(write, tmp_path, capsys):
    config = write("run", strategy="fsdp")
    finished = forked.run(
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "plm_core.cli", "train", config),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("learning curve:") == 1
    path = complete(tmp_path / "run", LAST)[-1]
    assert len(list((path / "optimizer").iterdir())) == 2
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    measured = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    logged = [record for record in read_metrics(tmp_path / "run") if "valid/loss" in record]
    assert float(measured["causal_lm/loss"]) == pytest.approx(min(record["valid/loss"] for record in logged), abs=1e-3)


def test_the_exit_code_of_a_stopped_run_is_that_of_its_signal(run_ranks, write, tmp_path):
    """All leave together, whoever got the signal; the state is saved."""
    config = write("run", train={**TINY["train"], "steps": 200, "save_every": 200, "eval_every": 200})
    outcomes = run_ranks("stopped_command", arguments=["train", config], step=3, number=int(signal.SIGTERM))
    assert [outcome[1][0] for outcome in outcomes] == [143, 143]
    assert f"continue with: torchrun --nproc-per-node 2 -m plm_core.cli train {config} --resume" in outcomes[0][1][1]
    assert [path.name for path in complete(tmp_path / "run", LAST)] == ["step-000000003"]

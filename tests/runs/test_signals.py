"""A run that is told to stop by SIGTERM, as schedulers send it, says how to continue, and what it says works."""

import os
import shlex
import signal

import pytest
import yaml

from plm_core.cli import main
from plm_core.training.checkpoints.directory import LAST, WEIGHTS, complete
from plm_core.training.logs import METRICS_FILE
from plm_core.training.trainer import Trainer
from tests import forked
from tests.tiny_text import TINY_TEXT

TINY = {
    "corpus": str(TINY_TEXT),
    "tokenizer": "words",
    "max_documents": 40,
    "context": 128,
    "batch_size": 2,
    "model": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "train": {"steps": 6, "warmup_steps": 1, "eval_every": 3, "save_every": 6, "log_every": 4},
}

PROGRAM = """
import os, signal, sys
from plm_core.cli import main
from plm_core.training.trainer import Trainer

group = Trainer.micro_batch_group

def stopped(trainer, number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return group(trainer, number)

Trainer.micro_batch_group = stopped
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """On the CPU, without the picture of the curve, which is tested elsewhere."""
    monkeypatch.setenv("PLM_DEVICE", "cpu")
    monkeypatch.setattr("plm_core.runs.pretrain.plot_learning_curve", lambda *_, **__: None)


@pytest.fixture
def write(tmp_path):
    """Write a configuration file whose output is the folder of that name; the file's name needs quotes in a shell."""

    def writer(name):
        path = tmp_path / f"my {name}.yaml"
        path.write_text(yaml.safe_dump({**TINY, "output": str(tmp_path / name)}))
        return str(path)

    return writer


def continuation(out):
    """The arguments of the command that a stopped run names."""
    [line] = [line for line in out.splitlines() if "continue with: " in line]
    program, *arguments = shlex.split(line.partition("continue with: ")[2])
    assert program == "plm"
    return arguments


def remains(folder):
    """What equal runs leave equal: the newest weights and the metrics."""
    newest = complete(folder, LAST)[-1]
    return newest.name, (newest / WEIGHTS).read_bytes(), (folder / METRICS_FILE).read_bytes()


def raise_in(monkeypatch, method, number, *, at):
    """Send this process a signal when a method of the trainer is called for the ``at``-th time."""
    original, calls = getattr(Trainer, method), []

    def stopped(trainer, *arguments):
        calls.append(1)
        if len(calls) == at:
            signal.raise_signal(number)
        return original(trainer, *arguments)

    monkeypatch.setattr(Trainer, method, stopped)


@pytest.fixture
def whole(write, tmp_path, capsys):
    """What a run that nobody stops leaves."""
    assert main(["train", write("whole")]) == 0
    capsys.readouterr()
    return remains(tmp_path / "whole")


@pytest.mark.xdist_group("processes")
def test_a_process_that_gets_sigterm_leaves_with_143(write, tmp_path):
    """The operating system's view, from outside."""
    environment = {**os.environ, "PLM_DEVICE": "cpu"}
    done = forked.run("-c", PROGRAM, "train", write("run"), env=environment)
    assert done.returncode == 128 + signal.SIGTERM == 143, done.stderr
    assert "Traceback" not in done.stderr
    assert f"state saved in {tmp_path / 'run'}; continue with: " in done.stdout
    assert [path.name for path in complete(tmp_path / "run", LAST)] == ["step-000000002"]


@pytest.mark.parametrize(
    ("method", "at", "step"),
    [
        pytest.param("micro_batch_group", 2, 2, id="before a step"),
        pytest.param("accumulate", 2, 2, id="within a step"),
        pytest.param("evaluate", 1, 3, id="during evaluation"),
    ],
)
def test_stopped_and_continued_as_it_says(monkeypatch, write, whole, tmp_path, capsys, method, at, step):
    """The named command ends with the bits of the run that nobody stopped; its handlers are gone again."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        raise_in(patch, method, signal.SIGTERM, at=at)
        assert main(["train", write("cut")]) == 143
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    said = capsys.readouterr()
    assert "plm: interrupted" in said.err
    assert "Traceback" not in said.err
    [saved] = complete(tmp_path / "cut", LAST)
    assert int(saved.name.removeprefix(LAST)) == step
    arguments = continuation(said.out)
    assert arguments[0] == "train"
    assert arguments[-1] == "--resume"
    assert main(arguments) == 0
    assert remains(tmp_path / "cut") == whole


def test_a_run_stopped_twice_ends_as_one_that_was_never_stopped(monkeypatch, write, whole, tmp_path, capsys):
    arguments = ["train", write("cut")]
    for _ in range(2):
        with monkeypatch.context() as patch:
            raise_in(
                patch, "micro_batch_group", signal.SIGTERM, at=3
            )  # the second life asks once more, to know its data again
            assert main(arguments) == 143
        arguments = continuation(capsys.readouterr().out)
    assert main(arguments) == 0
    assert remains(tmp_path / "cut") == whole


def test_values_given_on_the_command_line_are_part_of_what_it_says(monkeypatch, write, tmp_path, capsys):
    """Without them the continued run would be another one, or look for the first one in another folder."""
    other = tmp_path / "some other"
    with monkeypatch.context() as patch:
        raise_in(patch, "micro_batch_group", signal.SIGTERM, at=2)
        assert main(["train", write("run"), f"output={other}", "train.steps=4"]) == 143
    assert main(continuation(capsys.readouterr().out)) == 0
    assert [path.name for path in complete(other, LAST)][-1] == "step-000000004"
    assert not (tmp_path / "run").exists()


def test_nothing_is_said_to_be_saved_before_it_is(monkeypatch, write, tmp_path, capsys):
    """Ctrl-C while the model is built: the exit code tells, and no state is promised."""

    def stopped(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("plm_core.runs.pretrain.build_model", stopped)
    assert main(["train", write("run")]) == 130
    assert "state saved" not in capsys.readouterr().out
    assert not complete(tmp_path / "run", LAST)

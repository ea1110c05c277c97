"""A program that starts short runs, kills them, resumes them, and prints what they leave: see test_kill.py.

It computes nothing itself. It imports everything once and forks a child for each attempt, so that a death costs a
fraction of a second. Arguments: a folder to work in, and how many runs to kill.
"""

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from torch import nn

from plm_core.objectives.base import LossParts, Objective
from plm_core.training.checkpoints import directory, manager
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

STEPS, OVERFLOWS = 12, (2, 7)
MODES = ("fp32", "fp16")


class Clock:
    """Counts the instants of a run: file operations in its folder, batches, halves of written files."""

    def __init__(self, folder, death):
        self.folder, self.death, self.now = str(folder), death, 0
        sys.addaudithook(self.audit)

    def audit(self, event, arguments):
        if event in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree") and self.folder in str(
            arguments[0]
        ):
            self.tick()

    def tick(self):
        self.now += 1
        if self.now == self.death:
            os.kill(os.getpid(), signal.SIGKILL)

    def save_state(self, state, path):
        """Write a file, and count an instant at which only half of it is there."""
        if self.now + 1 == self.death:
            original(state, path)
            os.truncate(path, path.stat().st_size // 2)
        self.tick()
        original(state, path)


original = directory.save_state


class Source:
    def __init__(self, clock):
        self.clock = clock

    def batch(self, index):
        self.clock.tick()
        generator = torch.Generator().manual_seed(index)
        x = torch.randn(4, 8, generator=generator)
        factor = float("inf") if index in OVERFLOWS else 1.0
        return {"input_ids": x, "y": x.sum(1, keepdim=True), "factor": torch.tensor(factor)}


class Regression(Objective):
    name = "regression"

    def __init__(self, *, overflows):
        self.overflows = overflows

    def inputs(self, batch):
        return {"x": batch["input_ids"]}

    def score(self, output, batch):
        factor = batch["factor"] if self.overflows else 1.0
        return LossParts((((output.float() - batch["y"]) ** 2) * 0.01 * factor).sum(), len(output), {})

    def count(self, batch):
        return len(batch["y"])


class Network(nn.Module):
    """Draws from every generator there is, so that one that is not restored shows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.dropout, self.out = nn.Linear(8, 16), nn.Dropout(0.3), nn.Linear(16, 1)

    def forward(self, x):
        noise = random.random() + float(np.random.rand()) if self.training else 0.0
        return self.out(self.dropout(self.hidden(x).tanh()) * (1 + 0.1 * noise))


def attempt(folder, mode, death):
    """One attempt at a run: begin it, or continue it where it was left."""
    clock = Clock(folder, death)
    directory.save_state = manager.save_state = clock.save_state
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    config = TrainConfig(
        steps=STEPS, warmup_steps=2, micro_batches=1, log_every=5, eval_every=3, save_every=2, learning_rate=0.02
    )
    trainer = Trainer(
        Network(),
        Regression(overflows=mode == "fp16"),
        Source(clock),
        config,
        valid_batches=[{**Source(clock).batch(100 + i), "factor": torch.tensor(1.0)} for i in range(2)],
        folder=folder,
        hardware=Hardware(precision=mode),
        quiet=True,
    )
    try:
        trainer.resume()
    except FileNotFoundError:  # killed before the first checkpoint was complete
        torch.manual_seed(1)
    began = time.perf_counter()
    trainer.fit()
    return {"instants": clock.now, "seconds": time.perf_counter() - began}


def imported_by_a_run(folder):
    """The modules of torch that a run imports when it first needs them."""
    before = set(sys.modules)
    attempt(folder, "fp16", None)
    return [name for name in sys.modules if name not in before and name.startswith("torch.")]


def in_child(function, *arguments):
    """Run a function in a child process; return its result, or the number of the signal that killed it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(function(*arguments)).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status > 0:
        raise SystemExit(f"{function.__name__}{arguments} failed")
    return json.loads(said) if status == 0 else {"signal": -status}


def killed_from_outside(folder, mode, seconds):
    """An attempt that another process kills, wherever it is by then: inside a step, a write or a flush."""
    victim = os.getpid()
    if os.fork() == 0:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, seconds)
        signal.sigwait({signal.SIGALRM})
        if os.getppid() == victim:
            os.kill(victim, signal.SIGKILL)
        os._exit(0)
    return attempt(folder, mode, None)


def remains(folder):
    """What a run has left, each thing by a digest; times, which never repeat, are left out."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name == directory.STATE:
            found[str(path.relative_to(folder))] = digest(torch.load(path, weights_only=True))
        elif path.name not in (directory.MANIFEST, "speed.jsonl"):
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def digest(value):
    """A digest of nested values, tensors to the last bit."""
    if isinstance(value, dict):
        return {str(key): digest(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [digest(item) for item in value]
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()]
    return repr(value)


def main(folder, deaths):
    for name in in_child(imported_by_a_run, folder / "first"):
        importlib.import_module(name)  # once, and not in every child
    lengths = {}
    for mode in MODES:
        whole = folder / f"whole-{mode}"
        lengths[mode] = in_child(attempt, whole, mode, None)
        print(json.dumps({"mode": mode, "remains": in_child(remains, whole)}))
    draw = random.Random(6)
    for number in range(deaths):
        mode, run = MODES[number % 2], folder / f"run-{number}"
        # Every mode dies once in each of equally long parts of its life.
        share = (number // 2 + draw.random()) / (deaths // 2)
        instant = 1 + int(share * lengths[mode]["instants"])
        outside = number % 5 == 4
        if outside:
            ended = in_child(killed_from_outside, run, mode, share * lengths[mode]["seconds"])
        else:
            ended = in_child(attempt, run, mode, instant)
        half_saved = any(run.glob("*.tmp"))
        if number % 3 == 0:  # the second life may be cut short as well
            in_child(attempt, run, mode, draw.randint(1, lengths[mode]["instants"]))
        in_child(attempt, run, mode, None)
        report = {"killed": ended == {"signal": signal.SIGKILL}, "outside": outside, "half_saved": half_saved}
        print(json.dumps({"mode": mode, "remains": in_child(remains, run), **report}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""A program that starts short curricula, kills them, resumes them, and prints what they leave: see test_curriculum.py.

Arguments: a folder to work in, and how many curricula to kill.
"""

import importlib
import json
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from mortal_runs import Clock, Network, Regression, Source, imported_by_a_run, in_child, remains

from plm_core.training.checkpoints import directory, manager
from plm_core.training.config import TrainConfig
from plm_core.training.curriculum import Curriculum, Stage


class Shifted:
    """Another stage's data."""

    def __init__(self, source, by):
        self.source, self.by = source, by

    def batch(self, index):
        return self.source.batch(index + self.by)


def attempt(folder, death):
    """One attempt at a curriculum: begin it, or continue it where it was left."""
    clock = Clock(folder, death)
    directory.save_state = manager.save_state = clock.save_state
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(os.getpid())  # other ones in every life: nothing may depend on them
    shared = {"warmup_steps": 2, "log_every": 2, "eval_every": 2, "save_every": 2}
    stages = [
        Stage(
            name,
            Regression(overflows=False),
            Shifted(Source(clock), 1000 * number),
            TrainConfig(**shared, **settings),
            [Source(clock).batch(100 * number + i) for i in range(2)],
        )
        for number, (name, settings) in enumerate(
            {
                "first": {"steps": 5, "learning_rate": 0.02},
                "no_gain": {"steps": 8, "learning_rate": 1e-12, "patience": 2},
                "third": {"steps": 4, "learning_rate": 0.05, "optimizer": "sgd"},
            }.items()
        )
    ]
    results = Curriculum(Network(), stages, folder, seed=3, quiet=True).fit(resume=True)
    return {"instants": clock.now, "steps": [result.progress.step for result in results]}


def main(folder, deaths):
    for name in in_child(imported_by_a_run, folder / "first"):
        importlib.import_module(name)  # once, and not in every child
    whole = in_child(attempt, folder / "whole", None)
    print(json.dumps({**whole, "remains": in_child(remains, folder / "whole")}))
    draw = random.Random(7)
    for number in range(deaths):
        run = folder / f"run-{number}"
        instant = 1 + int((number + draw.random()) / deaths * whole["instants"])
        ended = in_child(attempt, run, instant)
        stages = len(list(run.glob("*/stage.json")))
        if number % 3 == 0:  # the second life may be cut short as well
            in_child(attempt, run, draw.randint(1, whole["instants"]))
        in_child(attempt, run, None)
        killed = ended == {"signal": signal.SIGKILL}
        print(json.dumps({"killed": killed, "stages": stages, "remains": in_child(remains, run)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

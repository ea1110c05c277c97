"""The masked language model of experiment 10 with ten times the steps and ten times the stories.

Same network, 40 % of the words masked, one seed. The criterion was set before the run: the variants of experiment 10
stop at what counting both neighbours reaches because they stop early, if this run fills clearly more gaps (five points)
than the same counting does on its own, larger text. Neither the learning rate nor the number of steps was swept.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from plm_chapters.experiments.masked_stories import Corpus, fill, load_corpus, recall, score_gaps
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.runtime import setup
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

short = importlib.import_module("plm_chapters.experiments.10_masked_language_modelling")

VARIANTS = ["40 %"]
SEEDS = [0]
STORIES = 4_000
STEPS = 3_000
LEARNING_RATE = 3e-3
EVERY = 250


def load() -> Corpus:
    """The stories of the longer run; those for validation and test are the ones of experiment 10."""
    return load_corpus(STORIES, 60, 200)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Accuracy and surprisal at the gaps of the test stories, every few hundred steps."""
    rt = setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    data = load()
    model = short.make_model(data.tokenizer, rt)
    source = short.masked(data.train_rows, data.tokenizer, short.MASKINGS[variant], rt)
    config = TrainConfig(steps=STEPS, learning_rate=LEARNING_RATE, warmup_steps=200, weight_decay=0.01)
    trainer = Trainer(model, MaskedLM(), source, config, hardware=Hardware(rt.device, rt.precision), quiet=True)
    curve = []
    for step in range(1, STEPS + 1):
        trainer.step()
        if step % EVERY == 0:
            scores = score_gaps(fill(model.eval(), data.tokenizer, data.gaps), data.tokenizer, data.gaps)
            curve.append({"step": step, **scores})
            model.train()
    return {"curve": curve, "recall": recall(model.eval(), data), "rows": len(data.train_rows)}

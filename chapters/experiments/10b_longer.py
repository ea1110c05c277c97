"""The arm of experiment 10 with next-sentence prediction, trained four times as long.

Network, stories, batches and rate are those of 10_masked_language_modelling; so short a sweep may have chosen too large
a rate for so long a training. After the 3,000 steps there the head was behind the best rule without a network. The
number of steps was set after one training of this length with another seed.

Criterion, set before the runs: as there, the task is learned if the head is ahead of the best rule without a network,
and of the same probe on an untrained network, with every seed. Measured on the pairs of experiment 10, and, for the
gaps, on its gaps. Nothing is chosen on them: the state after the last step counts.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from plm_chapters.experiments.masked_stories import fill, load, score_gaps
from plm_core.runtime import setup
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

short = importlib.import_module("plm_chapters.experiments.10_masked_language_modelling")

VARIANTS = ["with NSP"]
SEEDS = [0, 1, 2]
STEPS, EVERY = 12_000, 1_000


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """How often the head is right about pairs, and how many gaps are filled, every thousand steps."""
    rt = setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    data, task = load(rt), short.PAIRED[variant][0]
    pairs = short.make_pairs(short.test_documents(rt), task, most=short.PAIRS["test"])
    model = short.make_model(data.tokenizer, rt)
    objective, source = short.batches_of(variant, data.train, rt)
    config = TrainConfig(
        steps=STEPS, learning_rate=short.rate_of(variant, rt), warmup_steps=short.WARMUP, weight_decay=0.01
    )
    trainer = Trainer(model, objective, source, config, hardware=Hardware(rt.device, rt.precision), quiet=True)
    curve = []
    for step in range(1, STEPS + 1):
        trainer.step()
        if step % EVERY == 0:
            scores = score_gaps(fill(model.eval(), data.tokenizer, data.gaps), data.tokenizer, data.gaps)
            head = short.pair_head_accuracy(model, data.tokenizer, pairs)
            curve.append({"step": step, "head": head, "gaps": scores["accuracy"], "gap_nats": scores["nats"]})
            model.train()
    model.eval()
    probe = short.pair_accuracy(rt, task, lambda each: short.pair_features(model, data.tokenizer, each))
    return {"curve": curve, "pair_accuracy": curve[-1]["head"], "probe": probe}

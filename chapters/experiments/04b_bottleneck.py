"""Reversing a sequence through one vector: how far it carries, what a larger vector changes, and what attention does.

The source is LENGTHS of random symbols out of SYMBOLS, the target is the source from last to first. Encoder and decoder
are gated recurrent units; the decoder begins from a vector that the encoder hands over, and writes greedily, reading
its own symbols. Arms:

- "state 32", "state 64": networks of this width that hand over as many numbers;
- "state 64, vector 16": the networks of "state 64", but what is handed over is squeezed to 16 numbers. Only the vector
  differs, so a loss of accuracy is the vector's;
- "attention 32": the networks of "state 32" with additive attention;
- "sentences": "state 64, vector 16" on sentences of StoryWorld, whose words can in part be guessed; no test sentence
  occurs in training.

Every arm has a sweep of five rates or more with a seed of its own, by the loss on validation sequences, and three other
seeds at the best. Every batch has one length, drawn evenly; random symbols are drawn afresh at every step. Equal steps
and batches for all arms. A length is *carried* if the share of right symbols, averaged over seeds, is at least 0.9.

Criterion, set before the run, for each comparison with "state 32" ("state 64", "attention 32") and of "state 64,
vector 16" with "state 64": the difference of the shares of right symbols, averaged over LENGTHS, paired by seed; it
counts if the interval (Student's t) does not contain zero. Three comparisons: each interval has 98.33 %, which makes
95 % together. The budget of steps is small; how long sequences could be carried after more training is not said.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.models.recurrent_seq2seq import RecurrentSeq2Seq, RecurrentSeq2SeqConfig
from plm_core.runtime import setup
from plm_core.storyworld import StoryWorld

ARMS: dict[str, dict[str, Any]] = {
    "state 32": {"hidden_size": 32},
    "attention 32": {"hidden_size": 32, "attention": True},
    "state 64": {"hidden_size": 64},
    "state 64, vector 16": {"hidden_size": 64, "summary_size": 16},
    "sentences": {"hidden_size": 64, "summary_size": 16},
}
VARIANTS = list(ARMS)
SEEDS = [0]
"""The seeds of the weights are inside a run."""
MODEL_SEEDS = [1, 2, 3]
RATES = [2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2]
SYMBOLS, LENGTHS, LONGER = 8, list(range(1, 17)), [20, 24]
STEPS, BATCH, TESTED, STORIES = 1200, 32, 256, 400


@cache
def sentences(split: str) -> dict[int, Tensor]:
    """Different sentences of StoryWorld as ids by their length, (N, length); none of training in another split."""
    world = StoryWorld()
    number = {word: place for place, word in enumerate(world.vocabulary)}
    found: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    for story in world.stories(0, split, STORIES):
        for sentence in story.sentences:
            found[len(sentence.words)].add(tuple(number[word] for word in sentence.words))
    known = (
        {}
        if split == "train"
        else {length: set(map(tuple, rows.tolist())) for length, rows in sentences("train").items()}
    )
    kept = {length: sorted(rows - known.get(length, set())) for length, rows in sorted(found.items())}
    return {length: torch.tensor(rows) for length, rows in kept.items() if len(rows) >= 20}


def vocabulary(arm: str) -> int:
    """The number of ids without the start."""
    return len(StoryWorld().vocabulary) if arm == "sentences" else SYMBOLS


def draw(arm: str, length: int, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
    """Sequences of one length, (count, length)."""
    if arm != "sentences":
        return torch.randint(SYMBOLS, (count, length), generator=generator)
    rows = sentences(split)[length]
    return rows[torch.randint(len(rows), (count,), generator=generator)]


def lengths(arm: str) -> list[int]:
    """The lengths to train on."""
    return [
        length
        for length in LENGTHS
        if arm != "sentences" or (length in sentences("train") and length in sentences("test"))
    ]


def loss_of(model: RecurrentSeq2Seq, ids_BT: Tensor) -> Tensor:
    """The mean surprisal of the reversed sequence, where the decoder reads the truth."""
    target_BT = ids_BT.flip(1)
    start = model.config.vocab_size - 1
    logits_BTV = model(ids_BT, F.pad(target_BT[:, :-1], (1, 0), value=start))
    return F.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten())


def train(arm: str, *, rate: float, seed: int, steps: int = STEPS) -> tuple[RecurrentSeq2Seq, list[float]]:
    """Train by Adam with a rate that falls to zero, gradients clipped to norm 1; the loss on validation four times."""
    torch.manual_seed(seed)
    shape = {"vocab_size": vocabulary(arm) + 1, "embedding_size": 32, **ARMS[arm]}
    model = RecurrentSeq2Seq(RecurrentSeq2SeqConfig(**shape))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    possible, curve = lengths(arm), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        length = possible[int(torch.randint(len(possible), (), generator=generator))]
        loss = loss_of(model, draw(arm, length, BATCH, generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % (steps // 4) == 0:
            curve.append(validation(model, arm))
    return model, curve


@torch.no_grad()
def validation(model: RecurrentSeq2Seq, arm: str) -> float:
    """The mean over all lengths of the loss on validation sequences."""
    generator = torch.Generator().manual_seed(10_000)
    losses = [
        loss_of(model, draw(arm, length, 64, generator, "valid"))
        for length in lengths(arm)
        if arm != "sentences" or length in sentences("valid")
    ]
    return float(torch.stack(losses).mean())


@torch.no_grad()
def accuracies(model: RecurrentSeq2Seq, arm: str, *, count: int = TESTED) -> dict[str, float]:
    """The share of right symbols at each length, also at lengths beyond those of training."""
    generator = torch.Generator().manual_seed(20_000)
    shares = {}
    for length in [*lengths(arm), *(LONGER if arm != "sentences" else [])]:
        ids_BT = draw(arm, length, count, generator, "test")
        written = model.generate(ids_BT, start=model.config.vocab_size - 1, max_new_tokens=length)
        shares[str(length)] = float((written == ids_BT.flip(1)).float().mean())
    return shares


def floor(arm: str) -> dict[str, float]:
    """The share of right symbols of the most frequent symbol at each place, counted in training."""
    if arm != "sentences":
        return {str(length): 1 / SYMBOLS for length in LENGTHS}
    shares = {}
    for length in lengths(arm):
        common_T = sentences("train")[length].mode(dim=0).values
        shares[str(length)] = float((sentences("test")[length] == common_T).float().mean())
    return shares


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rates of one arm, then train with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    swept = sweep(lambda rate: train(variant, rate=rate, seed=0)[1][-1], RATES, factor=2, further=3)
    rate = best_rate(swept)
    trained = [train(variant, rate=rate, seed=each) for each in MODEL_SEEDS]
    return {
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "curve": [curve for _, curve in trained],
        "accuracy": [accuracies(model, variant) for model, _ in trained],
        "floor": floor(variant),
        "parameters": sum(parameter.numel() for parameter in trained[0][0].parameters()),
    }

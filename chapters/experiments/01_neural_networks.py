"""Counting and a small network on StoryWorld, for several lengths of the window, beside the ideal reader.

All models learn from the same stories, about WORDS words, and are scored on the same TEST test stories, whose ideal
loss is known. A seed of MODEL_SEEDS stands for its own training stories and, for a network, initial weights and order
of the windows. With seed 0 alone, which is used for nothing else, the learning rate of each network, the order of each
n-gram model and the constant of additive smoothing are chosen, on validation stories. A sweep of rates goes on while
the best is the lowest or the highest.

The network of Bengio et al. (2003) reads 1, 2, 4, 8 or 16 words (D = 16, F = 64), EPOCHS times each training story.
Four arms differ from "network, 8 words" in one thing: without a hidden layer, with twice the hidden width, with four
times the stories, and "network, 16 words". Four times the stories, read EPOCHS times, are four times the steps as well;
a fifth arm reads them once, which is as many steps as "network, 8 words" takes. Two arms take the network apart:
"linear layer, 8 words" leaves out the tanh and nothing else, so that it has the same parameters, and "a table for each
place, 8 words" adds up one row of V scores for each of the 8 words, from a table of its own for each place, without
embeddings and without a layer.

Criterion, set before the runs: of two models one is better if the interval of the difference of their test losses,
paired by seed (Student's t, three degrees of freedom), does not contain zero. Eight comparisons are made: the network
whose window was best on validation stories against the Kneser-Ney model whose order was, and each of the seven other
arms against "network, 8 words". Each interval has 99.375 %, which makes 95 % together (Bonferroni). The fifth arm was
added when the others were known, and the last two when all of those were: test losses of the linear layer at one rate,
and validation losses of the tables at three, had been seen before. The intervals were widened each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.experiments.window_network import (
    WindowNetwork,
    best_share,
    mixed,
    surprisals,
    train,
    windows,
)
from plm_core.models.counting import num_parameters
from plm_core.models.ngram import KneserNey
from plm_core.runtime import setup
from plm_core.storyworld import IdealReader, StoryWorld

WINDOWS = [1, 2, 4, 8, 16]
COUNTING = "counting"
BASE = "network, 8 words"
NO_HIDDEN, WIDER, MORE = "no hidden layer, 8 words", "twice the width, 8 words", "four times the stories, 8 words"
MORE_ONCE = "four times the stories read once, 8 words"
LINEAR, TABLES = "linear layer, 8 words", "a table for each place, 8 words"
NETWORKS = [f"network, {n} word{'s' * (n > 1)}" for n in WINDOWS]
VARIANTS = [COUNTING, *NETWORKS, NO_HIDDEN, WIDER, MORE, MORE_ONCE, LINEAR, TABLES]
SEEDS = [0]
MODEL_SEEDS = [1, 2, 3, 4]
WORDS, TEST, VALID, EPOCHS, BATCH = 100_000, 150, 75, 4, 256
RATES = [1e-3, 2.5e-3, 6e-3, 1.5e-2, 4e-2]
ORDERS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 17]
"""Lengths of n-grams; a model of order k reads k - 1 words."""
CONSTANTS = [1e-4, 1e-3, 1e-2, 0.1, 1.0]
SEEN = 8
"""A context counts as seen if these many words before a word stood together in the training stories."""

Documents = list[list[int]]


@cache
def world() -> StoryWorld:
    """The world whose stories are read."""
    return StoryWorld("small", "en")


def encode(words: Sequence[str]) -> list[int]:
    """The ids of some words."""
    number = {word: index for index, word in enumerate(world().vocabulary)}
    return [number[word] for word in words]


@cache
def training(seed: int, words: int = WORDS) -> Documents:
    """Training stories with together at least so many words."""
    documents: Documents = []
    told = 0
    for story in world().stories(seed, "train"):
        documents.append(encode(story.words))
        told += len(story.words)
        if told >= words:
            break
    return documents


@cache
def held_out(split: str) -> Documents:
    """The validation or the test stories."""
    return [encode(story.words) for story in world().stories(0, split, TEST if split == "test" else VALID)]


@cache
def ideal(split: str) -> np.ndarray:
    """The ideal reader's surprisal of every word of the held-out stories, in nats."""
    reader, words = IdealReader(world()), world().vocabulary
    return np.concatenate([reader.surprisals([words[number] for number in ids]) for ids in held_out(split)])


def size() -> int:
    """The size of the vocabulary."""
    return len(world().vocabulary)


def kneser_ney(seed: int, order: int, split: str) -> np.ndarray:
    """Surprisals of an n-gram model with Kneser-Ney smoothing, in nats."""
    model = KneserNey(size(), order=order).fit(training(seed))
    return np.concatenate([model.nats(ids) for ids in held_out(split)])


def additive(seed: int, order: int, constant: float, split: str) -> np.ndarray:
    """Surprisals of an n-gram model that adds a constant to every count, in nats."""
    ids, following = (each.numpy() for each in windows(training(seed), order - 1, size()))
    new_ids, new_following = (each.numpy() for each in windows(held_out(split), order - 1, size()))
    grams = np.concatenate([np.c_[ids, following], np.c_[new_ids, new_following]])
    contexts = (
        np.unique(grams[:, :-1], axis=0, return_inverse=True)[1].ravel() if order > 1 else np.zeros(len(grams), int)
    )
    pairs = np.unique(contexts * (size() + 1) + grams[:, -1], return_inverse=True)[1].ravel()
    of_context = np.bincount(contexts[: len(ids)], minlength=contexts.max() + 1)
    of_pair = np.bincount(pairs[: len(ids)], minlength=pairs.max() + 1)
    p = (of_pair[pairs[len(ids) :]] + constant) / (of_context[contexts[len(ids) :]] + constant * size())
    return -np.log(p)


def seen(seed: int) -> np.ndarray:
    """For every test word whether the SEEN words before it stood together in the training stories."""
    known = {tuple(row) for row in windows(training(seed), SEEN, size())[0].tolist()}
    return np.array([tuple(row) in known for row in windows(held_out("test"), SEEN, size())[0].tolist()])


def shape(variant: str) -> tuple[int, int, int]:
    """Number of words that a network reads, width of its hidden layer and number of words to train on."""
    context = int(variant.split(", ")[-1].split()[0])
    width = {NO_HIDDEN: 0, WIDER: 128}.get(variant, 64)
    return context, width, 4 * WORDS if variant in (MORE, MORE_ONCE) else WORDS


class LinearNetwork(WindowNetwork):
    """The network with its hidden layer, but without the tanh."""

    def forward(self, ids_Bn: Tensor) -> Tensor:
        """Scores (B, V) of the word after each window (B, n)."""
        assert self.hidden is not None
        return self.output(self.hidden(self.embedding(ids_Bn).flatten(1)))


class PlaceTables(nn.Module):
    """A table of scores for each place of the window, (V + 1, V), and a bias; all begin at 0.

    Args:
        vocab_size: number of words V; id V stands before the beginning of a story.
        context: number of places, n.
    """

    def __init__(self, vocab_size: int, context: int) -> None:
        super().__init__()
        self.tables = nn.Embedding(context * (vocab_size + 1), vocab_size)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.rows_per_place = vocab_size + 1
        nn.init.zeros_(self.tables.weight)

    def forward(self, ids_Bn: Tensor) -> Tensor:
        """Scores (B, V) of the word after each window (B, n): the sum of one row of each table."""
        first_row_n = torch.arange(ids_Bn.shape[1]) * self.rows_per_place
        return self.tables(ids_Bn + first_row_n).sum(1) + self.bias


def network(variant: str, seed: int, rate: float) -> nn.Module:
    """Train one network."""
    context, width, words = shape(variant)
    torch.manual_seed(seed)
    model: nn.Module
    if variant == TABLES:
        model = PlaceTables(size(), context)
    else:
        kind = LinearNetwork if variant == LINEAR else WindowNetwork
        model = kind(size(), context=context, embedding_size=16, hidden_size=width)
    ids, following = windows(training(seed, words), context, size())
    epochs = 1 if variant == MORE_ONCE else EPOCHS
    train(model, ids, following, rate=rate, steps=epochs * len(following) // BATCH, seed=seed, batch_size=BATCH)
    return model


def score(model: nn.Module, variant: str, split: str) -> np.ndarray:
    """A network's surprisal of every word of the held-out stories, in nats."""
    return surprisals(model, *windows(held_out(split), shape(variant)[0], size()))


def counting() -> dict[str, Any]:
    """All n-gram models: chosen with seed 0 on validation stories, scored with the others on test stories."""
    valid = {order: float(kneser_ney(0, order, "valid").mean()) for order in ORDERS}
    added = {
        (order, constant): float(additive(0, order, constant, "valid").mean())
        for order in ORDERS
        for constant in CONSTANTS
    }
    constants = {order: min(CONSTANTS, key=lambda constant: added[order, constant]) for order in ORDERS}
    best = min(ORDERS, key=valid.__getitem__)
    tests = {order: [kneser_ney(seed, order, "test") for seed in MODEL_SEEDS] for order in ORDERS}
    covered = [seen(seed) for seed in MODEL_SEEDS]
    return {
        "valid": {str(order): valid[order] for order in ORDERS},
        "test": [float(each.mean()) for each in tests[best]],
        "order": best,
        "by_order": {str(order): [float(each.mean()) for each in tests[order]] for order in ORDERS},
        "additive_by_order": {
            str(order): [float(additive(seed, order, constants[order], "test").mean()) for seed in MODEL_SEEDS]
            for order in ORDERS
        },
        "constants": {str(order): constants[order] for order in ORDERS},
        "seen": [float(each.mean()) for each in covered],
        "test_seen": [float(each[known].mean()) for each, known in zip(tests[best], covered, strict=True)],
        "test_unseen": [float(each[~known].mean()) for each, known in zip(tests[best], covered, strict=True)],
        "floor": float(ideal("test").mean()),
        "floor_valid": float(ideal("valid").mean()),
        "floor_seen": [float(ideal("test")[known].mean()) for known in covered],
        "floor_unseen": [float(ideal("test")[~known].mean()) for known in covered],
        "test_words": len(ideal("test")),
        "train_words": [sum(map(len, training(seed))) for seed in MODEL_SEEDS],
        "vocabulary": size(),
    }


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Choose with seed 0, then train and score with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    if variant == COUNTING:
        return counting()
    swept = sweep(
        lambda rate: float(score(network(variant, 0, rate), variant, "valid").mean()), RATES, factor=2.5, further=4
    )
    rate = best_rate(swept)
    result: dict[str, Any] = {"sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)}, "rate": rate}
    keys = ("test", "test_seen", "test_unseen", "train", "mixture", "share")
    found: dict[str, list[float]] = {key: [] for key in keys}
    order = min(ORDERS, key=lambda order: float(kneser_ney(0, order, "valid").mean()))
    for each in MODEL_SEEDS:
        model = network(variant, each, rate)
        nats, known = score(model, variant, "test"), seen(each)
        ids, following = windows(training(each)[:TEST], shape(variant)[0], size())
        share = best_share(score(model, variant, "valid"), kneser_ney(each, order, "valid"))
        values = {
            "test": nats.mean(),
            "test_seen": nats[known].mean(),
            "test_unseen": nats[~known].mean(),
            "train": surprisals(model, ids, following).mean(),
            "mixture": mixed(nats, kneser_ney(each, order, "test"), share).mean(),
            "share": share,
        }
        for key, value in values.items():
            found[key].append(float(value))
    result["parameters"] = num_parameters(model)
    assert math.isfinite(sum(found["test"]))
    return result | found

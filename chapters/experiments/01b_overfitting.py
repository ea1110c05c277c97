"""Overfitting on real text, and remedies, each with its own sweep.

The network of Bengio et al. (2003) reads 8 characters (D = 16, F = 128) and learns from the first CHARACTERS of
tinyshakespeare for STEPS batches of BATCH windows, about 13 passes. The arms differ from "nothing" in one thing:
"weight decay", "dropout" of the hidden layer, "noise" (a character of the window is replaced by one drawn from the
training text, the unigram noising of Xie et al. 2017), and eight times the text, for as many steps. Early
stopping needs no run of its own: the loss on validation text is looked at LOOKS times, and every arm is scored on test
text twice, at the end and at the look with the lowest validation loss.

Each arm gets its own sweep of the learning rate, at every strength that it is tried with, with seed 0, which is used
for nothing else; if the best rate is the lowest or the highest, the sweep goes on. Two settings are chosen, that with
the lowest validation loss at the end and that with the lowest at its best look, and each is trained with five other
seeds, which decide initial weights, the order of the windows, dropout and noise.

Criterion, set before the runs: an arm helps if the interval of the difference of test losses, paired by seed (Student's
t, four degrees of freedom), lies below zero. Nine comparisons are made: early stopping alone and the four other arms
at the end against "nothing" at the end, and the four arms with early stopping against early stopping alone. Each
interval has 99.5 %, which makes more than 95 % together (Bonferroni). Kneser-Ney models that count the same text, their
order chosen on the validation text, and the counts of single characters stand beside them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from plm_chapters.experiments.sweeps import sweep
from plm_chapters.experiments.window_network import WindowNetwork, surprisals, train, windows
from plm_core.data.datasets import tinyshakespeare
from plm_core.data.tokenizer_training import train_characters
from plm_core.models.counting import num_parameters
from plm_core.models.ngram import KneserNey
from plm_core.runtime import setup

NOTHING, COUNTING = "nothing", "counting"
STRENGTHS = {
    NOTHING: [0.0],
    "weight decay": [0.3, 1.0, 3.0],
    "dropout": [0.25, 0.5, 0.75],
    "noise": [0.05, 0.15, 0.4],
    "eight times the text": [0.0],
}
VARIANTS = [*STRENGTHS, COUNTING]
TIMES = {"eight times the text": 8}
SEEDS = [0]
MODEL_SEEDS = [1, 2, 3, 4, 5]
CHARACTERS, HELD_OUT, CONTEXT = 10_000, 10_000, 8
STEPS, BATCH, LOOKS = 1000, 128, 10
RATES = [1.6e-3, 4e-3, 1e-2, 2.5e-2, 6e-2]
ORDERS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24]

Curve = list[float]


@cache
def texts() -> tuple[Tensor, list[int], list[int], int]:
    """The training text, some validation and some test text as ids of characters, and the number of characters."""
    tokenizer = train_characters([tinyshakespeare("train")])
    valid, test = (tokenizer.encode(tinyshakespeare(part)[:HELD_OUT]) for part in ("validation", "test"))
    return torch.tensor(tokenizer.encode(tinyshakespeare("train"))), valid, test, len(tokenizer)


def training(arm: str) -> Tensor:
    """The characters that an arm learns from."""
    return texts()[0][: CHARACTERS * TIMES.get(arm, 1)]


def fit(arm: str, seed: int, rate: float, strength: float) -> dict[str, Any]:
    """Train one network and look at it LOOKS times: its losses on training, validation and test text."""
    text, valid, test, size = training(arm), *texts()[1:]
    torch.manual_seed(seed)
    dropout = strength if arm == "dropout" else 0.0
    model = WindowNetwork(size, context=CONTEXT, embedding_size=16, hidden_size=128, dropout=dropout)

    def noisy(ids_BT: Tensor, generator: torch.Generator) -> Tensor:
        drawn = text[torch.randint(len(text), ids_BT.shape, generator=generator)]
        return torch.where(torch.rand(ids_BT.shape, generator=generator) < strength, drawn, ids_BT)

    parts = {
        "train": windows([text[: HELD_OUT // 2].tolist()], CONTEXT, size),
        "valid": windows([valid], CONTEXT, size),
        "test": windows([test], CONTEXT, size),
    }
    curves: dict[str, Curve] = {name: [] for name in parts}

    def look(step: int) -> None:
        if step % (STEPS // LOOKS) == 0:
            for name, (ids, following) in parts.items():
                curves[name].append(float(surprisals(model, ids, following).mean()))

    ids, following = windows([text.tolist()], CONTEXT, size)
    train(
        model,
        ids,
        following,
        rate=rate,
        steps=STEPS,
        seed=seed,
        batch_size=BATCH,
        weight_decay=strength if arm == "weight decay" else 0.0,
        corrupt=noisy if arm == "noise" else None,
        watch=look,
    )
    return {"parameters": num_parameters(model), **curves}


def at_end(curves: dict[str, Any], name: str) -> float:
    """The loss after the last step."""
    return float(curves[name][-1])


def at_best(curves: dict[str, Any], name: str) -> float:
    """The loss at the look with the lowest validation loss."""
    return float(curves[name][min(range(LOOKS), key=curves["valid"].__getitem__)])


def counting() -> dict[str, Any]:
    """Kneser-Ney models of every amount of text, their order chosen on validation text."""
    _, valid, test, size = texts()
    found: dict[str, Any] = {}
    for arm in (NOTHING, *TIMES):
        models = {order: KneserNey(size, order=order).fit([training(arm).tolist()]) for order in ORDERS}
        order = min(ORDERS, key=lambda order: float(models[order].nats(valid).mean()))
        found[arm] = {
            "order": order,
            "test": float(models[order].nats(test).mean()),
            "single": float(models[1].nats(test).mean()),
        }
    return found


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep with seed 0, then train the two settings that were chosen with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    if variant == COUNTING:
        return counting()
    swept: dict[tuple[float, float], dict[str, Any]] = {}
    ways = {"end": at_end, "best": at_best}
    for way in ways.values():
        for strength in STRENGTHS[variant]:

            def measure(rate: float, strength: float = strength, way: Any = way) -> float:
                if (rate, strength) not in swept:
                    swept[rate, strength] = fit(variant, 0, rate, strength)
                return float(way(swept[rate, strength], "valid"))

            sweep(measure, RATES, factor=2.5, further=4)
    result: dict[str, Any] = {}
    trained: dict[tuple[float, float], list[dict[str, Any]]] = {}
    for name, way in ways.items():
        rate, strength = min(swept, key=lambda each: way(swept[each], "valid"))
        if (rate, strength) not in trained:
            trained[rate, strength] = [fit(variant, each, rate, strength) for each in MODEL_SEEDS]
        runs = trained[rate, strength]
        result[name] = {
            "rate": rate,
            "strength": strength,
            "train": [way(each, "train") for each in runs],
            "test": [way(each, "test") for each in runs],
            "curve": {part: runs[0][part] for part in ("train", "valid")},
        }
    result["parameters"] = runs[0]["parameters"]
    result["sweep"] = [
        {"rate": rate, "strength": strength, "end": at_end(each, "valid"), "best": at_best(each, "valid")}
        for (rate, strength), each in sorted(swept.items())
    ]
    return result

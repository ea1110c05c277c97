"""A small network beside counting on the whole of tinyshakespeare, alone and mixed, in bits per byte and in perplexity.

The network of Bengio et al. (2003) reads 4 tokens (D = 32, F = 96) of a byte-level BPE vocabulary of 500, learned on
the training text, for STEPS batches of 256: three quarters of the text. Its learning rate is the best of five or more
on validation text, with seed 0, which is used for nothing else. The orders of two Kneser-Ney models, one of the same
tokens and one of characters, and the share of the network in a mixture with the former are chosen on validation text
too. Everything is scored on test text.

Criterion, set before the run: of two one is better if the interval of their difference (Student's t, three seeds) does
not contain zero. Two comparisons are made, the network and the mixture against the Kneser-Ney model of the same tokens;
each interval has 97.5 %, which makes 95 % together (Bonferroni). The budget is small, and the curve is not flat at its
end: the result says nothing about what a network can reach.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.experiments.window_network import (
    WindowNetwork,
    best_share,
    mixed,
    surprisals,
    train,
    windows,
)
from plm_core.data.datasets import tinyshakespeare
from plm_core.data.tokenizer_training import train_bpe, train_characters
from plm_core.data.tokenizers import Tokenizer
from plm_core.models.counting import num_parameters
from plm_core.models.ngram import KneserNey
from plm_core.runtime import setup

NETWORK, CHARACTERS = "network and counting, tokens", "counting, characters"
VARIANTS = [NETWORK, CHARACTERS]
SEEDS = [0]
MODEL_SEEDS = [1, 2, 3]
CONTEXT, STEPS, LOOKS = 4, 1500, 3
RATES = [1.6e-3, 4e-3, 1e-2, 2.5e-2, 6e-2]
ORDERS = [3, 4, 5, 6, 7, 8]
Parts = tuple[list[int], list[int], list[int]]


@cache
def tokenizer(variant: str) -> Tokenizer:
    """The tokenizer of the training text."""
    text = [tinyshakespeare("train")]
    return train_characters(text) if variant == CHARACTERS else train_bpe(text, vocab_size=500)


@cache
def texts(variant: str) -> Parts:
    """Training, validation and test text as ids."""
    encode = tokenizer(variant).encode
    return encode(tinyshakespeare("train")), encode(tinyshakespeare("validation")), encode(tinyshakespeare("test"))


def counting(variant: str) -> tuple[int, np.ndarray, np.ndarray]:
    """The Kneser-Ney model with the best order: the order, and its surprisals of validation and test text."""
    training, valid, test = texts(variant)
    models = {order: KneserNey(len(tokenizer(variant)), order=order).fit([training]) for order in ORDERS}
    order = min(ORDERS, key=lambda order: float(models[order].nats(valid).mean()))
    return order, models[order].nats(valid), models[order].nats(test)


def summary(nats: np.ndarray) -> dict[str, float]:
    """A loss on the test text as perplexity per token and in bits per byte."""
    size = len(tinyshakespeare("test").encode())
    return {"perplexity": float(np.exp(nats.mean())), "bits_per_byte": float(nats.sum() / math.log(2) / size)}


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Count; sweep the rates with seed 0; train and mix with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    order, counted_valid, counted_test = counting(variant)
    result: dict[str, Any] = {"order": order, "counting": summary(counted_test), "tokens": len(counted_test)}
    if variant == CHARACTERS:
        return result
    size = len(tokenizer(variant))
    training, valid, test = (windows([ids], CONTEXT, size) for ids in texts(variant))

    def fit(seed: int, rate: float) -> tuple[WindowNetwork, list[float]]:
        torch.manual_seed(seed)
        model = WindowNetwork(size, context=CONTEXT, embedding_size=32, hidden_size=96)
        curve: list[float] = []

        def look(step: int) -> None:
            if step % (STEPS // LOOKS) == 0:
                curve.append(float(surprisals(model, *valid).mean()))

        train(model, *training, rate=rate, steps=STEPS, seed=seed, watch=look)
        return model, curve

    swept = sweep(lambda rate: fit(0, rate)[1][-1], RATES, factor=2.5, further=4)
    rate = best_rate(swept)
    networks, mixtures, shares, curves = [], [], [], []
    for each in MODEL_SEEDS:
        model, curve = fit(each, rate)
        nats = surprisals(model, *test)
        share = best_share(surprisals(model, *valid), counted_valid)
        networks.append(summary(nats))
        mixtures.append(summary(mixed(nats, counted_test, share)))
        shares.append(share)
        curves.append(curve)
    return result | {
        "network": networks,
        "mixture": mixtures,
        "share": shares,
        "curve": curves,
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "parameters": num_parameters(model),
    }

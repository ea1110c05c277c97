"""Time of a layer against the rank of the thin pair in its place, in turns with the layer itself, on one thread.

Weights are random: time does not depend on them. What is called a seed here is a repetition.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from plm_chapters.experiments.teachers import SHAPE, Task
from plm_core.compression.low_rank import LowRankLinear, break_even_rank, factorise_model
from plm_core.compression.structure import stored_bytes
from plm_core.evaluation.benchmark import Timing, time_in_turns
from plm_core.runtime import setup

LAYERS = {
    "128 x 128": (SHAPE["hidden_size"], SHAPE["hidden_size"]),
    "512 x 128": (SHAPE["hidden_size"], SHAPE["intermediate_size"]),
    "768 x 768": (768, 768),
    "3072 x 768": (768, 3072),
}
"""Inputs and outputs: the book's models on compression, and BERT-base."""
TOKENS = [1, 16, 128]
FRACTIONS = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0]
"""Ranks, as parts of the rank at which the pair has as many weights as the layer."""
VARIANTS = [*LAYERS, "model"]
SEEDS = [0, 1, 2]
THREADS = 1


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Time one layer with each rank, or the whole model with each share of its weights."""
    setup(seed=seed, preset=preset, device="cpu")
    return model_times(preset) if variant == "model" else {"runs": layer_times(*LAYERS[variant])}


def layer_times(in_features: int, out_features: int, *, rounds: int = 30) -> list[dict[str, Any]]:
    """For each number of tokens and each rank, how many times faster than the layer the pair is."""
    layer, limit = nn.Linear(in_features, out_features), break_even_rank(in_features, out_features)
    found = []
    for tokens in TOKENS:
        x_TD = torch.randn(tokens, in_features)
        pairs = {part: LowRankLinear(in_features, out_features, round(part * limit)) for part in FRACTIONS}
        calls: dict[str, Callable[[], object]] = {"layer": repeated(layer, x_TD)}
        calls |= {str(part): repeated(pair, x_TD) for part, pair in pairs.items()}
        times = time_in_turns(calls, rounds=rounds, warmup=5, threads=THREADS)
        for part, pair in pairs.items():
            sizes = {"tokens": tokens, "fraction": part, "rank": pair.rank}
            found.append(sizes | {"speedup": times[str(part)].speedup_over(times["layer"])} | seconds(times["layer"]))
    return found


def repeated(module: nn.Module, x_TD: torch.Tensor, times: int = 10) -> Callable[[], object]:
    """Ten calls as one: a single one is too short for the clock."""

    def call() -> None:
        for _ in range(times):
            module(x_TD)

    return call


def seconds(timing: Timing, times: int = 10) -> dict[str, float]:
    """Median of one call of the layer that the others are compared with."""
    return {"layer_seconds": timing.median / times}


def model_times(preset: str, *, rounds: int = 20) -> dict[str, Any]:
    """The model of the chapters on compression, one story of 128 words, whole and with thin layers of equal shares."""
    teacher = Task("causal", preset).new_model().eval()
    models = {"1": teacher}
    for share in (0.75, 0.5, 0.25, 0.125):
        models[str(share)] = copy.deepcopy(teacher)
        factorise_model(models[str(share)], share)
    found = []
    for tokens in TOKENS:
        ids_BT = torch.randint(1, 100, (1, tokens))
        calls: dict[str, Callable[[], object]] = {name: call_of(model, ids_BT) for name, model in models.items()}
        times = time_in_turns(calls, rounds=rounds, warmup=3, threads=THREADS)
        for name, timing in times.items():
            speedup = timing.speedup_over(times["1"])
            found.append({"tokens": tokens, "share": float(name), "speedup": speedup, "seconds": timing.median})
    return {"runs": found, "bytes": {name: stored_bytes(model) for name, model in models.items()}}


def call_of(model: nn.Module, ids_BT: torch.Tensor) -> Callable[[], object]:
    """A forward pass."""
    return lambda: model(ids_BT)

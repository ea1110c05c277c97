"""A real model with zeros: four ways to choose them at once, what half an epoch of training mends, and whole units.

The models are those of :mod:`~plm_chapters.experiments.real_teachers`: MiniLM, fine-tuned on TREC's questions or on
sentence polarity, three seeds each. The zeros stand in all 36 matrices of its six blocks, in each row the same share of
30, 50, 60 or 70 %, or two of every four neighbours (2:4); embeddings, norms, biases and classifier stay whole.

- "TREC", "polarity": no training. *random*, *magnitude* (|w|), *Wanda* (|w| times the root mean square of the input)
  and *SparseGPT* (the weights that stay make up for those that go), at all five levels. The last two look at the inputs
  of the dense model on the same SAMPLE training texts; their authors take the inputs block by block from the model that
  is pruned already. SparseGPT's authors compare all weights of 128 columns; here each row loses its share of these (at
  70 %, 90 of 128, a little more than with the others), and of 2:4 each four is chosen when it is reached, as they do.
  *Units*: the same share of heads and of feed-forward neurons, 25 or 50 %, removed by importance on these texts or at
  random. Beside the scores stand the bytes of a file with a bit map for each matrix that holds zeros, and for zeros the
  squared error of a layer's output, relative to the squared output and averaged over the layers: on texts of the
  validation part, which no method saw. Floors: the frequencies of the test part's classes, and a bag of words on the
  whole training part, its penalty of three chosen by validation loss.
- "TREC, recovery", "polarity, recovery": magnitude, Wanda and SparseGPT at 50 %, 70 % and 2:4, and the units by
  importance, trained for half an epoch with the zeros kept; *dense* is the whole model, trained on for as many steps.
  Equal for all: steps, order of the texts, dropout's seed, a linear rise and fall of the rate, its peak; the embeddings
  are frozen. One peak serves all arms of a task: of five (more while the best lies at an edge) the one with the lowest
  validation loss for magnitude at 50 %, the model of seed 0, in an order (100) that no scored run has. The choice
  favours magnitude, if any arm.

Every arm is scored on the whole test part, the texts sorted by length, so that little is padded.

Criterion, set before the runs: Wanda minus magnitude and SparseGPT minus magnitude in nats, at 50 % and at 70 %, before
any training, on each task, paired by seed: eight differences with intervals of 1 - 0.05 / 8 (Student's t, two degrees
of freedom, 12.6 standard errors); one counts if its interval does not contain zero. Everything else is description.

What the results do not show: anything of time; larger models, for which the last two methods were made; whether another
rate or more steps would serve an arm better; the recovery of a task whose runs the file names as missing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from statistics import mean
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plm_chapters.experiments import real_teachers
from plm_chapters.experiments.real_scores import floors, score
from plm_chapters.experiments.real_teachers import Task, moments_of, sample, steps_for, teacher, train
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.compression.gptq import output_error, round_blocks
from plm_core.compression.one_shot import BLOCK, Pattern, keep_in_rows, sparsegpt, wanda
from plm_core.compression.prune import apply_masks, keep_zeros, magnitude_scores, random_scores, sparsity
from plm_core.compression.structure import block_linears, stored_bytes
from plm_core.compression.structured import importance, least_important, remove_heads, remove_neurons
from plm_core.objectives.classification import Classification
from plm_core.runtime import setup
from plm_core.training.freezing import freeze_below
from plm_core.training.gradients import DivergedError

VARIANTS = [*real_teachers.TASKS, *(f"{task}, recovery" for task in real_teachers.TASKS)]
SEEDS = [0, 1, 2]

Method = Literal["random", "magnitude", "Wanda", "SparseGPT"]
METHODS: tuple[Method, ...] = ("random", "magnitude", "Wanda", "SparseGPT")
LEVELS: dict[str, tuple[float, Pattern]] = {
    "30%": (0.3, "row"),
    "50%": (0.5, "row"),
    "60%": (0.6, "row"),
    "70%": (0.7, "row"),
    "2:4": (0.5, "2:4"),
}
UNITS = {"25%": 0.25, "50%": 0.5}
"""Shares of heads and of neurons."""
RECOVERED: tuple[str, ...] = ("50%", "70%", "2:4")
"""Levels at which zeros are trained with."""
EPOCHS = 0.5
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
ORDER, SWEPT_ORDER = 10, 100
"""Numbers of the order of the texts in a recovery, the first one added to the seed: not that of the fine-tuning."""
ERROR_BATCHES = 6
"""Of 50 validation texts each, on which the layers' errors are measured."""


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One task with one seed, before training or with it."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    for task in real_teachers.TASKS:
        if variant == task:
            return without_training(task, seed)
        if variant == f"{task}, recovery":
            return with_recovery(task, seed)
    raise ValueError(f"there is no variant {variant!r}: use one of {', '.join(VARIANTS)}")


def without_training(task: Task, seed: int) -> dict[str, Any]:
    """Every arm as it is at once."""
    dense, shown = teacher(task, seed), sample(task, seed)
    moments = moments_of(dense, shown)
    judged = moments_of(dense, real_teachers.held_out(task, "validation")[:ERROR_BATCHES])
    found: dict[str, Any] = {"floors": floors(task), "dense": scored(dense, task), "zeros": {}, "units": {}}
    for method in METHODS:
        for level in LEVELS:
            model = zeroed(dense, method, level, moments, seed)
            error = {"error": relative_error(dense, model, judged)}
            found["zeros"][f"{method}, {level}"] = scored(model, task) | error
    important = importance(dense, Classification(), shown)
    generator = torch.Generator().manual_seed(seed)
    blind = [{n: torch.rand(s.shape, generator=generator) for n, s in scores.items()} for scores in important]
    for order, scores in (("importance", important), ("random", blind)):
        for level, share in UNITS.items():
            found["units"][f"{order}, {level}"] = scored(without_units(dense, scores, share), task)
    return found


def with_recovery(task: Task, seed: int) -> dict[str, Any]:
    """The dense model, models with zeros and models without some units, each after the same training."""
    rates = swept(task)
    rate, steps = best_rate(rates), steps_for(task, EPOCHS)
    dense, shown = teacher(task, seed), sample(task, seed)
    moments, scores = moments_of(dense, shown), importance(dense, Classification(), shown)

    def result(model: nn.Module) -> dict[str, float]:
        return scored(recover(model, task, rate=rate, order=seed + ORDER), task)

    return {
        "steps": steps,
        "rate": rate,
        "sweep": {f"{each:.2g}": rates[each] for each in sorted(rates)},
        "dense": result(copy.deepcopy(dense)),
        "zeros": {
            f"{method}, {level}": result(zeroed(dense, method, level, moments, seed))
            for level in RECOVERED
            for method in METHODS[1:]
        },
        "units": {
            f"importance, {level}": result(without_units(dense, scores, share)) for level, share in UNITS.items()
        },
    }


@cache
def swept(task: Task) -> dict[float, float]:
    """The validation loss of magnitude at 50 % after the training, for each rate."""

    def loss(rate: float) -> float:
        model = zeroed(teacher(task, 0), "magnitude", "50%", {}, 0)
        try:
            return score(recover(model, task, rate=rate, order=SWEPT_ORDER), task, "validation")["nats"]
        except DivergedError:
            return math.inf

    return sweep(loss, RATES, factor=10**0.5, further=2)


def recover(model: nn.Module, task: Task, *, rate: float, order: int) -> nn.Module:
    """Train everything above the embeddings for EPOCHS in place; what is zero stays zero."""
    freeze_below(model, 1)
    with ExitStack() as stack:
        return train(
            model,
            task,
            steps=steps_for(task, EPOCHS),
            rate=rate,
            seed=order,
            attach=lambda trainer: stack.enter_context(keep_zeros(model, trainer.optimizer)),
        )


# Models


def zeroed(dense: nn.Module, method: Method, level: str, moments: Mapping[str, Tensor], seed: int) -> nn.Module:
    """A copy with zeros; only Wanda and SparseGPT look at the moments, only random at the seed."""
    share, pattern = LEVELS[level]
    model = copy.deepcopy(dense)
    if method == "SparseGPT":
        block = 4 if pattern == "2:4" else BLOCK  # two of four are chosen when the columns before have been made up for
        round_blocks(model, lambda weight, own: sparsegpt(weight, own, share, pattern=pattern, block=block), moments)
    elif method == "Wanda":
        apply_masks(model, wanda(model, moments, share, pattern=pattern))
    else:
        scores = magnitude_scores(model) if method == "magnitude" else random_scores(model, seed=seed)
        apply_masks(model, {name: keep_in_rows(score, share, pattern) for name, score in scores.items()})
    return model


def without_units(dense: nn.Module, scores: Sequence[Mapping[str, Tensor]], share: float) -> nn.Module:
    """A copy without the heads and the neurons of the lowest scores, the same share of both."""
    model = copy.deepcopy(dense)
    heads, neurons = scores
    remove_heads(model, least_important(heads, share))
    remove_neurons(model, least_important(neurons, share))
    return model


# What is measured


def relative_error(dense: nn.Module, model: nn.Module, moments: Mapping[str, Tensor]) -> float:
    """tr((W - Q)·S·(W - Q)ᵀ) / tr(W·S·Wᵀ), averaged over the layers of the blocks."""
    after = block_linears(model)
    return mean(
        output_error(layer.weight, after[name].weight, moments[name])
        / output_error(layer.weight, torch.zeros_like(layer.weight), moments[name])
        for name, layer in block_linears(dense).items()
    )


def scored(model: nn.Module, task: Task) -> dict[str, float]:
    """Accuracy and loss on the test part, bytes, and the share of zeros in the blocks."""
    return score(model, task, "test") | {"bytes": bitmap_bytes(model), "zeros": sparsity(model)}


def bitmap_bytes(model: nn.Module) -> int:
    """Bytes of a file that has, for a matrix of a block, a bit for each weight and the others than zero in 32 bits.

    A matrix that is shorter without this is stored as it is.
    """
    total = stored_bytes(model)
    for layer in block_linears(model).values():
        mapped = int(layer.weight.count_nonzero()) * layer.weight.element_size() + math.ceil(layer.weight.numel() / 8)
        total += min(0, mapped - layer.weight.nbytes)
    return total

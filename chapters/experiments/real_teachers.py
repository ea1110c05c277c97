"""The real models that the chapters on compression make smaller: MiniLM, fine-tuned on questions or on film reviews.

The network is all-MiniLM-L6-v2 (see :mod:`~plm_chapters.experiments.fine_tuning_runs`) with a new linear layer on the
mean of its last states. All weights are trained for EPOCHS epochs on the whole training part of TREC's questions (six
classes) or of sentence polarity (two), at the rate that ``plm fine-tune`` takes where none is given. Nothing is chosen
on test texts.

Every compressed model is scored on the whole test part, choices are made on the validation part, and what is estimated
on text is estimated on training texts. No text of a corpus is stored.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
import random
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from plm_chapters.experiments import fine_tuning_runs
from plm_chapters.experiments.fine_tuning_runs import CORPORA, Texts, batches, classes, new_model
from plm_core.compression.low_rank import input_moments
from plm_core.data.batch import Batch
from plm_core.data.download import data_folder
from plm_core.data.labelled_rows import LabelledBatches
from plm_core.objectives.base import Objective
from plm_core.objectives.classification import Classification
from plm_core.runs.fine_tune_config import RATES
from plm_core.training.trainer import Trainer
from plm_core.weights import load_weights, save_weights

Task = Literal["TREC", "polarity"]
Split = Literal["train", "validation", "test"]
TASKS: tuple[Task, ...] = ("TREC", "polarity")
EPOCHS = 2
SAMPLE = 256
"""Training texts that a method may look at."""


@cache
def texts(task: Task, split: Split) -> Texts:
    """All examples of one part: texts and the numbers of their classes."""
    examples = CORPORA[task](split)
    return [each.text for each in examples], [classes(task).index(each.label) for each in examples]


@cache
def held_out(task: Task, split: Split) -> Sequence[Batch]:
    """All examples of one part in batches of similar length."""
    return batches(texts(task, split), size=50).in_order()


def source(task: Task, seed: int) -> LabelledBatches:
    """The training batches in the order of a seed, by number."""
    return batches(texts(task, "train"), seed=seed)


def sample(task: Task, seed: int, count: int = SAMPLE) -> list[Batch]:
    """Training texts to calibrate on, drawn by the seed."""
    everything, numbers = texts(task, "train")
    chosen = random.Random(1000 + seed).sample(range(len(everything)), count)
    return list(batches(([everything[n] for n in chosen], [numbers[n] for n in chosen]), size=32).in_order())


def show(model: nn.Module, shown: Sequence[Batch]) -> None:
    """Run a model on batches, for what watches its layers."""
    with torch.no_grad():
        for batch in shown:
            Classification()(model, batch)


def moments_of(model: nn.Module, shown: Sequence[Batch]) -> dict[str, Tensor]:
    """Second moments of the inputs of every layer on these batches."""
    return input_moments(model, lambda watched: show(watched, shown))


def steps_for(task: Task, epochs: float = EPOCHS) -> int:
    """Steps of so many epochs."""
    return round(epochs * len(texts(task, "train")[0]) / fine_tuning_runs.BATCH)


def train(
    model: nn.Module,
    task: Task,
    *,
    steps: int,
    rate: float,
    seed: int,
    objective: Objective | None = None,
    attach: Callable[[Trainer], object] | None = None,
) -> nn.Module:
    """Train the weights of a model that require gradients on the training part; a fall of the rate to zero.

    Args:
        model: it is changed in place and returned in evaluation mode.
        task: gives texts and labels.
        steps: optimiser steps.
        rate: the peak, after a tenth of the steps.
        seed: of the order of the texts and of dropout.
        objective: another objective on the same batches, such as a distillation.
        attach: is given the trainer before it starts.
    """
    settings = fine_tuning_runs.settings_for(steps, rate)
    trainer = Trainer(model, objective or Classification(), source(task, seed), settings, quiet=True)
    torch.manual_seed(1000 + seed)  # dropout
    if attach is not None:
        attach(trainer)
    trainer.fit()
    return model.eval()


def teacher(task: Task, seed: int) -> nn.Module:
    """A copy of a seed's model, in evaluation mode. The first call trains it and keeps a file."""
    return copy.deepcopy(trained(task, seed))


@cache
def trained(task: Task, seed: int) -> nn.Module:
    """The model of a seed, from its file or newly fine-tuned."""
    text = inspect.getsource(sys.modules[__name__]) + inspect.getsource(fine_tuning_runs)
    stamp = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = data_folder() / "teachers" / f"real-{task}-{seed}-{stamp}.safetensors"
    model = new_model(len(classes(task)), seed=seed)
    if path.is_file():
        load_weights(model, path)
        return model.eval()
    train(model, task, steps=steps_for(task), rate=RATES["full"], seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")  # another process may be training the same one
    save_weights(model, beside)
    beside.replace(path)
    return model

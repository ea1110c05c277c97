"""How the compressed forms of the real models are scored: the whole of a part, in batches with little padding.

The models and tasks are those of :mod:`~plm_chapters.experiments.real_teachers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.experiments.fine_tuning_runs import batches, classes
from plm_chapters.experiments.real_teachers import Split, Task, texts
from plm_core.data.batch import Batch
from plm_core.evaluation.bag_of_words import BagOfWords
from plm_core.evaluation.modes import evaluation_mode
from plm_core.objectives.inputs import model_inputs

STRENGTHS = (1.0, 10.0, 100.0)
"""Of the bag of words: inverse strengths of its penalty."""


@cache
def by_length(task: Task, split: Split) -> tuple[Sequence[Batch], Tensor]:
    """All examples of a part in batches, sorted by the characters of the texts, and their classes, (N,)."""
    pairs = sorted(zip(*texts(task, split), strict=True), key=lambda pair: len(pair[0]))
    examples = [text for text, _ in pairs], [label for _, label in pairs]
    return list(batches(examples, size=50).in_order()), torch.tensor(examples[1])


def logits(model: nn.Module, task: Task, split: Split) -> Tensor:
    """What a model says of every text, (N, C), in the order of :func:`by_length`."""
    with evaluation_mode(model), torch.no_grad():
        return torch.cat([model(**model_inputs(batch)) for batch in by_length(task, split)[0]])


def scores(logits_NC: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Accuracy, and the cross-entropy in nats for each text."""
    return {
        "accuracy": float((logits_NC.argmax(1) == labels_N).double().mean()),
        "nats": float(F.cross_entropy(logits_NC.double(), labels_N)),
    }


def score(model: nn.Module, task: Task, split: Split) -> dict[str, float]:
    """Accuracy and cross-entropy of a model on a part."""
    return scores(logits(model, task, split), by_length(task, split)[1])


def changed(logits_NC: Tensor, others_NC: Tensor) -> float:
    """The share of texts for which two models name different classes."""
    return float((logits_NC.argmax(1) != others_NC.argmax(1)).double().mean())


@cache
def floors(task: Task) -> dict[str, dict[str, float]]:
    """What the test part yields without the network: by the classes' frequencies alone, and to a bag of words.

    The bag of words has seen the whole training part; its penalty has the lowest cross-entropy on the validation part.
    """
    tested, labels_N = texts(task, "test")
    shares = torch.tensor(labels_N).bincount().double() / len(labels_N)
    frequencies = {"accuracy": float(shares.max()), "nats": float(torch.special.entr(shares).sum())}
    bags = [BagOfWords(*texts(task, "train"), len(classes(task)), strength=strength) for strength in STRENGTHS]
    validation, numbers = texts(task, "validation")
    best = min(bags, key=lambda bag: scores(bag.logits(validation), torch.tensor(numbers))["nats"])
    return {"frequencies": frequencies, "bag of words": scores(best.logits(tested), torch.tensor(labels_N))}

"""One network with and without pretraining, and a bag of words, on few labelled texts: what the experiments share.

The network is all-MiniLM-L6-v2, 22.7 million parameters, with a new linear layer on the mean of its last states. It
began as nreimers/MiniLM-L6-H384-uncased, by whose card it is every second layer of a network of 12 that Wang et al.
(2020) distilled from a larger one. By its own card it was then trained on a billion pairs of texts, many of them
questions, to pick the partner of a text by the means of the states; its pooler was not part of that. "Random weights"
is the same network with BERT's initial weights. Without a network: logistic regression on tf-idf
(:class:`~plm_core.evaluation.bag_of_words.BagOfWords`), and on the means of the frozen network.

A run is STEPS steps of BATCH texts, unless it says otherwise; one batch of an epoch, at any place, has fewer where the
number of labels is no multiple of BATCH: with 40 labels one of three has 8, the longest texts. AdamW, a linear warm-up
over a tenth of the steps, then a linear fall to zero, weight decay 0.01 on matrices, gradients clipped to norm 1, the
network's dropout of 0.1. A seed decides which texts are labelled, the new layer's initial weights, the order and the
dropout, in all arms alike.
"""

from __future__ import annotations

import itertools
import math
import random
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.data.datasets import sentence_polarity, trec_questions
from plm_core.data.labelled_rows import LabelledBatches, Row, text_rows
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.bag_of_words import BagOfWords, words_of
from plm_core.evaluation.validation import validate
from plm_core.interop.pretrained_models import pretrained
from plm_core.models.adapters import AdapterConfig, add_adapters
from plm_core.models.bert import Bert
from plm_core.models.heads import pool_states, sequence_classifier
from plm_core.models.lora import LoraConfig, add_lora
from plm_core.objectives.classification import Classification
from plm_core.training.config import TrainConfig
from plm_core.training.freezing import count_parameters, train_biases_only
from plm_core.training.gradients import DivergedError
from plm_core.training.trainer import Trainer

MODEL = "all-minilm-l6-v2"
LABELS = [40, 160, 640]
SWEPT_AT = 160
MODEL_SEEDS = [1, 2, 3, 4, 5]
STEPS, BATCH, MAX_LENGTH = 40, 16, 64
VALIDATED, TESTED = 200, 500
"""Texts of the validation part on which choices are made, a rate or a penalty, and of the test part; TREC's has 500."""
STRENGTHS = [0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0]
CORPORA: dict[str, Callable[[Any], Any]] = {"TREC": trec_questions, "polarity": sentence_polarity}

Texts = tuple[list[str], list[int]]
"""Texts and the numbers of their classes."""


@cache
def source() -> tuple[Bert, Tokenizer]:
    """The pretrained model and its tokenizer."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*left at their initial values")
        model, tokenizer = pretrained(MODEL)
    assert isinstance(model, Bert)
    return model, tokenizer


@cache
def untrained(seed: int) -> Bert:
    """The same network with BERT's initial weights."""
    config = source()[0].config  # before the seed: loading a model draws random numbers
    torch.manual_seed(seed)
    return Bert(config)


@cache
def classes(task: str) -> list[str]:
    """The classes of a task."""
    return sorted({example.label for example in CORPORA[task]("train")})


@cache
def part(task: str, split: str) -> Texts:
    """The examples of one part; at most VALIDATED and TESTED of the two that are not trained on."""
    examples = CORPORA[task](split)
    if split != "train":
        wanted = min(len(examples), VALIDATED if split == "validation" else TESTED)
        examples = random.Random(0).sample(examples, wanted)
    return [each.text for each in examples], [classes(task).index(each.label) for each in examples]


def labelled(task: str, count: int, seed: int) -> Texts:
    """The first so many training texts in the order of a seed, so that fewer are always among more."""
    texts, numbers = part(task, "train")
    chosen = random.Random(seed).sample(range(len(texts)), len(texts))[:count]
    return [texts[n] for n in chosen], [numbers[n] for n in chosen]


def rows(texts: Texts) -> list[Row]:
    """Texts as rows of tokens with their classes."""
    return text_rows(texts[0], source()[1], labels=texts[1], max_length=MAX_LENGTH).rows


def batches(texts: Texts, *, size: int = BATCH, seed: int = 0) -> LabelledBatches:
    """Texts in batches of similar length."""
    return LabelledBatches(rows(texts), batch_size=size, pad_id=source()[1].pad_id, seed=seed)


def new_model(
    task_classes: int, *, seed: int, start: str = "pretrained", method: str = "full", rank: int = 8
) -> nn.Module:
    """The network with a new layer for so many classes, and only those weights trained that the method trains.

    Args:
        task_classes: number of classes.
        seed: of the new weights.
        start: ``"pretrained"`` or ``"random weights"``.
        method: ``"full"``, ``"biases"``, ``"lora"`` or ``"adapters"``.
        rank: of LoRA; its alpha is twice the rank, so that the update is always multiplied by 2.
    """
    trunk = source()[0] if start == "pretrained" else untrained(seed)
    torch.manual_seed(seed)
    model = sequence_classifier(trunk, task_classes, pooling="mean")
    if method == "biases":
        train_biases_only(model)
    elif method == "lora":
        add_lora(model, LoraConfig(rank=rank, alpha=2.0 * rank))
    elif method == "adapters":
        add_adapters(model, AdapterConfig())
    return model


def settings_for(steps: int, rate: float, *, warmup: float = 0.1) -> TrainConfig:
    """AdamW with a linear rise of the rate over a share of the steps, then a linear fall to zero."""
    return TrainConfig(
        steps=steps,
        learning_rate=rate,
        schedule="linear",
        warmup_steps=round(warmup * steps),
        final_fraction=0.0,
        weight_decay=0.01,
        beta2=0.999,
        eval_every=steps,
        log_every=min(10, steps),
    )


def train(
    model: nn.Module, texts: Texts, *, rate: float, seed: int, steps: int = STEPS, warmup: float = 0.1
) -> dict[str, float]:
    """Train the weights of a model that require gradients.

    Returns:
        The CPU time of a step in seconds, and the loss of the last steps, or infinity if training diverged.
    """
    settings = settings_for(steps, rate, warmup=warmup)
    trainer = Trainer(model, Classification(), batches(texts, seed=seed), settings, quiet=True)
    torch.manual_seed(1000 + seed)  # dropout
    begun = time.process_time()
    trainer.fit()
    seconds = (time.process_time() - begun) / steps
    losses = [record["train/loss"] for record in trainer.records if "train/loss" in record]
    return {"seconds a step": round(seconds, 4), "last loss": round(losses[-1], 4)}


def score(model: nn.Module, texts: Texts) -> dict[str, float]:
    """Loss and accuracy, in evaluation mode."""
    found = validate(model, Classification(), batches(texts, size=50).in_order())
    return {"loss": found["loss"], "accuracy": found["classification/accuracy"]}


def measure(
    task: str,
    count: int,
    *,
    rate: float,
    seed: int,
    on: str,
    start: str = "pretrained",
    method: str = "full",
    rank: int = 8,
    warmup: float = 0.1,
    steps: int = STEPS,
) -> dict[str, float]:
    """Train on so many labelled texts and score on a part, ``"validation"`` or ``"test"``."""
    model = new_model(len(classes(task)), seed=seed, start=start, method=method, rank=rank)
    try:
        told = train(model, labelled(task, count, seed), rate=rate, seed=seed, steps=steps, warmup=warmup)
    except DivergedError:
        return {"loss": math.inf, "accuracy": math.nan}
    counts = count_parameters(model)
    return score(model, part(task, on)) | told | {"trained": counts.trained, "rate": rate, "seed": seed}


def with_pairs(text: str) -> str:
    """A text whose words are followed by its pairs of neighbouring words, each pair as one word.

    >>> with_pairs("Who are you?")
    'who are you mark63 start_who who_are are_you you_mark63'
    """
    words = [word if word.isalnum() else "mark" + "_".join(str(ord(sign)) for sign in word) for word in words_of(text)]
    return " ".join([*words, *(f"{one}_{other}" for one, other in itertools.pairwise(["start", *words]))])


def words_arm(task: str, count: int, seed: int, strength: float, on: str, *, pairs: bool = False) -> float:
    """The accuracy of logistic regression on which words, or words and pairs of neighbouring words, a text has."""
    texts, numbers = labelled(task, count, seed)
    tested, true = part(task, on)
    if pairs:
        texts, tested = [with_pairs(text) for text in texts], [with_pairs(text) for text in tested]
    model = BagOfWords(texts, numbers, len(classes(task)), strength=strength)
    return sum(one == other for one, other in zip(model.predict(tested), true, strict=True)) / len(true)


@cache
def vectors(task: str, split: str) -> Tensor:
    """The mean of the frozen network's last states of each text, (N, D)."""
    model = source()[0].eval()
    made = []
    with torch.no_grad():
        for batch in batches(part(task, split), size=50).in_order():
            x_BTD = model.encoder(batch["input_ids"], attention_mask=batch["attention_mask"])
            made.append(pool_states(x_BTD, batch["attention_mask"], "mean"))
    return torch.cat(made).double()


class VectorRegression:
    """Logistic regression on standardised vectors; the loss is that of
    :class:`~plm_core.evaluation.bag_of_words.BagOfWords`.

    Args:
        x_ND: the vectors.
        labels: their classes.
        num_labels: number of classes C.
        strength: inverse strength of the penalty.
    """

    def __init__(self, x_ND: Tensor, labels: Sequence[int], num_labels: int, strength: float) -> None:
        self.mean_D, self.std_D = x_ND.mean(0), x_ND.std(0) + 1e-6
        labels_N = torch.tensor(labels)
        weight_DC = torch.zeros(x_ND.shape[1], num_labels, dtype=x_ND.dtype, requires_grad=True)
        bias_C = torch.zeros(num_labels, dtype=x_ND.dtype, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight_DC, bias_C], max_iter=200, line_search_fn="strong_wolfe")
        scaled_ND = (x_ND - self.mean_D) / self.std_D / math.sqrt(x_ND.shape[1])

        def loss() -> Tensor:
            optimizer.zero_grad()
            total = F.cross_entropy(scaled_ND @ weight_DC + bias_C, labels_N, reduction="sum")
            total = total + weight_DC.square().sum() / (2 * strength)
            total.backward()
            return total

        optimizer.step(loss)
        self.weight_DC, self.bias_C = weight_DC.detach(), bias_C.detach()

    def predict(self, x_ND: Tensor) -> Tensor:
        """The likeliest class of each vector, (N,)."""
        scaled_ND = (x_ND - self.mean_D) / self.std_D / math.sqrt(x_ND.shape[1])
        return (scaled_ND @ self.weight_DC + self.bias_C).argmax(1)


def frozen_arm(task: str, count: int, seed: int, strength: float, on: str) -> float:
    """The accuracy of logistic regression on the frozen network's vectors."""
    texts, numbers = part(task, "train")
    chosen = random.Random(seed).sample(range(len(texts)), len(texts))[:count]
    model = VectorRegression(vectors(task, "train")[chosen], [numbers[n] for n in chosen], len(classes(task)), strength)
    return float((model.predict(vectors(task, on)) == torch.tensor(part(task, on)[1])).double().mean())


def majority(task: str) -> float:
    """The share of the most frequent class of the test texts."""
    numbers = part(task, "test")[1]
    return max(map(numbers.count, set(numbers))) / len(numbers)

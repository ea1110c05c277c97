"""The models that the chapters on compression make smaller: one shape, three tasks, trained once for each seed.

``causal`` predicts the next word of a story, ``masked`` fills gaps, and ``mood`` tells what mood an ending calls
for: the masked model, fine-tuned. Every compressed model is scored on the same unseen stories.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

import torch
from torch import nn

from plm_chapters.experiments import masked_stories
from plm_core.compression.inputs import with_padding_mask
from plm_core.data.batch import Batch
from plm_core.data.batches import MaskedBatches, PaddedBatches
from plm_core.data.download import data_folder
from plm_core.data.masking import Masker, MaskingConfig
from plm_core.data.sampler import Sampler
from plm_core.data.sentence_pairs import sentence_runs
from plm_core.data.tokenizer_training import word_tokenizer
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.validation import validate
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.base import Objective
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.classification import Classification
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.runtime import resolve_device
from plm_core.storyworld_v1 import EOS, StoryWorld
from plm_core.storyworld_v1.tasks import MOODS, mood
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer
from plm_core.weights import load_weights, save_weights

Kind = Literal["causal", "masked", "mood"]
Model = Bert | Gpt | BertClassifier
KINDS: tuple[Kind, ...] = ("causal", "masked", "mood")

LAYERS = 6
SHAPE: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": None,
    "position": "rope",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.08,  # about 1 / sqrt(128): with 0.02 so narrow a model starts slowly
}
STORIES = {"laptop": 4000, "gpu": 60_000}
STEPS: dict[str, dict[Kind, int]] = {
    "laptop": {"causal": 500, "masked": 800, "mood": 150},
    "gpu": {"causal": 15_000, "masked": 24_000, "mood": 2000},
}
RATES: dict[Kind, float] = {"causal": 3e-3, "masked": 3e-3, "mood": 1e-3}
BATCH: dict[Kind, int] = {"causal": 8, "masked": 16, "mood": 16}
MASKED_SHARE = 0.3
"""Of the tokens in training. With BERT's 15 % so short a run learns less; the score is taken at 15 %."""


MOOD_LEXICONS = ("good_moods", "sad_moods", "angry_moods")


@dataclass(frozen=True)
class Task:
    """What the models of one kind learn, and how well they do it."""

    kind: Kind
    preset: str = "laptop"
    higher_is_better: bool = field(init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no task {self.kind!r}: use one of {', '.join(KINDS)}")
        object.__setattr__(self, "higher_is_better", self.kind != "causal")

    @property
    def unit(self) -> str:
        """Of the quality."""
        return "accuracy" if self.higher_is_better else "bits per character"

    @property
    def objective(self) -> Objective:
        """The loss."""
        return {"causal": CausalLM, "masked": MaskedLM, "mood": Classification}[self.kind]()

    def new_model(self, **changes: Any) -> Model:
        """An untrained model of the teacher's shape, or of another; weights from torch's global generator."""
        shape = {**SHAPE, "vocab_size": vocabulary_size(self.kind), **changes}
        if self.kind == "causal":
            return Gpt(GptConfig(**shape))
        if self.kind == "masked":
            return Bert(BertConfig(norm_position="pre", **shape))
        return BertClassifier(ClassifierConfig(norm_position="pre", num_labels=len(MOODS), **shape))

    def source(self, seed: int) -> PaddedBatches | MaskedBatches | MoodBatches:
        """Training batches by number."""
        size, stories = BATCH[self.kind], STORIES[self.preset]
        if self.kind == "causal":
            return PaddedBatches(causal_rows("train", stories), batch_size=size, pad_id=0, seed=seed)
        if self.kind == "masked":
            return masked_batches(masked_rows("train", stories), seed=seed, rate=MASKED_SHARE, batch_size=size)
        return MoodBatches(mood_texts("train", stories), batch_size=size, seed=seed)

    @cached_property
    def test(self) -> Sequence[Batch]:
        """Batches of unseen stories: what quality is measured on."""
        return self.held_out("test")

    @cached_property
    def valid(self) -> Sequence[Batch]:
        """Batches of other unseen stories: what choices are made on."""
        return self.held_out("valid")

    def held_out(self, split: str) -> Sequence[Batch]:
        """Batches of stories that no model was trained on."""
        if self.kind == "causal":
            return PaddedBatches(causal_rows(split, 150), batch_size=25, pad_id=0, seed=0).in_order()
        if self.kind == "masked":
            return masked_batches(masked_rows(split, 250), seed=12_345, rate=0.15, batch_size=64).in_order()
        return MoodBatches(mood_texts(split, 600), batch_size=64, seed=0).in_order()

    def sample(self, seed: int = 0, batches: int = 8) -> list[Batch]:
        """Training text to calibrate on or to estimate importance with."""
        source = self.source(1000 + seed)
        return [source.batch(number) for number in range(batches)]

    def run(self, model: nn.Module, batches: Sequence[Batch]) -> None:
        """Show batches to a model, heads included, as calibration needs it: with a mask that tells padding."""
        for batch in batches:
            self.objective(model, with_padding_mask(batch))

    def measure(self, model: nn.Module, batches: Sequence[Batch] | None = None) -> dict[str, float]:
        """Quality in the task's unit, and the loss in nats for each prediction."""
        found = validate(model, self.objective, self.test if batches is None else batches)
        name, loss = self.objective.name, found["loss"]
        return {"quality": found[f"{name}/accuracy"] if self.kind != "causal" else loss * self.bits, "nats": loss}

    def quality(self, model: nn.Module) -> float:
        """Accuracy, or bits per character, on unseen stories."""
        return self.measure(model)["quality"]

    def lost(self, quality: float, teacher: float) -> float:
        """The share of the teacher's quality that is lost; negative where the model is the better one."""
        return 1 - quality / teacher if self.higher_is_better else quality / teacher - 1

    @property
    def bits(self) -> float:
        """Bits per character for one nat per word, in the test stories."""
        stories = list(world().stories(0, "test", 150))
        return sum(len(s.words) for s in stories) / sum(len(s.text) + 1 for s in stories) / math.log(2)

    def teacher(self, seed: int) -> Any:
        """A copy of a seed's model, on the CPU, in evaluation mode. The first call trains it and keeps a file."""
        return copy.deepcopy(trained(self.kind, seed, self.preset))


def train(
    model: nn.Module,
    task: Task,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    objective: Objective | None = None,
    attach: Callable[[Trainer], object] | None = None,
) -> nn.Module:
    """Train a model on the training stories of a task, on the fastest device, and bring it back to the CPU.

    Args:
        model: it is changed in place and returned.
        task: gives text and objective.
        steps: optimiser steps.
        learning_rate: the peak, after a tenth of the steps and at most 50.
        seed: of the order of the stories.
        objective: another objective on the same batches, such as a distillation.
        attach: is given the trainer before it starts, to hang something on its optimiser.
    """
    config = TrainConfig(
        steps=steps,
        learning_rate=learning_rate,
        schedule="linear",
        warmup_steps=min(50, steps // 10),
        final_fraction=0.02,
        weight_decay=0.01,
        log_every=steps,
        eval_every=steps,
    )
    device = resolve_device()
    model.to(device)
    trainer = Trainer(
        model, objective or task.objective, task.source(seed), config, hardware=Hardware(device), quiet=True
    )
    if attach is not None:
        attach(trainer)
    trainer.fit()
    return model.cpu().eval()


@lru_cache(maxsize=4)
def trained(kind: Kind, seed: int, preset: str) -> Model:
    """The teacher of a seed, from its file or newly trained."""
    task = Task(kind, preset)
    text = inspect.getsource(sys.modules[__name__]) + inspect.getsource(masked_stories)
    stamp = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = data_folder() / "teachers" / f"{kind}-{preset}-{seed}-{stamp}.safetensors"
    torch.manual_seed(seed)
    model = task.new_model()
    if path.is_file():
        load_weights(model, path)
        return model.eval()
    if kind == "mood":
        pretrained = trained("masked", seed, preset)
        torch.manual_seed(seed)
        model = BertClassifier.from_pretrained(pretrained, len(MOODS))  # type: ignore[arg-type]
    train(model, task, steps=STEPS[preset][kind], learning_rate=RATES[kind], seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")  # another process may be training the same one
    save_weights(model, beside)
    beside.replace(path)
    return model


# Text


@lru_cache
def world() -> StoryWorld:
    """The world that the stories are told of."""
    return StoryWorld("small", "en")


def vocabulary_size(kind: Kind) -> int:
    """Words, and for the masked model the special tokens."""
    return len(world().vocabulary) if kind == "causal" else tokenizer().vocab_size


@lru_cache
def tokenizer() -> Tokenizer:
    """The numbers of the words, for the masked models."""
    return word_tokenizer([word for word in world().vocabulary if word != EOS])


@lru_cache
def causal_rows(split: str, stories: int) -> list[list[int]]:
    """Stories as word ids, with one ``<eos>`` before each to predict its first word from."""
    number = {word: index for index, word in enumerate(world().vocabulary)}
    return [[0, *(number[word] for word in story.words)] for story in world().stories(0, split, stories)]


@lru_cache
def mood_texts(split: str, stories: int) -> list[tuple[list[int], int]]:
    """The last run of whole sentences of each story, its mood masked, and the number of the mood."""
    found = []
    for story in world().stories(0, split, stories):
        sentences = masked_stories.encode(tokenizer(), story)
        start, end = sentence_runs([len(sentence) for sentence in sentences], masked_stories.CONTEXT - 2)[-1]
        row = [token for sentence in sentences[start:end] for token in sentence]
        hidden = [tokenizer().mask_id if token in mood_words() else token for token in row]
        found.append((hidden, MOODS.index(mood(story))))
    return found


@lru_cache
def mood_words() -> frozenset[int]:
    """The ids of the words that say a mood."""
    words = [word for name in MOOD_LEXICONS for word in world().lexicons[name].words("en", "adj")]
    return frozenset(tokenizer().encode(" ".join(words)))


@lru_cache
def masked_rows(split: str, stories: int) -> list[list[int]]:
    """Runs of whole sentences, as word ids of the masked model."""
    told = world().stories(0, split, stories)
    return masked_stories.rows_of([masked_stories.encode(tokenizer(), story) for story in told])


def masked_batches(rows: list[list[int]], *, seed: int, rate: float, batch_size: int) -> MaskedBatches:
    """Rows with gaps."""
    masker = Masker(
        vocab_size=tokenizer().vocab_size,
        mask_token_id=tokenizer().mask_id,
        special_ids=sorted(tokenizer().special_ids),
        config=MaskingConfig(rate=rate),
        seed=seed,
    )
    length = masked_stories.CONTEXT
    return MaskedBatches(
        rows, tokenizer=tokenizer(), masker=masker, max_length=length, batch_size=batch_size, seed=seed
    )


class MoodBatches:
    """The last sentences of stories, the mood itself masked; the label, (B,), is the mood that they call for."""

    def __init__(self, texts: Sequence[tuple[list[int], int]], *, batch_size: int, seed: int) -> None:
        self.texts = texts
        self.sampler = Sampler(len(texts), batch_size, seed=seed, lengths=[len(row) for row, _ in texts])

    def batch(self, index: int) -> Batch:
        """The batch of that number: ids and mask, (B, T), and labels (B,)."""
        return self.collate(self.sampler.batch(index)[1])

    def in_order(self) -> list[Batch]:
        """Every text once: for evaluation."""
        return [self.collate(numbers) for numbers in self.sampler.in_order()]

    def collate(self, numbers: Sequence[int]) -> Batch:
        """The texts of these numbers as a batch."""
        rows, labels = zip(*(self.texts[number] for number in numbers), strict=True)
        ids_BT, mask_BT = masked_stories.framed(tokenizer(), rows)
        return {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": torch.tensor(labels)}

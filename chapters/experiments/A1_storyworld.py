"""How much of the way from a 5-gram to the exact floor a small Transformer covers in one chapter's time.

A seed stands for its own training stories and initial weights; all are scored on the same unseen stories.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from plm_chapters.notebook import load_experiment
from plm_core.data.batches import PaddedBatches
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.ngram import KneserNey
from plm_core.objectives.causal_lm import CausalLM
from plm_core.storyworld_v1 import IdealReader, Story, StoryWorld
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

VARIANTS = ["ngram5", "transformer"]
SEEDS = [0, 1, 2]

TRAIN_STORIES = {"laptop": 14_000, "gpu": 60_000}
TEST_STORIES = 300
READ_STORIES = 100
BATCH_STORIES = 8

causal = load_experiment("09_causal_language_modelling")


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one model with one seed; its loss on unseen stories, whole and by kind of word, and the floor."""
    world = StoryWorld("small", "en")
    stories = list(world.stories(0, "test", TEST_STORIES))
    train, test = encode(world, world.stories(seed, "train", TRAIN_STORIES[preset])), encode(world, stories)
    start = time.perf_counter()
    losses = by_counting(world, train, test) if variant == "ngram5" else by_transformer(world, train, test, seed)
    words = sum(map(len, test)) - len(test)
    return {
        "nats_per_token": math.fsum(loss.sum() for loss in losses) / words,
        "floor": math.fsum(story.nats for story in stories) / words,
        "by_kind": causal.losses_by_kind(IdealReader(world), stories[:READ_STORIES], losses),
        "train_tokens": sum(map(len, train)) - len(train),
        "train_seconds": time.perf_counter() - start,
    }


def encode(world: StoryWorld, stories: Iterable[Story]) -> list[list[int]]:
    """The ids of the stories' words, with one ``<eos>`` before each story to predict its first word from."""
    number = {word: index for index, word in enumerate(world.vocabulary)}
    return [[0, *(number[word] for word in story.words)] for story in stories]


def by_counting(world: StoryWorld, train: list[list[int]], test: list[list[int]]) -> list[np.ndarray]:
    """The losses of an interpolated, modified Kneser-Ney 5-gram."""
    model = KneserNey(len(world.vocabulary), order=5).fit([ids[1:] for ids in train])
    return [model.nats(ids[1:]) for ids in test]


def by_transformer(world: StoryWorld, train: list[list[int]], test: list[list[int]], seed: int) -> list[np.ndarray]:
    """The losses of a Transformer of three narrow layers after one pass over the training stories."""
    torch.manual_seed(seed)
    model = Gpt(
        GptConfig(
            vocab_size=len(world.vocabulary),
            hidden_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=None,
            position="rope",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.08,  # about 1 / sqrt(128): with GPT-2's 0.02 so narrow a model starts slowly
        )
    )
    steps = len(train) // BATCH_STORIES
    config = TrainConfig(
        steps=steps,
        learning_rate=4e-3,
        schedule="linear",
        warmup_steps=50,
        final_fraction=0.02,
        weight_decay=0.01,
        log_every=steps,
        eval_every=steps,
    )
    source = PaddedBatches(train, batch_size=BATCH_STORIES, pad_id=0, seed=seed)
    Trainer(model, CausalLM(), source, config, quiet=True).fit()
    return [causal.word_losses(model, ids) for ids in test]

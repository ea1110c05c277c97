"""Models that read StoryWorld: their shapes, their training, and their scores skill by skill.

All are trained on one pass over stories, one story a document, none of them twice, and see the same number of words.
Scores are excess nats a word over the ideal reader, on stories that no model has met and no setting was chosen on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from plm_core.data.batch import BatchSource
from plm_core.data.batches import PaddedBatches
from plm_core.evaluation.skills import Predictions, by_model, read_ideally, score_skills
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.ngram import KneserNey
from plm_core.models.recurrent import RecurrentConfig, RecurrentLM
from plm_core.objectives.base import Objective
from plm_core.objectives.causal_lm import CausalLM
from plm_core.storyworld import Story, StoryWorld
from plm_core.storyworld.skill_reading import ReadWord
from plm_core.training.checkpoints import directory
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

TRANSFORMERS = {"0.1 M": (64, 2), "0.3 M": (96, 3), "0.8 M": (128, 4)}
"""Width and number of blocks of the Transformers, by their number of parameters."""
LSTM_WIDTH = 320
"""Width of an LSTM of one layer with about as many parameters as the largest Transformer."""
BATCH_STORIES = 8
CURVE_POINTS = 24
"""Number of checkpoints, at equal distances, at which the skills are scored."""


def encode(world: StoryWorld, stories: Iterable[Story]) -> Iterator[list[int]]:
    """The ids of each story's words, with one ``<eos>`` before them to predict the first word from."""
    number = {word: index for index, word in enumerate(world.vocabulary)}
    return ([0, *(number[word] for word in story.words)] for story in stories)


def training_documents(world: StoryWorld, seed: int, tokens: int) -> list[list[int]]:
    """Stories of the training split with together at least so many predicted words, told anew for every seed."""
    documents, told = [], 0
    for ids in encode(world, world.stories(seed, "train")):
        documents.append(ids)
        told += len(ids) - 1
        if told >= tokens:
            break
    return documents


def make_model(name: str, vocabulary_size: int, seed: int) -> nn.Module:
    """A network by its name: ``"LSTM"``, or ``"Transformer, "`` and a key of :data:`TRANSFORMERS`.

    Embeddings are initialised with about ``1 / sqrt(width)``, so that the logits of narrow models start neither flat
    nor sharp; the LSTM's are larger, because no norm enlarges what enters it.
    """
    torch.manual_seed(seed)
    if name == "LSTM":
        return RecurrentLM(
            RecurrentConfig(
                vocab_size=vocabulary_size, hidden_size=LSTM_WIDTH, hidden_dropout_prob=0.0, initializer_range=0.3
            )
        )
    width, blocks = TRANSFORMERS[name.removeprefix("Transformer, ")]
    return Gpt(
        GptConfig(
            vocab_size=vocabulary_size,
            hidden_size=width,
            num_hidden_layers=blocks,
            num_attention_heads=width // 32,
            intermediate_size=4 * width,
            max_position_embeddings=None,
            position="rope",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.7 / math.sqrt(width),
        )
    )


def train(
    model: nn.Module,
    documents: Sequence[Sequence[int]],
    *,
    rate: float,
    seed: int,
    folder: Path | None = None,
    points: int = 1,
    source: BatchSource | None = None,
    objective: Objective | None = None,
) -> Trainer:
    """Train on one pass over the documents; with a folder, the run goes on where it was interrupted.

    A Transformer's matrices are trained by Muon, with which it needs fewer words than with AdamW; an LSTM has no stack
    of blocks for Muon to train, and AdamW trains all of it.

    Args:
        model: a causal language model.
        documents: token ids of each story.
        rate: the peak learning rate.
        seed: decides the order of the stories.
        folder: where checkpoints are kept.
        points: number of checkpoints to keep.
        source: the batches; stories one to a row by default.
        objective: what is predicted; the next word by default.
    """
    steps = len(documents) // BATCH_STORIES
    every = max(1, steps // points)
    config = TrainConfig(
        steps=steps,
        optimizer="muon" if isinstance(model, Gpt) else "adamw",
        learning_rate=rate,
        schedule="linear",
        warmup_steps=min(200, steps // 10),
        final_fraction=0.01,
        weight_decay=0.05,
        log_every=every,
        eval_every=steps,
        save_every=every,
        keep_last=points + 1,
    )
    if source is None:
        source = PaddedBatches(documents, batch_size=BATCH_STORIES, pad_id=0, seed=seed)
    trainer = Trainer(model, objective or CausalLM(), source, config, folder=folder, quiet=True)
    if folder is not None and directory.newest_checkpoint(folder)[0] is not None:
        trainer.resume()
    trainer.fit()
    return trainer


def by_counting(model: KneserNey, stories: Sequence[Story], world: StoryWorld) -> list[Predictions]:
    """The predictions of an n-gram model, in the form of :func:`plm_core.evaluation.skills.by_model`."""
    found = []
    for ids in encode(world, stories):
        words = ids[1:]
        best = [int(model.next_token(words[:place]).argmax()) for place in range(len(words))]
        found.append(Predictions(model.nats(words), np.array(best) == np.array(words)))
    return found


def scores(readings: Sequence[Sequence[ReadWord]], predictions: Sequence[Predictions]) -> dict[str, dict[str, float]]:
    """The scores of each skill, and of ``"all"`` words, as numbers that can be stored."""
    return {
        each.skill: {
            "words": each.words,
            "share": each.share,
            "entropy": each.entropy,
            "excess": each.excess,
            "half_width": each.half_width,
            "accuracy": each.accuracy,
            "ceiling": each.ceiling,
        }
        for each in score_skills(readings, predictions)
    }


def skill_curve(
    model: nn.Module, folder: Path, world: StoryWorld, stories: Sequence[Story], readings: Sequence[Sequence[ReadWord]]
) -> list[dict[str, float]]:
    """The excess of every skill at each checkpoint of a run, with the number of the step."""
    curve = []
    for path in directory.complete(folder, directory.LAST):
        directory.load_checkpoint(path, model)
        predictions = by_model(model, world.vocabulary)(stories)
        excess = {each.skill: each.excess for each in score_skills(readings, predictions)}
        curve.append({"step": float(directory.checkpoint_step(path)), **excess})
    return curve


def result_of(
    name: str, world: StoryWorld, seed: int, *, tokens: int, rate: float, folder: Path, test: int, valid: int
) -> dict[str, Any]:
    """Train a model and score it.

    Args:
        name: ``"5-gram"``, or a name for :func:`make_model`.
        world: the world.
        seed: seed of training stories, of their order and of the initial weights.
        tokens: number of words to train on.
        rate: the peak learning rate; the 5-gram has none.
        folder: where the run keeps its checkpoints.
        test: number of test stories.
        valid: number of validation stories for the curve.

    Returns:
        Scores by skill on the test stories, the curve on validation stories, and what the run consisted of.
    """
    documents = training_documents(world, seed, tokens)
    stories = list(world.stories(0, "test", test))
    readings = read_ideally(stories)
    told = {"train_tokens": sum(map(len, documents)) - len(documents), "stories": len(documents)}
    if name == "5-gram":
        counter = KneserNey(len(world.vocabulary), order=5).fit([ids[1:] for ids in documents])
        return {"skills": scores(readings, by_counting(counter, stories, world)), **told}
    model = make_model(name, len(world.vocabulary), seed)
    trainer = train(model, documents, rate=rate, seed=seed, folder=folder, points=CURVE_POINTS)
    result = {
        "skills": scores(readings, by_model(model, world.vocabulary)(stories)),
        "rate": rate,
        "parameters": num_parameters(model),
        "steps": trainer.config.steps,
        **told,
    }
    watched = list(world.stories(0, "valid", valid))
    return {**result, "curve": skill_curve(model, folder, world, watched, read_ideally(watched))}

"""Can a small Transformer hold the ideal reader? The same network and stories, taught by exact probabilities.

In ``A1c_floor`` a network sees one word at each place, drawn from the ideal reader's distribution. Here it is shown the
whole distribution (Hinton et al. 2015): its expected gradient is the same, without the noise of the draw. What it then
still lacks, it lacks for want of stories, steps or size, and not because single words say little.

The criterion is that of ``A1c_floor``: a mean excess of at most 0.02 nats a word on its 300 test stories, in each of
three seeds. The learning rate is that of the stored sweep with single words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plm_chapters.experiments import storyworld_models as models
from plm_chapters.experiments.A1b_rates import best_rate
from plm_core.data.batch import Batch
from plm_core.data.batches import PaddedBatches
from plm_core.data.labels import IGNORE
from plm_core.evaluation.skills import by_model, read_ideally
from plm_core.models.counting import num_parameters
from plm_core.models.vocabulary_loss import TokenLosses
from plm_core.objectives.base import LossParts
from plm_core.objectives.causal_lm import CausalLM
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.reader import Cursor

NETWORK = "Transformer, 0.8 M"
TOKENS = {"single words, 1.5 M": 1_500_000, "taught, 1.5 M": 1_500_000, "taught, 6 M": 6_000_000}
"""Variants, and the number of words in their stories."""
VARIANTS = list(TOKENS)
SEEDS = [0, 1, 2]
TEST_STORIES = 300


class Taught(CausalLM):
    """The cross-entropy with the ideal reader's distribution, which the batch holds as ``targets``, (N, V)."""

    def score(self, output: Tensor | TokenLosses, batch: Batch) -> LossParts:
        """Logits (B, T, V) against the distributions at the N labelled places."""
        assert isinstance(output, Tensor)  # the model does not compute its loss itself
        logits_NV = output[batch["labels"] != IGNORE].float()
        return LossParts(-(batch["targets"] * logits_NV.log_softmax(-1)).sum(), len(logits_NV))


class ReadBatches(PaddedBatches):
    """Batches of stories with the ideal reader's distribution of every word, read as they are needed."""

    def __init__(self, world: StoryWorld, documents: Sequence[Sequence[int]], *, batch_size: int, seed: int) -> None:
        super().__init__(documents, batch_size=batch_size, pad_id=0, seed=seed)
        self.world, self.number = world, {word: index for index, word in enumerate(world.vocabulary)}

    def batch(self, index: int) -> Batch:
        """The batch of that number, with ``targets``, (N, V): the distributions of its N labels in reading order."""
        batch = super().batch(index)
        rows = [labels[labels != IGNORE] for labels in batch["labels"]]
        return {**batch, "targets": torch.cat([self.distributions(row) for row in rows])}

    def distributions(self, labels_N: Tensor) -> Tensor:
        """The exact distribution of each word of a story, given those before it, (N, V)."""
        cursor = Cursor(self.world)
        targets_NV = torch.zeros(len(labels_N), len(self.number))
        for place, label in enumerate(labels_N.tolist()):
            for word, mass in cursor.next_word().items():
                targets_NV[place, self.number[word]] = mass
            cursor.push(self.world.vocabulary[label])
        return targets_NV


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Train one network, and score it by skill as ``A1c_floor`` does."""
    world = StoryWorld(lexicon="small", language="en")
    documents = models.training_documents(world, seed, TOKENS[variant])
    model: nn.Module = models.make_model(NETWORK, len(world.vocabulary), seed)
    rate = best_rate(NETWORK, "laptop")
    if variant.startswith("single words"):
        models.train(model, documents, rate=rate, seed=seed, folder=folder, points=4)
    else:
        source = ReadBatches(world, documents, batch_size=models.BATCH_STORIES, seed=seed)
        models.train(model, documents, rate=rate, seed=seed, folder=folder, points=4, source=source, objective=Taught())
    stories = list(world.stories(0, "test", TEST_STORIES))
    return {
        "skills": models.scores(read_ideally(stories), by_model(model, world.vocabulary)(stories)),
        "rate": rate,
        "parameters": num_parameters(model),
        "train_tokens": sum(map(len, documents)) - len(documents),
        "stories": len(documents),
    }

"""How well a model predicts StoryWorld, skill by skill, beside the ideal reader.

Every word of a story belongs to one skill (:data:`plm_core.storyworld.skills.SKILLS`), and the ideal reader has the
exact probability of every word that may come next. So each skill has its own entropy, which no model can go below, and
its own highest possible accuracy. What a model loses beyond that is its *excess*: the mean Kullback-Leibler divergence
from the exact distribution to the model's, in nats a word, estimated from the words of the stories.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from plm_core.evaluation.modes import evaluation_mode
from plm_core.storyworld.reader import IdealReader
from plm_core.storyworld.skill_reading import ReadWord, read
from plm_core.storyworld.skills import SKILLS
from plm_core.storyworld.world import Story

DISTANCES = (0, 1, 8, 16, 32, 64, 128)
"""Lower ends of the groups of distances to the evidence, in words; 0 stands for words that no single fact settles."""

Z95 = 1.959963984540054


class Predictions(NamedTuple):
    """What a model predicts at each word of a story, its ``<eos>`` included."""

    nats: np.ndarray
    """Surprisal -log p of each word of the story, in nats, (words,)."""
    hits: np.ndarray
    """Whether the likeliest word was the word of the story, bool, (words,)."""


Predictor = Callable[[Sequence[Story]], list[Predictions]]
"""A model that predicts whole stories word by word, each from its own beginning."""


@dataclass(frozen=True)
class IdealReading:
    """A story as the ideal reader reads it."""

    words: list[ReadWord]
    """Surprisal, skill and distance to the evidence of every word."""
    best: np.ndarray
    """The probability of the likeliest next word, which no model's expected accuracy can exceed, (words,)."""
    likeliest: list[str]
    """The likeliest next word of each place."""


@dataclass(frozen=True)
class SkillScore:
    """A model on the words of one skill (or of one skill at one distance)."""

    skill: str
    words: int
    share: float
    """Share of all words."""
    entropy: float
    """The ideal reader's loss, in nats a word."""
    excess: float
    """The model's loss beyond that, in nats a word."""
    half_width: float
    """Half of the excess's 95 % interval (stories are independent; words of one story are not)."""
    accuracy: float
    """Share of the words that the model's likeliest word hits."""
    ceiling: float
    """The highest expected accuracy."""


def read_ideally(stories: Iterable[Story]) -> list[IdealReading]:
    """Read stories with the ideal reader of their world: surprisal, skill, and the likeliest word at every place."""
    readings = []
    for story in stories:
        reader = IdealReader(story.world)
        cursor = reader.cursor()
        best, likeliest = [], []
        for word in story.words:
            possible = cursor.next_word()
            top = max(possible, key=possible.__getitem__)
            best.append(possible[top])
            likeliest.append(top)
            cursor.push(word)
        readings.append(IdealReading(read(reader, story.words), np.array(best), likeliest))
    return readings


def by_model(model: nn.Module, vocabulary: Sequence[str], *, batch_size: int = 16) -> Predictor:
    """The predictions of a causal language model over words.

    Args:
        model: returns logits (B, T, V) for ids (B, T).
        vocabulary: the word of each id; it must hold ``<eos>``, which also stands before the first word.
        batch_size: stories scored at once.
    """
    number = {word: index for index, word in enumerate(vocabulary)}
    device = next(model.parameters()).device

    @torch.no_grad()
    def predict(stories: Sequence[Story]) -> list[Predictions]:
        rows = [[number["<eos>"], *(number[word] for word in story.words)] for story in stories]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        found: dict[int, Predictions] = {}
        with evaluation_mode(model):
            for first in range(0, len(order), batch_size):
                group = order[first : first + batch_size]
                longest = max(len(rows[index]) for index in group)
                ids_BT = torch.tensor([rows[i] + [0] * (longest - len(rows[i])) for i in group], device=device)
                logits_BTV = model(ids_BT[:, :-1]).float()
                targets_BT = ids_BT[:, 1:]
                nats_BT = F.cross_entropy(logits_BTV.transpose(1, 2), targets_BT, reduction="none").double()
                hits_BT = logits_BTV.argmax(-1) == targets_BT
                for row, index in enumerate(group):
                    length = len(rows[index]) - 1
                    nats, hits = nats_BT[row, :length].cpu().numpy(), hits_BT[row, :length].cpu().numpy()
                    found[index] = Predictions(nats, hits)
        return [found[index] for index in range(len(rows))]

    return predict


def by_ideal_reader(readings: Sequence[IdealReading]) -> list[Predictions]:
    """The ideal reader's own predictions, for comparison: its excess is zero by definition."""
    return [
        Predictions(
            np.array([word.nats for word in reading.words]),
            np.array([word.word == top for word, top in zip(reading.words, reading.likeliest, strict=True)]),
        )
        for reading in readings
    ]


def score_skills(
    readings: Sequence[IdealReading], predictions: Sequence[Predictions], *, by_distance: bool = False
) -> list[SkillScore]:
    """Score predictions skill by skill.

    Args:
        readings: the stories as the ideal reader reads them.
        predictions: the model's predictions of the same stories, in the same order.
        by_distance: a score for each skill and group of distances to the evidence (:data:`DISTANCES`); the skill is
            then written ``"places, 16 to 31 words back"``.

    Returns:
        Scores in the order of :data:`~plm_core.storyworld.skills.SKILLS`, the last one, ``"all"``, over all words.

    Raises:
        ValueError: predictions of other stories.
    """
    if [len(reading.words) for reading in readings] != [len(each.nats) for each in predictions]:
        raise ValueError("the predictions are of other stories than the readings: their numbers of words differ")
    groups: dict[str, list[list[tuple[float, float, bool, float]]]] = {}
    total = sum(len(reading.words) for reading in readings)
    for number, (reading, model) in enumerate(zip(readings, predictions, strict=True)):
        for index, word in enumerate(reading.words):
            item = (word.nats, float(model.nats[index]), bool(model.hits[index]), float(reading.best[index]))
            names = [f"{word.skill}, {_distance(word.distance)}" if by_distance else word.skill, "all"]
            for name in names:
                stories = groups.setdefault(name, [[] for _ in readings])
                stories[number].append(item)
    order = {skill: place for place, skill in enumerate((*SKILLS, "all"))}
    lowest = {_distance(low): low for low in DISTANCES}
    names = sorted(groups, key=lambda name: (order[name.partition(", ")[0]], lowest.get(name.partition(", ")[2], 0)))
    return [_score(name, groups[name], total) for name in names]


def _distance(words: int) -> str:
    """The group of a distance to the evidence, in words."""
    if words == 0:
        return "no single fact"
    low = max(low for low in DISTANCES[1:] if low <= words)
    higher = [each for each in DISTANCES if each > low]
    return f"{low} to {higher[0] - 1} words back" if higher else f"{low} and more words back"


def _score(name: str, stories: list[list[tuple[float, float, bool, float]]], total: int) -> SkillScore:
    words = sum(map(len, stories))
    flat = [item for story in stories for item in story]
    entropy = math.fsum(item[0] for item in flat) / words
    excess = math.fsum(item[1] - item[0] for item in flat) / words
    used = [story for story in stories if story]
    if len(used) > 1:
        deviations = [math.fsum(item[1] - item[0] for item in story) - excess * len(story) for story in used]
        variance = math.fsum(each**2 for each in deviations) / (len(used) - 1)
        half_width = Z95 * math.sqrt(variance * len(used)) / words
    else:
        half_width = math.inf
    hits, best = sum(item[2] for item in flat), math.fsum(item[3] for item in flat)
    return SkillScore(name, words, words / total, entropy, excess, half_width, hits / words, best / words)


def skill_table(scores: Sequence[SkillScore]) -> str:
    """The scores as a text table."""
    lines = [f"{'skill':<32} {'words':>8} {'entropy':>8} {'excess':>8}  ± {'95 %':<6} {'accuracy':>8} {'ceiling':>8}"]
    for score in scores:
        lines.append(
            f"{score.skill:<32} {score.words:>8,} {score.entropy:>8.3f} {score.excess:>8.3f}  "
            f"± {score.half_width:<6.3f} {score.accuracy:>8.1%} {score.ceiling:>8.1%}"
        )
    return "\n".join(lines)

"""How well a model predicts StoryWorld, skill by skill, beside the ideal reader.

Every word of a story belongs to one skill (:data:`plm_core.storyworld.skills.SKILLS`), and the ideal reader has the
exact probability of every word that may come next. What a model loses beyond the ideal reader is its *excess*, in nats
a word. Over all words the excess estimates the mean Kullback-Leibler divergence from the exact distribution to the
model's, and no model's loss can be expected below the ideal reader's. For one skill it is only a difference of losses:
which skill a word belongs to is decided when the word is known, so a model that favours the words of one skill can
have a negative excess there, which it pays for at the words of others. The same holds for accuracies and ceilings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.modes import evaluation_mode
from plm_core.storyworld.baselines import BASELINES, WordBaselines
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
class SkillScore:
    """A model on the words of one skill (or of one skill at one distance)."""

    skill: str
    words: int
    share: float
    """Share of all words."""
    entropy: float
    """The ideal reader's loss on these words, in nats a word; a lower bound only over all words."""
    excess: float
    """The model's loss minus the ideal reader's, in nats a word; it may be negative for one skill."""
    half_width: float
    """Half of the excess's 95 % interval (stories are independent; words of one story are not)."""
    accuracy: float
    """Share of the words that the model's likeliest word hits."""
    ceiling: float
    """The mean probability of the likeliest word: over all words, the highest accuracy that can be expected."""
    baselines: dict[str, float] = field(default_factory=dict)
    """Share of the words that each trivial baseline hits, by its name."""


def read_ideally(stories: Iterable[Story]) -> list[list[ReadWord]]:
    """Read stories with the ideal reader of their world: surprisal, skill, and the likeliest word at every place."""
    return [read(IdealReader(story.world), story.words, accuracy=True) for story in stories]


def by_model(model: nn.Module, vocabulary: Sequence[str], *, batch_size: int = 16) -> Predictor:
    """The predictions of a causal language model over words.

    Args:
        model: returns logits (B, T, V) for ids (B, T).
        vocabulary: the word of each id; it must hold ``<eos>``, which also stands before the first word.
        batch_size: stories scored at once.
    """
    number = {word: index for index, word in enumerate(vocabulary)}

    def predict(stories: Sequence[Story]) -> list[Predictions]:
        rows = [[number["<eos>"], *(number[word] for word in story.words)] for story in stories]
        return _summed(predict_tokens(model, rows, batch_size=batch_size), [range(len(row) - 1) for row in rows])

    return predict


def by_tokens(model: nn.Module, tokenizer: Tokenizer, *, batch_size: int = 16) -> Predictor:
    """The predictions of a causal language model over tokens, each of which is a word or a part of one.

    The surprisals of a word's tokens are added up; a word is hit where all of them are. That is the probability of the
    word as this tokenizer spells it: the model may give some to other spellings, so the excess is an upper bound.

    Args:
        model: returns logits (B, T, V) for ids (B, T).
        tokenizer: its tokenizer; documents are framed by its tokens of beginning and end.
        batch_size: stories scored at once.

    Raises:
        ValueError: by the predictor: a word that the tokenizer does not know, or a token that joins two words.
    """

    def predict(stories: Sequence[Story]) -> list[Predictions]:
        spelt = [spell(story, tokenizer) for story in stories]
        rows = [[tokenizer.bos_id, *ids, tokenizer.eos_id] for ids, _ in spelt]
        owners = [[*words, len(story.words) - 1] for (_, words), story in zip(spelt, stories, strict=True)]
        return _summed(predict_tokens(model, rows, batch_size=batch_size), owners)

    return predict


def spell(story: Story, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The tokens of a story, written as documents are: words between spaces, a sentence a line.

    Returns:
        The ids, and for each the index of the word that it is, or is a part of; white space before a word is a part of
        the word. ``<eos>`` is left out.

    Raises:
        ValueError: a word that the tokenizer does not know, or a token that joins two words.
    """
    text = "\n".join(" ".join(sentence.words) for sentence in story.sentences)
    ends, position = [], 0
    for sentence in story.sentences:
        for word in sentence.words:
            position += len(word)
            ends.append(position)
            position += 1
    encoding = tokenizer.encoding(text)
    unknown = tokenizer.backend.token_to_id(tokenizer.settings.special_tokens.get("unk_token", ""))
    owners, at = [], 0
    for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        while end > ends[at]:
            at += 1
        if token == unknown:
            raise ValueError(f"the tokenizer does not know {text[start:end]!r}, a word of the story: {text[:60]!r}...")
        if at and start < ends[at - 1]:
            raise ValueError(f"the token {text[start:end]!r} joins two words: skills are scored word by word")
        owners.append(at)
    if sorted(set(owners)) != list(range(len(ends))):
        raise ValueError(f"the tokenizer leaves out words of the story: {text[:60]!r}...")
    return encoding.ids, owners


@torch.no_grad()
def predict_tokens(model: nn.Module, rows: Sequence[Sequence[int]], *, batch_size: int) -> list[Predictions]:
    """The predictions of each token but the first, for rows of token ids; each row is read from its own beginning."""
    device = next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    found: dict[int, Predictions] = {}
    with evaluation_mode(model):
        for first in range(0, len(order), batch_size):
            group = order[first : first + batch_size]
            longest = max(len(rows[index]) for index in group)
            ids_BT = torch.tensor([[*rows[i], *[0] * (longest - len(rows[i]))] for i in group], device=device)
            logits_BTV = model(ids_BT[:, :-1]).float()
            targets_BT = ids_BT[:, 1:]
            nats_BT = F.cross_entropy(logits_BTV.transpose(1, 2), targets_BT, reduction="none").double()
            hits_BT = logits_BTV.argmax(-1) == targets_BT
            for row, index in enumerate(group):
                length = len(rows[index]) - 1
                found[index] = Predictions(nats_BT[row, :length].cpu().numpy(), hits_BT[row, :length].cpu().numpy())
    return [found[index] for index in range(len(rows))]


def _summed(predictions: Sequence[Predictions], owners: Sequence[Sequence[int]]) -> list[Predictions]:
    """Predictions of tokens as predictions of the words that own them."""
    found = []
    for (nats, hits), words in zip(predictions, owners, strict=True):
        count = words[-1] + 1
        misses = np.bincount(words, ~hits, count)
        found.append(Predictions(np.bincount(words, nats, count), misses == 0))
    return found


def by_ideal_reader(readings: Sequence[Sequence[ReadWord]]) -> list[Predictions]:
    """The ideal reader's own predictions, for comparison: its excess is zero by definition."""
    return [
        Predictions(np.array([word.nats for word in words]), np.array([word.word == word.likeliest for word in words]))
        for words in readings
    ]


class _Item(NamedTuple):
    """One word: the ideal reader's and the model's surprisal, hits and the chance of the likeliest word."""

    ideal: float
    nats: float
    hit: bool
    best: float
    guessed: tuple[bool, ...]


def score_skills(
    readings: Sequence[Sequence[ReadWord]],
    predictions: Sequence[Predictions],
    *,
    baselines: WordBaselines | None = None,
    by_distance: bool = False,
) -> list[SkillScore]:
    """Score predictions skill by skill.

    Args:
        readings: the stories as the ideal reader reads them (:func:`read_ideally`).
        predictions: the model's predictions of the same stories, in the same order.
        baselines: trivial guesses to score on the same words.
        by_distance: a score for each skill and group of distances to the evidence (:data:`DISTANCES`); the skill is
            then written ``"places, 16 to 31 words back"``.

    Returns:
        Scores in the order of :data:`~plm_core.storyworld.skills.SKILLS`, the last one, ``"all"``, over all words.

    Raises:
        ValueError: predictions of other stories.
    """
    if [len(words) for words in readings] != [len(each.nats) for each in predictions]:
        raise ValueError("the predictions are of other stories than the readings: their numbers of words differ")
    groups: dict[str, list[list[_Item]]] = {}
    total = sum(map(len, readings))
    for number, (words, model) in enumerate(zip(readings, predictions, strict=True)):
        guessed = baselines.hits(words) if baselines is not None else {}
        for index, word in enumerate(words):
            right = tuple(hits[index] for hits in guessed.values())
            item = _Item(word.nats, float(model.nats[index]), bool(model.hits[index]), word.best, right)
            for name in (f"{word.skill}, {_distance(word.distance)}" if by_distance else word.skill, "all"):
                groups.setdefault(name, [[] for _ in readings])[number].append(item)
    order = {skill: place for place, skill in enumerate((*SKILLS, "all"))}
    lowest = {_distance(low): low for low in DISTANCES}
    names = sorted(groups, key=lambda name: (order[name.partition(", ")[0]], lowest.get(name.partition(", ")[2], 0)))
    guessers = () if baselines is None else BASELINES
    return [_score(name, groups[name], total, guessers) for name in names]


def _distance(words: int) -> str:
    """The group of a distance to the evidence, in words."""
    if words == 0:
        return "no single fact"
    low = max(low for low in DISTANCES[1:] if low <= words)
    higher = [each for each in DISTANCES if each > low]
    return f"{low} to {higher[0] - 1} words back" if higher else f"{low} and more words back"


def _score(name: str, stories: list[list[_Item]], total: int, guessers: Sequence[str]) -> SkillScore:
    flat = [item for story in stories for item in story]
    words = len(flat)
    entropy = math.fsum(item.ideal for item in flat) / words
    excess = math.fsum(item.nats - item.ideal for item in flat) / words
    used = [story for story in stories if story]
    if len(used) > 1:
        deviations = [math.fsum(item.nats - item.ideal for item in story) - excess * len(story) for story in used]
        variance = math.fsum(each**2 for each in deviations) / (len(used) - 1)
        half_width = Z95 * math.sqrt(variance * len(used)) / words
    else:
        half_width = math.inf
    accuracy, ceiling = sum(item.hit for item in flat) / words, math.fsum(item.best for item in flat) / words
    right = {guesser: sum(item.guessed[index] for item in flat) / words for index, guesser in enumerate(guessers)}
    return SkillScore(name, words, words / total, entropy, excess, half_width, accuracy, ceiling, right)

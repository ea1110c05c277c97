"""The floor: the exact entropy of a world's text, which no model's loss can go below, and what it consists of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from plm_core.storyworld.goals import FATES
from plm_core.storyworld.reader import IdealReader
from plm_core.storyworld.skill_reading import ReadWord, read
from plm_core.storyworld.world import Story, StoryWorld

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """An estimated ratio with its 95 % confidence interval.

    Attributes:
        mean: the ratio of the sums over stories.
        half_width: half the width of the interval (delta method over stories, which are independent).
        stories: number of stories.
        units: number of units (words or characters) in them.
    """

    mean: float
    half_width: float
    stories: int
    units: int

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half_width

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.half_width:.4f}"


def ratio(totals: list[float], units: list[int]) -> Estimate:
    """The ratio of two sums over independent stories with its 95 % confidence interval.

    The variance is that of the linearised ratio (Cochran, Sampling Techniques, section 6.3).

    Raises:
        ValueError: fewer than two stories.
    """
    count = len(totals)
    if count < 2:
        raise ValueError(f"an interval needs at least two stories, not {count}")
    mean = math.fsum(totals) / sum(units)
    residual = math.fsum((total - mean * unit) ** 2 for total, unit in zip(totals, units, strict=True)) / (count - 1)
    half_width = Z95 * math.sqrt(residual / count) / (sum(units) / count)
    return Estimate(mean, half_width, count, sum(units))


def entropy_rate(world: StoryWorld, stories: int = 1000, *, seed: int = 0, split: str = "test") -> Estimate:
    """The entropy of a world's text in nats per word (``<eos>`` counts as a word).

    Args:
        world: the world.
        stories: size of the sample; every story in it has an exactly known -log p.
        seed: seed of the sample.
        split: the split that it is taken from.
    """
    reader = IdealReader(world)
    sample = [story.words for story in world.stories(seed, split, stories)]
    return ratio([math.fsum(reader.surprisals(words)) for words in sample], [len(words) for words in sample])


def bits_per_character(world: StoryWorld, stories: int = 1000, *, seed: int = 0, split: str = "test") -> Estimate:
    """The entropy in bits per character of the written text; the end of the line counts as a character."""
    reader = IdealReader(world)
    sample = list(world.stories(seed, split, stories))
    bits = [math.fsum(reader.surprisals(story.words)) / math.log(2) for story in sample]
    return ratio(bits, [len(story.text) + 1 for story in sample])


@dataclass(frozen=True)
class SkillShare:
    """What one skill contributes.

    Attributes:
        words: number of words of this skill.
        share: their share of all words.
        nats: the loss of the ideal reader on them, in nats per word; a lower bound only over all skills together.
        entropy_share: their share of the whole entropy.
        accuracy: the mean probability of the likeliest word there, a bound only over all skills together; NaN where
            the words were read without it.
        distance: their mean distance to the evidence, in words, over those that have one.
    """

    words: int
    share: float
    nats: float
    entropy_share: float
    accuracy: float
    distance: float


def floor_by_skill(words: Iterable[ReadWord]) -> dict[str, SkillShare]:
    """The loss of the ideal reader per skill, from the words as it saw them."""
    groups: dict[str, list[ReadWord]] = {}
    for word in words:
        groups.setdefault(word.skill, []).append(word)
    total = sum(map(len, groups.values()))
    entropy = math.fsum(word.nats for group in groups.values() for word in group)
    found = {}
    for skill, group in sorted(groups.items()):
        nats = math.fsum(word.nats for word in group)
        far = [word.distance for word in group if word.distance]
        found[skill] = SkillShare(
            len(group),
            len(group) / total,
            nats / len(group),
            nats / entropy,
            math.fsum(word.best for word in group) / len(group),
            sum(far) / len(far) if far else 0.0,
        )
    return found


def read_sample(
    world: StoryWorld, stories: int, *, seed: int = 0, split: str = "test", accuracy: bool = False
) -> list[ReadWord]:
    """A sample of stories as the ideal reader sees them, word by word; the arguments are those of :func:`read`."""
    reader = IdealReader(world)
    sample = world.stories(seed, split, stories)
    return [word for story in sample for word in read(reader, story.words, accuracy=accuracy)]


@dataclass(frozen=True)
class Composition:
    """What stories consist of.

    Attributes:
        introductions: share of the sentences that introduce people, places and things.
        naming: share of the entropy that is spent on the names of people, places and things.
        planned: share of the sentences after the introduction that belong to the protagonist's plan: its steps,
            obstacles, help, requests and answers, and the end.
        moods: share of the stories with each class of mood at the end.
        told: share of the stories whose goal is told at the beginning.
        revealed: share of the others that tell it at the end; NaN if there are none.
        sentences: mean number of sentences.
        words: mean number of words, ``<eos>`` included.
        longest: the largest number of words.
    """

    introductions: float
    naming: float
    planned: float
    moods: dict[str, float]
    told: float
    revealed: float
    sentences: float
    words: float
    longest: int


_INTRODUCING = ("open", "grow", "lie", "hide")


def composition(world: StoryWorld, stories: int = 2000, *, seed: int = 0, split: str = "train") -> Composition:
    """Measure what stories consist of."""
    sample: list[Story] = list(world.stories(seed, split, stories))
    kinds = [[sentence.event[0].split("_")[0] for sentence in story.sentences] for story in sample]
    sentences = sum(map(len, kinds))
    introducing = sum(kind in _INTRODUCING for story in kinds for kind in story)
    shares = floor_by_skill(read_sample(world, stories, seed=seed, split=split))
    lengths = [len(story.words) for story in sample]
    hidden = [story.final_state.revealed for story in sample if not story.told]
    return Composition(
        introducing / sentences,
        shares["naming"].entropy_share,
        sum(s.planned for story in sample for s in story.sentences) / (sentences - introducing),
        {mood: sum(story.final_state.mood() == mood for story in sample) / stories for mood in FATES},
        sum(story.told for story in sample) / stories,
        sum(hidden) / len(hidden) if hidden else math.nan,
        sentences / stories,
        sum(lengths) / stories,
        max(lengths),
    )

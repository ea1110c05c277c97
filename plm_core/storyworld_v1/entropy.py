"""The floor: the exact entropy of a world's text, which no model's loss can go below."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from plm_core.storyworld_v1.reader import IdealReader, ReadWord
from plm_core.storyworld_v1.world import Story, StoryWorld

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


def _sample(world: StoryWorld, stories: int, seed: int, split: str) -> list[Story]:
    return list(world.stories(seed, split, stories))


def entropy_rate(world: StoryWorld, stories: int = 1000, *, seed: int = 0, split: str = "test") -> Estimate:
    """The entropy of a world's text in nats per word (``<eos>`` counts as a word).

    Args:
        world: the world.
        stories: size of the sample; every story in it has an exactly known -log p.
        seed: seed of the sample.
        split: the split that it is taken from.
    """
    sample = _sample(world, stories, seed, split)
    return ratio([story.nats for story in sample], [len(story.words) for story in sample])


def bits_per_character(world: StoryWorld, stories: int = 1000, *, seed: int = 0, split: str = "test") -> Estimate:
    """The entropy in bits per character of the written text; the end of the line counts as a character."""
    sample = _sample(world, stories, seed, split)
    return ratio([story.nats / math.log(2) for story in sample], [len(story.text) + 1 for story in sample])


@dataclass(frozen=True)
class KindShare:
    """What one kind of position contributes.

    Attributes:
        words: number of words of this kind.
        share: their share of all words.
        nats: the best achievable loss on them, in nats per word.
        distance: their mean distance to the evidence, in words (0 where there is none).
    """

    words: int
    share: float
    nats: float
    distance: float


def entropy_by_kind(read: Iterable[ReadWord]) -> dict[str, KindShare]:
    """The best achievable loss per kind of position, from the words as the ideal reader saw them."""
    groups: dict[str, list[ReadWord]] = {}
    for word in read:
        groups.setdefault(word.kind, []).append(word)
    total = sum(map(len, groups.values()))
    return {
        kind: KindShare(
            len(group),
            len(group) / total,
            math.fsum(word.nats for word in group) / len(group),
            sum(word.distance for word in group) / len(group),
        )
        for kind, group in sorted(groups.items())
    }


def read_sample(world: StoryWorld, stories: int, *, seed: int = 0, split: str = "test") -> list[ReadWord]:
    """A sample of stories as the ideal reader sees them, word by word."""
    reader = IdealReader(world)
    return [word for story in world.stories(seed, split, stories) for word in reader.read(story.words)]

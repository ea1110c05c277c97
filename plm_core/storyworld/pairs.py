"""Pairs: sentences with their translation, next sentences with hard negatives, sentences in and out of order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from plm_core.storyworld.events import KINDS
from plm_core.storyworld.lexicon import Entry
from plm_core.storyworld.reader import Cursor, IdealReader, NotOfThisWorld
from plm_core.storyworld.story import mix
from plm_core.storyworld.tasks import cut
from plm_core.storyworld.world import Story, StoryWorld


def parallel(
    english: StoryWorld, chinese: StoryWorld, count: int, *, seed: int = 0, split: str = "train"
) -> Iterator[tuple[Story, Story]]:
    """The same stories in English and in Chinese; sentence ``i`` of one translates sentence ``i`` of the other.

    Both tell the same event by the same row of the table of patterns, so that each determines the other: a perfect
    translator reaches an exact match on every sentence, given the story before it.

    Raises:
        ValueError: worlds that differ in more than the language.
    """
    if (english.language, chinese.language) != ("en", "zh") or english.dials != chinese.dials:
        raise ValueError("parallel stories need two worlds that differ in nothing but the languages 'en' and 'zh'")
    yield from zip(english.stories(seed, split, count), chinese.stories(seed, split, count), strict=True)


@dataclass(frozen=True)
class PairExample:
    """A beginning of a story and what may follow it.

    Attributes:
        words: the beginning, in whole sentences.
        following: the words that may follow: one sentence, or two for the order of sentences.
        label: whether they do; half of the examples do.
        ideal: the probability of both answers given all the words.
    """

    words: list[str]
    following: list[str]
    label: bool
    ideal: dict[bool, float]


def draw_sentence(cursor: Cursor, random: Random) -> list[str]:
    """A sentence drawn from the ideal reader's distribution of the next one."""
    world, state = cursor.world, cursor.state
    events = list(cursor.mixture.total.items())
    (kind, args), _ = random.choices(events, [mass for _, mass in events])[0]
    for index in KINDS[kind].opens:
        excluded = (*state.used, *(arg for arg in args if isinstance(arg, Entry)))
        entry = world.introduction.lexicon_of(state, (kind, args), index).draw(random.random, excluded)
        args = (*args[:index], entry, *args[index + 1 :])
    patterns = world.tellings[kind].choices(state, args).patterns
    pattern = random.choices(patterns, [pattern.weight for pattern in patterns])[0]
    return [step if isinstance(step, str) else step.say(state, args) for step in pattern.steps]


def _probability(cursor: Cursor, words: list[str]) -> float:
    """The probability that words follow."""
    follower, nats = cursor.copy(), 0.0
    try:
        for word in words:
            nats += follower.push(word)
    except NotOfThisWorld:
        return 0.0
    return math.exp(-nats)


def next_sentences(
    world: StoryWorld, count: int, *, seed: int = 0, split: str = "train", back: int = 3
) -> Iterator[PairExample]:
    """Whether a sentence follows a beginning, or comes from another story of the same people.

    The other story shares all but the last ``back`` sentences of the beginning, and goes on differently from there:
    the negatives name the same people, things and places, and only tracking what has happened tells them apart.
    Both kinds have exactly known probabilities, and the beginning is cut without regard to how the story goes on
    (:func:`~plm_core.storyworld.tasks.cut`), so the ideal answer is exact.

    Raises:
        ValueError: ``back`` outside 1 to ``sentences[1]`` of the world.
    """
    if not 1 <= back <= world.limits.latest:
        raise ValueError(f"back must lie in 1..{world.limits.latest}, not {back}")
    reader, found = IdealReader(world), 0
    for number, story in enumerate(world.stories(seed, split)):
        if found == count:
            return
        random = Random(mix(seed, number, 11))
        index = cut(world, random, 4 + back)
        if len(story.sentences) <= index:
            continue
        found += 1
        earlier = reader.cursor(word for s in story.sentences[: index - back] for word in s.words)
        now = earlier.copy()
        for sentence in story.sentences[index - back : index]:
            for word in sentence.words:
                now.push(word)
        label = random.random() < 0.5
        following = list(story.sentences[index].words) if label else draw_sentence(earlier, random)
        here, elsewhere = _probability(now, following), _probability(earlier, following)
        words = [word for s in story.sentences[:index] for word in s.words]
        yes = here / (here + elsewhere)
        yield PairExample(words, following, label, {True: yes, False: 1 - yes})


def sentence_orders(
    world: StoryWorld, count: int, *, seed: int = 0, split: str = "train"
) -> Iterator[PairExample]:  # fmt: skip
    """Whether the two sentences after a beginning stand in their order, or are swapped.

    The beginning is cut as in :func:`next_sentences`. None of the two is the last of its story, as their words show, so
    the ideal answer is exact.
    """
    reader, found = IdealReader(world), 0
    for number, story in enumerate(world.stories(seed, split)):
        if found == count:
            return
        random = Random(mix(seed, number, 13))
        index = cut(world, random, 4)
        if len(story.sentences) <= index + 2:
            continue
        found += 1
        words = [word for s in story.sentences[:index] for word in s.words]
        cursor = reader.cursor(words)
        first, second = list(story.sentences[index].words), list(story.sentences[index + 1].words)
        label = random.random() < 0.5
        following = first + second if label else second + first
        right, swapped = _probability(cursor, first + second), _probability(cursor, second + first)
        if not label:
            right, swapped = swapped, right
        yes = right / (right + swapped)
        yield PairExample(words, following, label, {True: yes, False: 1 - yes})

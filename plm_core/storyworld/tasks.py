"""Tasks on whole stories with exact labels and ceilings: moods, tags, relations and summaries.

Every example holds the words that a model sees, the label, and ``ideal``: the probability of each label given that a
story begins with these words, as the ideal reader computes it. :func:`ceiling` turns them into the best scores of a
reader who does not use where the text was cut. That is a restriction where the cut depends on the length of the story
(:func:`moods`, :func:`relations`, :func:`summaries`): the length depends on the fate, so the place of the cut says
something about the label, and a model that exploits it can do better than the ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from plm_core.storyworld.phrases import Phrases
from plm_core.storyworld.reader import IdealReader
from plm_core.storyworld.state import Goal, State
from plm_core.storyworld.steps import Step
from plm_core.storyworld.story import Sentence
from plm_core.storyworld.world import Story, StoryWorld


class Labelled(Protocol):
    """An example with a label and the ideal reader's distribution of labels."""

    @property
    def label(self) -> Hashable: ...

    @property
    def ideal(self) -> Mapping[Hashable, float]: ...


@dataclass(frozen=True)
class Ceiling:
    """The best scores on a sample of a reader who does not use where the texts were cut.

    Attributes:
        accuracy: the expected accuracy of always answering the most probable label: no such reader is better on
            average.
        nats: the mean surprisal of the true labels: no such reader's loss is lower on average.
        majority: the accuracy of always answering the most frequent label of the sample.
        count: number of examples.
    """

    accuracy: float
    nats: float
    majority: float
    count: int


def ceiling(examples: Iterable[Labelled]) -> Ceiling:
    """The best scores on examples of a reader who does not use where the texts were cut.

    Raises:
        ValueError: no examples.
    """
    best: list[float] = []
    nats: list[float] = []
    labels: dict[Hashable, int] = {}
    for example in examples:
        best.append(max(example.ideal.values()))
        nats.append(-math.log(example.ideal[example.label]))
        labels[example.label] = labels.get(example.label, 0) + 1
    if not best:
        raise ValueError("a ceiling needs at least one example")
    count = len(best)
    return Ceiling(math.fsum(best) / count, math.fsum(nats) / count, max(labels.values()) / count, count)


@dataclass(frozen=True)
class MoodExample:
    """A story without its last sentence, and the class of the mood that the last sentence tells.

    The four classes are equally frequent, because the fates from which they follow are drawn with equal probability.
    """

    words: list[str]
    label: str
    ideal: dict[str, float]


def moods(
    world: StoryWorld, count: int, *, seed: int = 0, split: str = "train", share: float = 1.0
) -> Iterator[MoodExample]:
    """Stories whose mood is to be predicted.

    Args:
        world: the world.
        count: number of examples.
        seed, split: of the stories.
        share: the share of a story's sentences that is shown; with 1 all but the last, which tells the mood. Then
            the mood follows from the story as a whole, in nearly all cases with certainty: where the goal is hidden,
            the last action may leave a doubt. The number of sentences shown depends on the story's length, which
            depends on the mood; ``ideal`` leaves that out.

    Raises:
        ValueError: a share outside 0..1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in 0..1, not {share}")
    reader = IdealReader(world)
    for story in world.stories(seed, split, count):
        shown = max(1, round(share * (len(story.sentences) - 1)))
        words = [word for sentence in story.sentences[:shown] for word in sentence.words]
        yield MoodExample(words, story.fate, reader.cursor(words).moods())


@dataclass(frozen=True)
class TaggedWord:
    """The tag of one word and the probability of every tag that it may have."""

    label: str
    ideal: dict[str, float]


@dataclass(frozen=True)
class Tagged:
    """A story without ``<eos>``, with a tag for each word: ``name``, ``place``, ``thing``, or ``""`` for the others.

    Attributes:
        words: the words.
        tags: their tags.
        ideal: the probability of every tag of each word, given what a tagger sees. :func:`ceiling` takes :meth:`each`.
    """

    words: list[str]
    tags: list[str]
    ideal: list[dict[str, float]]

    def each(self) -> Iterator[TaggedWord]:
        """Every word as an example of its own."""
        return map(TaggedWord, self.tags, self.ideal)


def tags(stories: Iterable[Story], *, sees: str = "story") -> Iterator[Tagged]:
    """Names, places and things as tags.

    Args:
        stories: the stories.
        sees: what a tagger of a word sees: ``"story"`` (the whole story, from which all tags follow with certainty),
            ``"past"`` (the words up to this one, as a causal model does), or ``"before"`` (the words before it, so that
            the tag of the next word is to be foretold).

    Raises:
        ValueError: an unknown ``sees``.
    """
    if sees not in ("story", "past", "before"):
        raise ValueError(f"sees must be 'story', 'past' or 'before', not {sees!r}")
    for story in stories:
        words, reader = story.words[:-1], IdealReader(story.world)
        if sees == "story":
            ideal = [{tag: 1.0} for tag in _tags(reader.parse(words))]
        else:
            ideal = list(_foretold(reader, words, sees))
        yield Tagged(words, _tags(story.sentences), ideal)


def _tags(sentences: Iterable[Sentence]) -> list[str]:
    return [_tag(step) for sentence in sentences for step in sentence.pattern.steps]


def _tag(step: str | Step) -> str:
    return step.tag if isinstance(step, Step) else ""


def _foretold(reader: IdealReader, words: list[str], sees: str) -> Iterator[dict[str, float]]:
    """The probability of every tag of each word, given the words before it, and the word itself if it is seen."""
    cursor = reader.cursor()
    for word in words:
        edges = [(mass, *edge) for mass, _, _, node in cursor.alive() for edge in node.edges]
        weights = [(_tag(step), mass * share) for mass, step, share, _ in edges]
        tag_of = {id(node): _tag(step) for _, step, _, node in edges}
        cursor.push(word)
        if sees == "past":  # a full stop leaves the sentence behind; it is never a name
            is_stop = word == reader.world.full_stop
            weights = [("", 1.0)] if is_stop else [(tag_of[id(node)], mass) for mass, _, _, node in cursor.alive()]
        total = math.fsum(weight for _, weight in weights)
        found: dict[str, float] = {}
        for tag, weight in weights:
            found[tag] = found.get(tag, 0.0) + weight / total
        yield found


@dataclass(frozen=True)
class Relation:
    """A fact such as ``Relation("mira", "has", "ball")``."""

    head: str
    relation: str
    tail: str


@dataclass(frozen=True)
class RelationsExample:
    """A story or its beginning, and what holds after its last sentence.

    Attributes:
        words: what is shown.
        facts: who has what and who or what is where; all of it follows from the words with certainty.
        label: what the protagonist wants.
        ideal: the probability of everything that the protagonist may want, given the words.
    """

    words: list[str]
    facts: list[Relation]
    label: Relation
    ideal: dict[Relation, float]


def _forms(state: State, language: str) -> tuple[list[str], list[str], list[str]]:
    people = [entry.forms[language]["name"] for entry in state.people]
    things = [entry.forms[language]["noun"] for entry in state.things]
    return people, things, [entry.forms[language]["noun"] for entry in state.places]


def _wish(state: State, goal: Goal, phrases: Phrases) -> Relation:
    words = phrases.wish(state, goal)
    start = 2 if words[1] == "wants" else 1
    return Relation(words[0], "wants", " ".join(words[start:-1]))


def relations(
    world: StoryWorld, count: int, *, seed: int = 0, split: str = "train", share: float = 1.0
) -> Iterator[RelationsExample]:
    """Who has what, who and what is where, and who wants what, after a share of the sentences of each story.

    The number of sentences shown depends on the story's length; ``ideal`` leaves out what that says about the goal.
    """
    reader, phrases = IdealReader(world), phrases_of(world)
    for story in world.stories(seed, split, count):
        shown = min(max(5, round(share * len(story.sentences))), len(story.sentences) - 1)
        words = [word for sentence in story.sentences[:shown] for word in sentence.words]
        cursor = reader.cursor(words)
        state = cursor.state
        people, things, places = _forms(state, world.language)
        facts = [Relation(person, "is at", places[at]) for person, at in zip(people, state.at, strict=True)]
        for thing, where in zip(things, state.location, strict=True):
            facts.append(
                Relation(thing, "is at", places[where]) if where >= 0 else Relation(people[-1 - where], "has", thing)
            )
        ideal = {_wish(state, goal, phrases): weight for goal, weight in cursor.goals().items()}
        yield RelationsExample(words, facts, _wish(state, story.goal, phrases), ideal)


@dataclass(frozen=True)
class SummaryExample:
    """A story without its last sentence, and one sentence that tells the plan and its outcome.

    Attributes:
        words: what is shown.
        label: the words of the summary.
        ideal: the probability of every summary, given the words: more than one where the goal is neither told nor
            revealed.
    """

    words: list[str]
    label: tuple[str, ...]
    ideal: dict[tuple[str, ...], float]


def summaries(world: StoryWorld, count: int, *, seed: int = 0, split: str = "train") -> Iterator[SummaryExample]:
    """Stories and their summaries in one sentence."""
    reader, phrases = IdealReader(world), phrases_of(world)
    for story in world.stories(seed, split, count):
        words = [word for sentence in story.sentences[:-1] for word in sentence.words]
        cursor = reader.cursor(words)
        ideal: dict[tuple[str, ...], float] = {}
        for (goal, fate), weight in cursor.posterior().items():
            summary = tuple(phrases.summary(cursor.state, goal, fate))
            ideal[summary] = ideal.get(summary, 0.0) + weight
        yield SummaryExample(words, tuple(phrases.summary(cursor.state, story.goal, story.fate)), ideal)


def phrases_of(world: StoryWorld) -> Phrases:
    """The phrases of a world's language."""
    return Phrases(world.language, world.lexicons.numbers[world.language])

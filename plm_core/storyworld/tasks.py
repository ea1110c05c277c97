"""Tasks on whole stories with exact labels and ceilings: moods, tags, relations and summaries.

Every example holds the words that a model sees, the label, and ``ideal``: the probability of each label given these
words, as the ideal reader computes it. :func:`ceiling` turns them into the best possible scores.

How many sentences are shown must not say more than the ideal reader knows, since the length of a story depends on its
goal and fate. So a number of sentences is chosen without regard to the story (:func:`cut`), and a story that is not
longer is passed over: that it is longer follows from the words, which do not end it. Where all but the last sentence is
shown, the ideal reader is told so (:func:`before_the_last`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

from plm_core.storyworld.goals import FATES
from plm_core.storyworld.phrases import Phrases
from plm_core.storyworld.reader import Cursor, IdealReader
from plm_core.storyworld.state import Goal, State
from plm_core.storyworld.steps import Step
from plm_core.storyworld.story import Latent, Sentence
from plm_core.storyworld.world import Story, StoryWorld


class Labelled(Protocol):
    """An example with a label and the ideal reader's distribution of labels."""

    @property
    def label(self) -> Hashable: ...

    @property
    def ideal(self) -> Mapping[Hashable, float]: ...


@dataclass(frozen=True)
class Ceiling:
    """The best possible scores on a sample of examples.

    Attributes:
        accuracy: the expected accuracy of always answering the most probable label. No model that sees the words of
            the examples can expect a higher one.
        nats: the ideal reader's mean surprisal of the true labels. No model can expect a lower loss, though on a
            sample one may be lucky.
        majority: the accuracy of always answering the most frequent label of the sample.
        count: number of examples.
    """

    accuracy: float
    nats: float
    majority: float
    count: int


def ceiling(examples: Iterable[Labelled]) -> Ceiling:
    """The best possible scores on examples.

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


def cut(world: StoryWorld, random: Random, least: int) -> int:
    """A number of sentences to show, drawn without regard to the story, which is passed over if it is not longer.

    All numbers from ``least`` to ``sentences[1]``, the dial of the world, are equally likely.
    """
    return random.randint(least, max(least, world.limits.latest))


def before_the_last(cursor: Cursor) -> dict[Latent, float]:
    """The probability of every latent given the words so far, and that the next sentence is the last of the story.

    Raises:
        ValueError: the next sentence cannot be the last.
    """
    found: dict[Latent, float] = {}
    for event, mass in cursor.mixture.total.items():
        if event[0].startswith("end_"):
            for latent, weight in cursor.mixture.update(event).items():
                found[latent] = found.get(latent, 0.0) + mass * weight
    if not found:
        raise ValueError("the story cannot end with the next sentence")
    total = math.fsum(found.values())
    return {latent: weight / total for latent, weight in found.items()}


def _beginnings(
    world: StoryWorld, count: int, seed: int, split: str, share: float
) -> Iterator[tuple[Story, list[str], Cursor, dict[Latent, float]]]:
    """Stories with the words that are shown, the cursor after them, and the latents given what a model knows."""
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in 0..1, not {share}")
    reader = IdealReader(world)
    shown = max(5, round(share * world.limits.latest))
    longer = (story for story in world.stories(seed, split) if share == 1 or len(story.sentences) > shown)
    for story in itertools.islice(longer, count):
        words = [word for each in story.sentences[: -1 if share == 1 else shown] for word in each.words]
        cursor = reader.cursor(words)
        yield story, words, cursor, before_the_last(cursor) if share == 1 else cursor.posterior()


@dataclass(frozen=True)
class MoodExample:
    """The beginning of a story, and the class of the mood that its last sentence tells.

    The four classes are about equally frequent, because the fates from which they follow are drawn with equal
    probability, and few stories are passed over.
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
        share: how much is shown, as a share of ``sentences[1]``, the dial of the world (at least five sentences); it
            is the same number of sentences for all stories, and stories that are not longer are passed over. With 1
            all but the last sentence is shown, which tells the mood. Then the mood follows from the story as a whole,
            in nearly all cases with certainty: where the goal is hidden, the last action may leave a doubt.

    Raises:
        ValueError: a share outside 0..1.
    """
    for story, words, _, latents in _beginnings(world, count, seed, split, share):
        ideal = dict.fromkeys(FATES, 0.0)
        for (_, fate), weight in latents.items():
            ideal[fate] += weight
        yield MoodExample(words, story.fate, ideal)


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
    """Who has what, who and what is where, and who wants what, after a beginning of each story.

    Args:
        world: the world.
        count: number of examples.
        seed, split: of the stories.
        share: how much is shown, as in :func:`moods`.

    Raises:
        ValueError: a share outside 0..1.
    """
    phrases = phrases_of(world)
    for story, words, cursor, latents in _beginnings(world, count, seed, split, share):
        state = cursor.state
        people, things, places = _forms(state, world.language)
        facts = [Relation(person, "is at", places[at]) for person, at in zip(people, state.at, strict=True)]
        for thing, where in zip(things, state.location, strict=True):
            facts.append(
                Relation(thing, "is at", places[where]) if where >= 0 else Relation(people[-1 - where], "has", thing)
            )
        ideal: dict[Relation, float] = {}
        for (goal, _), weight in latents.items():
            wish = _wish(state, goal, phrases)
            ideal[wish] = ideal.get(wish, 0.0) + weight
        yield RelationsExample(words, facts, _wish(state, story.goal, phrases), ideal)


@dataclass(frozen=True)
class SummaryExample:
    """A story without its last sentence, and one sentence that tells the plan and its outcome.

    Attributes:
        words: what is shown.
        label: the words of the summary.
        ideal: the probability of every summary, given the words and that only the last sentence is missing: more than
            one where the goal is neither told nor revealed.
    """

    words: list[str]
    label: tuple[str, ...]
    ideal: dict[tuple[str, ...], float]


def summaries(world: StoryWorld, count: int, *, seed: int = 0, split: str = "train") -> Iterator[SummaryExample]:
    """Stories without their last sentence, and their summaries in one sentence."""
    phrases = phrases_of(world)
    for story, words, cursor, latents in _beginnings(world, count, seed, split, 1.0):
        ideal: dict[tuple[str, ...], float] = {}
        for (goal, fate), weight in latents.items():
            summary = tuple(phrases.summary(cursor.state, goal, fate))
            ideal[summary] = ideal.get(summary, 0.0) + weight
        yield SummaryExample(words, tuple(phrases.summary(cursor.state, story.goal, story.fate)), ideal)


def phrases_of(world: StoryWorld) -> Phrases:
    """The phrases of a world's language."""
    return Phrases(world.language, world.lexicons.numbers[world.language])

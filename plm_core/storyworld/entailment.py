"""Entailment: whether a statement is true, false or unknown after the beginning of a story."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from plm_core.storyworld.phrases import Phrases
from plm_core.storyworld.reader import Cursor, IdealReader
from plm_core.storyworld.state import UNKNOWN, State
from plm_core.storyworld.story import mix
from plm_core.storyworld.tasks import cut, phrases_of
from plm_core.storyworld.world import StoryWorld

LABELS = ("true", "false", "unknown")
CERTAIN = 1e-9
"""A wish is known where the ideal reader's probability of it is this close to 0 or 1."""


@dataclass(frozen=True)
class Entailment:
    """A beginning of a story and a statement about its last moment.

    Attributes:
        words: the beginning.
        statement: the words of the statement.
        label: ``"true"``, ``"false"`` or ``"unknown"``, each in a third of the examples.
        ideal: the label with probability 1: it follows from the words.
        about: ``"has"``, ``"is_at"``, ``"lies"``, ``"believes"`` or ``"wants"``.
    """

    words: list[str]
    statement: list[str]
    label: str
    ideal: dict[str, float]
    about: str


def entailments(world: StoryWorld, count: int, *, seed: int = 0, split: str = "train") -> Iterator[Entailment]:
    """Statements about stories, true, false and unknown in turn.

    A statement is unknown where it speaks of a thing that the story has not named, or of a wish that may or may not
    be the protagonist's, given the story so far.
    """
    reader, phrases = IdealReader(world), phrases_of(world)
    found = 0
    for number, story in enumerate(world.stories(seed, split)):
        if found == count:
            return
        random = Random(mix(seed, number, 17))
        shown = cut(world, random, 5)
        if len(story.sentences) <= shown:
            continue
        words = [word for sentence in story.sentences[:shown] for word in sentence.words]
        cursor = reader.cursor(words)
        label = LABELS[found % 3]
        made = (
            _unknown(cursor, phrases, random)
            if label == "unknown"
            else _known(cursor, phrases, random, label == "true")
        )
        if made is not None:
            found += 1
            yield Entailment(words, made[1], label, {label: 1.0}, made[0])


def _known(cursor: Cursor, phrases: Phrases, random: Random, true: bool) -> tuple[str, list[str]] | None:
    state = cursor.state
    about = random.choice(("has", "is_at", "lies", "believes", "wants"))
    people, things = range(len(state.people)), range(len(state.things) - 1)
    places = range(len(state.places))
    if about == "wants":
        goals = cursor.goals()
        likely = {goal: weight for goal, weight in goals.items() if weight > 1 - CERTAIN}
        refuted = [goal for goal in cursor.world.goals(state) if goals.get(goal, 0.0) < CERTAIN]
        options = list(likely) if true else refuted
        return ("wants", phrases.wish(state, random.choice(options))) if options else None
    if about == "has":
        pairs = [(p, t) for p in people for t in things if (state.location[t] == -1 - p) == true]
        slots = ("p", "t")
    elif about == "is_at":
        pairs = [(p, h) for p in people for h in places if (state.at[p] == h) == true]
        slots = ("p", "h")
    elif about == "lies":
        pairs = [(t, h) for t in things for h in places if (state.location[t] == h) == true]
        slots = ("t", "h")
    else:
        return _belief(state, phrases, random, true)
    if not pairs:
        return None
    return about, phrases.say(about, state, **dict(zip(slots, random.choice(pairs), strict=True)))


def _belief(state: State, phrases: Phrases, random: Random, true: bool) -> tuple[str, list[str]] | None:
    believed = [
        (p, t, place)
        for p in range(len(state.people))
        for t in range(len(state.things) - 1)
        if (place := state.believed_place(p, t)) != UNKNOWN
    ]
    if not believed:
        return None
    person, thing, place = random.choice(believed)
    if not true:
        place = random.choice([h for h in range(len(state.places)) if h != place])
    return "believes", phrases.say("believes", state, p=person, t=thing, h=place)


def _unknown(cursor: Cursor, phrases: Phrases, random: Random) -> tuple[str, list[str]] | None:
    state = cursor.state
    if random.random() < 0.5:
        open_goals = [goal for goal, weight in cursor.goals().items() if CERTAIN < weight < 1 - CERTAIN]
        return ("wants", phrases.wish(state, random.choice(open_goals))) if open_goals else None
    assert state.setting is not None
    unnamed = [entry for entry in cursor.world.lexicons.things(state.setting, None).entries if entry not in state.used]
    if not unnamed:
        return None
    imagined = state.copy()
    imagined.things.insert(0, random.choice(unnamed))
    person = random.randrange(len(state.people))
    return "has", phrases.say("has", imagined, p=person, t=0)

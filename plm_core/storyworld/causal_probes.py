"""Causal probes: pairs of beginnings that differ in one sentence, because of which the same words go on differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from plm_core.storyworld.kinds import KINDS
from plm_core.storyworld.reader import Cursor, IdealReader, NotOfThisWorld
from plm_core.storyworld.state import Event, State
from plm_core.storyworld.story import mix
from plm_core.storyworld.world import StoryWorld

MOST_BETWEEN = 6
"""At most so many sentences about others are put in before the person can act again."""

MOST_TRIES = 1_000
"""After so many stories in a row without a probe there is none in this world."""


@dataclass(frozen=True)
class CausalProbe:
    """Two beginnings of a story that differ in where somebody goes.

    Attributes:
        words, other: the beginnings, each up to the probed word.
        right, other_right: the word that must follow each, with probability 1; after the other beginning it is wrong.
        about: ``"location"`` (where somebody is, although both beginnings go on in the same way) or ``"belief"``
            (where somebody believes a thing to be, who saw it moved in one beginning but not in the other).
        distance: how many words lie between the sentences that differ and the probed word.
    """

    words: list[str]
    other: list[str]
    right: str
    other_right: str
    about: str
    distance: int


def causal_probes(
    world: StoryWorld, count: int, *, seed: int = 0, split: str = "train", about: str = "location"
) -> Iterator[CausalProbe]:
    """One probe for each of the first stories in which there is one.

    Args:
        world: the world.
        count: number of probes.
        seed, split: of the stories.
        about: ``"location"``: somebody goes to one place or another, something else happens, and then "Ann left the
            ...". ``"belief"``: somebody goes to one place or another, to which an animal carries a thing; then he
            or she goes to a third place and remembers the thing "in the ...": where it was, or where it is.

    Raises:
        ValueError: an unknown ``about``, or a world whose stories give no probe.
    """
    if about not in _BUILD:
        raise ValueError(f"about must be 'location' or 'belief', not {about!r}")
    reader = IdealReader(world)
    found = tried = 0
    for number, story in enumerate(world.stories(seed, split)):
        if found == count:
            return
        tried += 1
        if tried > MOST_TRIES:
            raise ValueError(f"{MOST_TRIES:,} stories in a row give no probe about {about!r}: make the stories longer")
        random = Random(mix(seed, number, 19))
        for index in random.sample(range(4, len(story.sentences) - 2), len(story.sentences) - 6):
            state = story.state_after(index)
            if state.pending is not None or state.missed or not _eligible(state, about):
                continue
            cursor = reader.cursor(word for s in story.sentences[:index] for word in s.words)
            probe = _BUILD[about](cursor, random)
            if probe is not None:
                found, tried = found + 1, 0
                yield probe
                break


def _eligible(state: State, about: str) -> list[tuple[int, int]]:
    """The people who may be asked about, each with a thing whose removal he or she may miss."""
    people = range(1, len(state.people))
    if about == "location":
        return [(person, 0) for person in people if len(state.places) > 2]
    lying = list(enumerate(state.location[:-1]))
    return [(p, t) for p in people for t, where in lying if where == state.at[p] and len(state.places) > 3]


def _tell(cursor: Cursor, event: Event) -> list[str]:
    """An event told by its first pattern, which names its subject; the cursor reads on.

    Raises:
        NotOfThisWorld: the event cannot happen now.
    """
    state = cursor.state
    pattern = cursor.world.tellings[event[0]].choices(state, event[1]).patterns[0]
    words = [step if isinstance(step, str) else step.say(state, event[1]) for step in pattern.steps]
    for word in words:
        cursor.push(word)
    return words


def _build(
    cursor: Cursor, pair: tuple[Event, Event], shared: list[Event], person: int, stem: list[str], about: str
) -> CausalProbe | None:  # fmt: skip
    """Two beginnings that tell one event of a pair each, then the same events, then the beginning of a sentence.

    Where the person cannot yet do what comes next, or be thought of yet, something happens to others first.
    """
    branches = [cursor.copy(), cursor.copy()]
    told = [word for sentence in cursor.sentences for word in sentence.words]
    try:
        beginnings = [told + _tell(branch, event) for branch, event in zip(branches, pair, strict=True)]
        after = 0
        for then in (*shared, None):
            for _ in range(MOST_BETWEEN):
                if all(_may_follow(branch, then, stem) for branch in branches):
                    break
                then_others = _of_others(branches, person)
                if then_others is None:
                    return None
                after += _tell_both(branches, beginnings, then_others)
            if then is not None:
                after += _tell_both(branches, beginnings, then)
        for branch in branches:
            for word in stem:
                branch.push(word)
        following = [branch.next_word() for branch in branches]
    except NotOfThisWorld:
        return None
    if any(len(words) != 1 for words in following):
        return None
    (right,), (other_right,) = following
    if right == other_right:
        return None
    words, other = (beginning + stem for beginning in beginnings)
    return CausalProbe(words, other, right, other_right, about, after + len(stem))


def _may_follow(branch: Cursor, event: Event | None, stem: list[str]) -> bool:
    """Whether an event, or without one the beginning of a sentence, may come next."""
    if event is not None:
        return event in branch.mixture.total
    follower = branch.copy()
    try:
        for word in stem:
            follower.push(word)
    except NotOfThisWorld:
        return False
    return True


def _of_others(branches: list[Cursor], person: int) -> Event | None:
    """The first event that may come next in both beginnings and has to do with others, and with no thing."""
    for event in branches[0].mixture.total:
        kind = KINDS[event[0]]
        people = [event[1][index] for index in kind.people]
        moves_things = {"t", "u", "s"} & {slot[0] for slot in kind.slots}
        others_alone = people and person not in people and not kind.opens and not moves_things
        if others_alone and event in branches[1].mixture.total:
            return event
    return None


def _tell_both(branches: list[Cursor], beginnings: list[list[str]], event: Event) -> int:
    """An event told in both beginnings; returns its number of words."""
    told = [_tell(branch, event) for branch in branches]
    for beginning, words in zip(beginnings, told, strict=True):
        beginning += words
    return len(told[0])


def _location(cursor: Cursor, random: Random) -> CausalProbe | None:
    state = cursor.state
    person, _ = random.choice(_eligible(state, "location"))
    away = [h for h in range(len(state.places)) if h != state.at[person]]
    one, other = random.sample(away, 2)
    bystanders = [q for q in range(1, len(state.people)) if q != person]
    shared: list[Event] = [("hungry", (random.choice(bystanders),))] if random.random() < 0.5 else []
    if shared:
        shared.append(_after_hunger(state, shared[0][1][0]))
    stem = _named(cursor, person, ["{name}", "left", "the"], ["{name}", "离开"])
    return _build(cursor, (("go", (person, one)), ("go", (person, other))), shared, person, stem, "location")


def _after_hunger(state: State, person: int) -> Event:
    if state.count[person] > 1:
        return ("eat", (person, 1))
    return ("pick", (person, 2)) if state.at[person] == state.fruit_at else ("fetch", (person,))


def _belief(cursor: Cursor, random: Random) -> CausalProbe | None:
    state = cursor.state
    person, thing = random.choice(_eligible(state, "belief"))
    here = state.at[person]
    away = [h for h in range(len(state.places)) if h != here]
    one, other, third = random.sample(away, 3)
    noun = state.things[thing].forms[cursor.world.language]["noun"]
    prep = {state.places[h].forms["en"]["in"] for h in (here, other)}
    if cursor.world.language == "en" and len(prep) > 1:
        return None
    stem = _named(cursor, person, ["{name}", "remembered", "the", noun, *prep, "the"], ["{name}", "想起", "了"])
    shared: list[Event] = [("carry", (thing, other)), ("go", (person, third))]
    return _build(cursor, (("go", (person, one)), ("go", (person, other))), shared, person, stem, "belief")


def _named(cursor: Cursor, person: int, english: list[str], chinese: list[str]) -> list[str]:
    language = cursor.world.language
    name = cursor.state.people[person].forms[language]["name"]
    return [word.format(name=name) for word in (english if language == "en" else chinese)]


_BUILD = {"location": _location, "belief": _belief}

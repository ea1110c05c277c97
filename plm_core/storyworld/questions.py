"""Questions about stories with answers as spans and as free text: about the world, about beliefs, and about reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from plm_core.storyworld.goals import fulfilled
from plm_core.storyworld.happenings import consequence
from plm_core.storyworld.mixture import Mixture
from plm_core.storyworld.phrases import Phrases
from plm_core.storyworld.plans import policy
from plm_core.storyworld.reader import Cursor, IdealReader
from plm_core.storyworld.state import UNKNOWN, Event, Goal, State
from plm_core.storyworld.story import Latent, Sentence, mix
from plm_core.storyworld.tasks import cut, phrases_of
from plm_core.storyworld.world import StoryWorld


@dataclass(frozen=True)
class Question:
    """A question about the beginning of a story.

    Attributes:
        context: the words of the story so far.
        asked: the words of the question.
        label: the answer.
        start: the index of the answer in the context where it stands there as one word (its last occurrence, as in
            extractive question answering), else -1.
        kind: ``"where_thing"``, ``"where_person"``, ``"who_has"``, ``"how_many"``, ``"belief"`` or ``"why"``.
        ideal: the probability of every answer given context and question; one answer is certain but for ``"why"``.
            The place where the question is asked is chosen without regard to how the story goes on, so it says nothing
            more.
        false_belief: for ``"belief"``, whether the person is wrong.
    """

    context: list[str]
    asked: list[str]
    label: tuple[str, ...]
    start: int
    kind: str
    ideal: dict[tuple[str, ...], float]
    false_belief: bool = False


def questions(
    world: StoryWorld, count: int, *, seed: int = 0, split: str = "train", about: str = "world"
) -> Iterator[Question]:
    """One question about each of the first stories in which there is one to ask.

    Args:
        world: the world.
        count: number of questions.
        seed, split: of the stories.
        about: ``"world"`` (the four kinds in turn), ``"belief"`` (half of the people asked about are wrong), or
            ``"reason"`` (why the protagonist went somewhere).

    Raises:
        ValueError: an unknown ``about``.
    """
    if about not in ("world", "belief", "reason"):
        raise ValueError(f"about must be 'world', 'belief' or 'reason', not {about!r}")
    reader, phrases = IdealReader(world), phrases_of(world)
    found = 0
    for number, story in enumerate(world.stories(seed, split)):
        if found == count:
            return
        random = Random(mix(seed, number, 7))
        shown = cut(world, random, 5)
        if len(story.sentences) <= shown:
            continue
        words = [word for sentence in story.sentences[:shown] for word in sentence.words]
        if about == "reason":
            question = _why(world, reader, phrases, story.sentences, shown, story.goal, story.fate)
        else:
            state = story.state_after(shown)
            made = _belief(state, phrases, random, wrong=found % 2 == 0) if about == "belief" else None
            made = _world(state, phrases, random, _WORLD[found % 4]) if about == "world" else made
            question = None
            if made is not None:
                kind, asked, answer, wrong = made
                place = max((i for i, word in enumerate(words) if word == answer), default=-1)
                question = Question(words, asked, (answer,), place, kind, {(answer,): 1.0}, wrong)
        if question is not None:
            found += 1
            yield question


_WORLD = ("where_thing", "where_person", "who_has", "how_many")
_Made = tuple[str, list[str], str, bool]


def _world(state: State, phrases: Phrases, random: Random, kind: str) -> _Made | None:
    language = phrases.language
    things = range(len(state.things) - 1)
    if kind == "where_person":
        person = random.randrange(len(state.people))
        place = state.places[state.at[person]].forms[language]["noun"]
        return kind, phrases.say(kind, state, p=person), place, False
    if kind == "how_many":
        person = random.randrange(len(state.people))
        if not state.count[person]:
            return None
        return kind, phrases.say(kind, state, p=person), phrases.number(state.count[person]), False
    held = [thing for thing in things if state.location[thing] < 0]
    if kind == "who_has":
        if not held:
            return None
        thing = random.choice(held)
        name = state.people[-1 - state.location[thing]].forms[language]["name"]
        return kind, phrases.say(kind, state, t=thing), name, False
    thing = random.choice(list(things))
    place = state.places[state.place_of(thing)].forms[language]["noun"]
    return kind, phrases.say(kind, state, t=thing), place, False


def _belief(state: State, phrases: Phrases, random: Random, wrong: bool) -> _Made | None:
    pairs = [
        (person, thing, believed)
        for person in range(len(state.people))
        for thing in range(len(state.things) - 1)
        if (believed := state.believed_place(person, thing)) != UNKNOWN and (believed != state.place_of(thing)) == wrong
    ]
    if not pairs:
        return None
    person, thing, believed = random.choice(pairs)
    place = state.places[believed].forms[phrases.language]["noun"]
    return "belief", phrases.say("belief", state, p=person, t=thing), place, wrong


def purpose(world: StoryWorld, state: State, latent: Latent, event: Event) -> dict[tuple[str, int], float]:
    """The probability of every purpose of the protagonist's going somewhere, times that of going, given the latent.

    Purposes are ``("thing", number)``, ``("person", number)``, ``("secret", number)``, ``("fruit", 0)`` and
    ``("nothing", 0)`` where the protagonist goes without a plan.
    """
    whole = Mixture(world, state, {latent: 1.0}).total.get(event, 0.0)
    planned = 0.0
    if state.pending is None or not consequence(state):
        happening, options = policy(state, *latent, world.limits)
        weight = sum(weight for weight, option in options if option == event)
        if weight:
            planned = (1 - happening) * weight / sum(weight for weight, _ in options)
    return {("nothing", 0): max(0.0, whole - planned), _aim(state, latent[0]): planned}


def _aim(state: State, goal: Goal) -> tuple[str, int]:
    """What the protagonist is after now: the thing, the person with it or to be met, the secret, or fruit."""
    kind = goal[0]
    if kind == "find":
        return "secret", state.secret
    if kind == "gather":
        return "fruit", 0
    if kind == "meet":
        return "person", goal[1]
    if kind == "bring" and fulfilled(state, ("have", goal[1])):
        return "person", goal[2]
    return "thing", goal[1]


def _reason(state: State, phrases: Phrases, aim: tuple[str, int]) -> tuple[str, ...]:
    slots = {"thing": "t", "secret": "t", "person": "p"}
    given = {slots[aim[0]]: aim[1]} if aim[0] in slots else {}
    return tuple(phrases.say("because_" + aim[0], state, **given))


def _why(
    world: StoryWorld,
    reader: IdealReader,
    phrases: Phrases,
    sentences: list[Sentence],
    shown: int,
    goal: Goal,
    fate: str,
) -> Question | None:
    """Why the protagonist went somewhere, asked right after the first such sentence that follows those shown."""
    going = (i for i in range(shown, len(sentences)) if sentences[i].event[0] == "go" and sentences[i].event[1][0] == 0)
    index = next(going, None)
    if index is None:
        return None
    cursor: Cursor = reader.cursor(word for sentence in sentences[:index] for word in sentence.words)
    event = sentences[index].event
    weights: dict[tuple[str, int], float] = {}
    for latent, weight in cursor.latents.items():
        for aim, probability in purpose(world, cursor.state, latent, event).items():
            weights[aim] = weights.get(aim, 0.0) + weight * probability
    total = sum(weights.values())
    label = _aim(cursor.state, goal) if sentences[index].planned else ("nothing", 0)
    ideal: dict[tuple[str, ...], float] = {}
    for aim, weight in weights.items():
        if weight:
            answer = _reason(cursor.state, phrases, aim)
            ideal[answer] = ideal.get(answer, 0.0) + weight / total
    words = [word for sentence in sentences[: index + 1] for word in sentence.words]
    asked = phrases.say("why", cursor.state, p=0, h=event[1][1])
    return Question(words, asked, _reason(cursor.state, phrases, label), -1, "why", ideal)

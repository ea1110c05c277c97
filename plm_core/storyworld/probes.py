"""Probes: places in stories where one word is right and known others are wrong, sorted by the skill that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from plm_core.storyworld.reader import IdealReader
from plm_core.storyworld.skill_reading import CERTAIN_NATS, read
from plm_core.storyworld.state import State
from plm_core.storyworld.steps import Step
from plm_core.storyworld.world import Story, StoryWorld

PROBED = ("grammar", "coreference", "places", "possession", "counting", "belief")
"""The skills of which there are probes."""


@dataclass(frozen=True)
class Probe:
    """A question to a language model: after these words, is the right word more probable than each wrong one?

    Attributes:
        skill: one of ``PROBED``.
        words: the story up to the place.
        right: the word that stands there; the ideal reader is certain of it.
        wrong: words of the same sort, which cannot stand there.
        distance: how many words back the latest evidence lies; 0 where no single fact settles the word.
        trap: the wrong word that follows from the world where a belief is asked for; empty if there is none.
    """

    skill: str
    words: list[str]
    right: str
    wrong: list[str]
    distance: int
    trap: str = ""


def probes(stories: Iterable[Story], skills: Iterable[str] = PROBED) -> Iterator[Probe]:
    """All places in stories where a word of one of the skills is certain, and others of its sort are known.

    Wrong words are the other people, things or places of the story, other numbers, or other forms of the word.
    """
    wanted = frozenset(skills)
    for story in stories:
        reader = IdealReader(story.world)
        words = read(reader, story.words)
        start = 0
        for state, sentence in story.replay():
            for offset, step in enumerate(sentence.pattern.steps):
                word = words[start + offset]
                if not isinstance(step, Step) or word.nats > CERTAIN_NATS or word.skill not in wanted or step.open >= 0:
                    continue
                wrong = sorted(_rivals(story.world, state, step) - {word.word})
                if wrong:
                    trap = ""
                    if word.skill == "belief" and step.group == "places" and sentence.event[0] in _OF_THINGS:
                        there = state.places[state.place_of(sentence.event[1][-1])].forms[story.world.language]["noun"]
                        trap = there if there != word.word else ""
                    yield Probe(word.skill, story.words[: start + offset], word.word, wrong, word.distance, trap)
            start += len(sentence.words)


_OF_THINGS = {"seek", "think", "tell", "answer", "come_tell"}


def _rivals(world: StoryWorld, state: State, step: Step) -> set[str]:
    language, form = world.language, step.form
    if step.group == "numbers":
        return set(world.lexicons.numbers[language][1:])
    if step.group == "fruits":
        assert state.fruit is not None
        forms = state.fruit.forms[language]
        return {forms["one"], forms["many"]} if form == "fruit" and language == "en" else set()
    entries = {"people": state.people, "things": state.things, "places": state.places}.get(step.group, [])
    return {entry.forms[language][form] for entry in entries if form in entry.forms[language]}

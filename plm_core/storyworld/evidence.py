"""Where a text has told each fact last: the distance of a word to its evidence."""

from __future__ import annotations

from itertools import product

from plm_core.storyworld.state import State
from plm_core.storyworld.steps import Fact, Step
from plm_core.storyworld.story import Sentence

Place = tuple[int, int]
"""The position of a word and the number of its sentence."""


def settled(state: State) -> dict[Fact, int]:
    """What is true in a state, in the world and in every mind, by the fact."""
    people, things = range(len(state.people)), range(len(state.location))
    found: dict[Fact, int] = {("at", p): place for p, place in enumerate(state.at)}
    found |= {("count", p): count for p, count in enumerate(state.count)}
    found |= {("location", t): where for t, where in enumerate(state.location)}
    found |= {("belief", p, t): state.believed[p][t] for p, t in product(people, things)}
    found |= {("belief", p, "person", q): state.believed_at[p][q] for p, q in product(people, people)}
    return found


class Evidence:
    """The place of the latest evidence for every fact that a story has told.

    A fact is told where a word names it, and where a sentence changes it without naming it: then its last word
    counts.
    """

    def __init__(self) -> None:
        self.places: dict[Fact, Place] = {}
        self._settled: dict[Fact, int] = {}

    def latest(self, facts: list[Fact]) -> Place | None:
        """The place of the latest evidence for any of some facts."""
        known = [self.places[fact] for fact in facts if fact in self.places]
        return max(known) if known else None

    def learn(self, sentence: Sentence, before: State, after: State, start: int, number: int) -> None:
        """Note what a sentence tells.

        Args:
            sentence: the sentence.
            before, after: the states before and after it.
            start: the position of its first word.
            number: the number of the sentence.
        """
        now = settled(after)
        end = start + len(sentence.words) - 2
        for fact, value in now.items():
            if self._settled.get(fact) != value:
                self.places[fact] = (end, number)
        self._settled = now
        for offset, step in enumerate(sentence.pattern.steps):
            if isinstance(step, Step):
                if step.open >= 0:
                    group = {"people": ("who", before.people), "places": ("place", before.places)}.get(step.group)
                    if group and step.tag:
                        entry = sentence.event[1][step.open]
                        entries = after.people if group[0] == "who" else after.places
                        self.places[group[0], entries.index(entry)] = (start + offset, number)
                    continue
                for fact in step.facts(before, sentence.event[1]):
                    self.places[fact] = (start + offset, number)

"""Where in a text each fact can be read: the latest word that settles it."""

from __future__ import annotations

from plm_core.storyworld_v1.patterns import Fact, Step
from plm_core.storyworld_v1.state import State
from plm_core.storyworld_v1.world import Sentence


class Evidence:
    """The positions, in words and in sentences, at which the facts known so far were told last.

    A fact is told by the word that names it, or, where an event changes it without naming it, by the last word of
    that event's sentence that depends on the event at all.
    """

    def __init__(self) -> None:
        self._found: dict[Fact, tuple[int, int]] = {}

    def __contains__(self, fact: Fact) -> bool:
        return fact in self._found

    def __getitem__(self, fact: Fact) -> tuple[int, int]:
        """The position in words and the number of the sentence where a fact was told last."""
        return self._found[fact]

    def latest(self, facts: list[Fact]) -> tuple[int, int] | None:
        """The latest position among those of several facts, or None if none is known."""
        return max((self._found[fact] for fact in facts if fact in self._found), default=None)

    def learn(self, sentence: Sentence, before: State, after: State, start: int, number: int) -> None:
        """Note what a sentence tells.

        Args:
            sentence: the sentence.
            before: the state before it.
            after: the state after it.
            start: position of its first word.
            number: its number in the story.
        """
        last = start
        for offset, step in enumerate(sentence.pattern.steps):
            if isinstance(step, Step):
                last = start + offset
                for fact in step.facts(before, sentence.values):
                    self._found[fact] = (last, number)
        old = before.facts()
        for fact, value in after.facts().items():
            if fact not in old or old[fact] != value:
                self._found[fact] = (last, number)

"""A story: its sentences, the events behind them, and the latents that the teller drew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from plm_core.storyworld.events import advance
from plm_core.storyworld.patterns import Pattern
from plm_core.storyworld.state import Event, Goal, State

if TYPE_CHECKING:
    from plm_core.storyworld.world import StoryWorld

EOS = "<eos>"
"""The word that ends every story. In text it is the end of the line."""

Latent = tuple[Goal, str]
"""What the reader may have to infer: the goal, and the fate, which is the class of mood at the end."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: the event that it tells, the pattern by which it tells it, its words.

    Attributes:
        planned: whether the teller drew the event from the plan (obstacles, help and answers included), not from
            what happens anyway. The text does not always show it.
    """

    event: Event
    pattern: Pattern
    words: list[str]
    planned: bool = False


@dataclass(frozen=True)
class Story:
    """A story, sentence by sentence, with the latents that the teller drew."""

    world: StoryWorld
    seed: int
    sentences: list[Sentence] = field(repr=False)
    goal: Goal
    fate: str

    @cached_property
    def words(self) -> list[str]:
        """All words, ``<eos>`` at the end."""
        return [word for sentence in self.sentences for word in sentence.words] + [EOS]

    @cached_property
    def text(self) -> str:
        """The story as one line of text, without the line's end, which stands for ``<eos>``."""
        return self.world.write([sentence.words for sentence in self.sentences])

    @property
    def told(self) -> bool:
        """Whether the goal is told at the beginning."""
        return not any(sentence.event[0] == "plan" for sentence in self.sentences)

    def replay(self) -> Iterator[tuple[State, Sentence]]:
        """Each sentence with the state before it; the state changes as the iteration goes on."""
        state = State()
        for sentence in self.sentences:
            yield state, sentence
            advance(state, sentence.event)

    def state_after(self, sentences: int) -> State:
        """The state after so many sentences."""
        state = State()
        for sentence in self.sentences[:sentences]:
            advance(state, sentence.event)
        return state

    @cached_property
    def final_state(self) -> State:
        """The state after the last sentence."""
        return self.state_after(len(self.sentences))


def mix(*numbers: int) -> int:
    """One seed from several numbers, by SplitMix64, so that nearby numbers give unrelated seeds."""
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
    return mixed

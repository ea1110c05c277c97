"""What stories are made of: sentences with the events behind them, latents, and seeds."""

from __future__ import annotations

from dataclasses import dataclass

from plm_core.storyworld.patterns import Pattern
from plm_core.storyworld.state import Event, Goal

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


def mix(*numbers: int) -> int:
    """One seed from several numbers, by SplitMix64, so that nearby numbers give unrelated seeds."""
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
    return mixed

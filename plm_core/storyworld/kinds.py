"""The kinds of events: their slots, and what each changes in the world and in the minds of those who see it.

The first letter of a slot gives its type: ``p``, ``q``, ``r`` are people, ``t``, ``u``, ``s`` things, ``h``, ``g``
places, ``k`` and ``n`` numbers, ``x`` a setting, ``f`` a fruit, ``m`` a mood. A slot whose name ends in ``!`` is
open: the event draws a new entry from a lexicon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of event: the names of its slots, which of them are open, and what it does to a state."""

    name: str
    slots: tuple[str, ...]
    opens: tuple[int, ...]
    apply: Callable[..., None]
    people: tuple[int, ...]
    """The slots that hold people who are already known."""


KINDS: dict[str, Kind] = {}


def add_kind(name: str, slots: str, apply: Callable[..., None]) -> None:
    names = slots.split()
    opens = tuple(index for index, slot in enumerate(names) if slot.endswith("!"))
    people = tuple(index for index, slot in enumerate(names) if slot[0] in "pqr" and index not in opens)
    KINDS[name] = Kind(name, tuple(slot.rstrip("!") for slot in names), opens, apply, people)

"""All kinds of events, and how an event changes a state."""

from __future__ import annotations

from plm_core.storyworld import actions, openings
from plm_core.storyworld.kinds import KINDS
from plm_core.storyworld.state import Event, State

__all__ = ["KINDS", "actions", "advance", "openings"]


def advance(state: State, event: Event) -> None:
    """Change a state as an event changes it, and move on by one sentence."""
    name, args = event
    kind = KINDS[name]
    state.missed = ()
    state.pending = None
    kind.apply(state, *args)
    sentence = state.sentence
    for index in kind.people:
        state.seen[args[index]] = sentence
    state.since = 0 if kind.people and args[0] == 0 else state.since + 1
    state.sentence, state.last = sentence + 1, name

"""What happens whatever the protagonist wants: other people go about, carry things, talk, pick and eat fruit.

Each group of happenings has an integer weight; among the groups that are possible in a state one is chosen by
weight, and within it every event is equally likely. The teller draws by rejection, the reader enumerates.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from plm_core.storyworld.state import UNKNOWN, Event, Goal, State

MOST_FRUIT = 8


def _go(state: State) -> list[Event]:
    places = range(len(state.places))
    return [("go", (q, h)) for q, at in enumerate(state.at) if q for h in places if h != at]


def _wander(state: State) -> list[Event]:
    at = state.at[0]
    return [("go", (0, h)) for h in range(len(state.places)) if h != at]


def _take(state: State) -> list[Event]:
    lying = state.location[:-1]
    hands = {-1 - where for where in lying if where < 0}
    return [
        ("take", (q, thing))
        for q, at in enumerate(state.at)
        if q and q not in hands
        for thing, where in enumerate(lying)
        if where == at
    ]


def _drop(state: State) -> list[Event]:
    return [("drop", (-1 - where, thing)) for thing, where in enumerate(state.location[:-1]) if where < -1]


def _hand(state: State) -> list[Event]:
    at = state.at
    return [
        ("hand", (-1 - where, r, thing))
        for thing, where in enumerate(state.location[:-1])
        if where < -1
        for r in range(1, len(at))
        if at[r] == at[-1 - where] and r != -1 - where
    ]


def _tell(state: State) -> list[Event]:
    found: list[Event] = []
    at, believed = state.at, state.believed
    for q in range(1, len(at)):
        for r in range(1, len(at)):
            if at[q] != at[r] or q == r:
                continue
            for thing, belief in enumerate(believed[q]):
                if belief in (UNKNOWN, believed[r][thing], -1 - r, -1 - q):
                    continue
                if belief >= 0:
                    found.append(("tell", (q, r, thing)))
                elif state.believed_at[q][-1 - belief] != UNKNOWN:
                    found.append(("tell_held", (q, r, thing)))
    return found


def _think(state: State) -> list[Event]:
    at = state.at
    return [
        ("think", (p, thing))
        for p, believed in enumerate(state.believed)
        for thing, belief in enumerate(believed[:-1])
        if 0 <= belief < UNKNOWN and belief != at[p]
    ]


def _pick(state: State) -> list[Event]:
    return [
        ("pick", (q, k))
        for q, at in enumerate(state.at)
        if q and at == state.fruit_at
        for k in (1, 2, 3)
        if state.count[q] + k <= MOST_FRUIT
    ]


def _eat(state: State) -> list[Event]:
    return [("eat", (p, k)) for p, count in enumerate(state.count) for k in (1, 2) if count > k]


def _carry(state: State) -> list[Event]:
    places = range(len(state.places))
    return [
        ("carry", (thing, h))
        for thing, where in enumerate(state.location[:-1])
        if where >= 0
        for h in places
        if h != where
    ]


GROUPS: tuple[tuple[int, Callable[[State], list[Event]]], ...] = (
    (7, _go), (2, _wander), (8, _take), (4, _drop), (4, _hand), (4, _tell), (2, _think), (4, _pick), (3, _eat),
    (1, _carry),
)  # fmt: skip
_CUMULATIVE = list(accumulate(weight for weight, _ in GROUPS))


def draw(state: State, random: Callable[[], float]) -> Event:
    """Draw what happens next; ``random`` gives numbers in [0, 1)."""
    while True:  # drawing again when a group is impossible gives each possible one its share of the weights
        events = GROUPS[bisect_right(_CUMULATIVE, random() * _CUMULATIVE[-1])][1](state)
        if events:
            return events[int(random() * len(events))]


def distribution(state: State) -> dict[Event, float]:
    """The probability of everything that may happen next."""
    possible = [(weight, events) for weight, group in GROUPS if (events := group(state))]
    total = sum(weight for weight, _ in possible)
    found: dict[Event, float] = {}
    for weight, events in possible:
        share = weight / total / len(events)
        for event in events:
            found[event] = share
    return found


def forbidden(state: State, goal: Goal) -> tuple[Event, ...]:
    """What cannot happen by chance while the protagonist has a goal: that it fulfils itself.

    Nobody to whom a thing is to be brought takes it or gets it from others.
    """
    if goal[0] != "bring":
        return ()
    _, thing, person = goal
    giver = -1 - state.location[thing]
    return (("take", (person, thing)), ("hand", (giver, person, thing)))

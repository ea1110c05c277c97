"""What happens whatever the protagonist wants: other people go about, carry things, talk, pick and eat fruit.

Each group of happenings has an integer weight; among the groups that are possible in a state one is chosen by
weight, and within it every event is equally likely. The teller draws by rejection, the reader enumerates.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from plm_core.storyworld.state import LONG_AGO, UNKNOWN, Event, State

MOST_FRUIT = 8
REST = 4
"""What was moved rests for so many sentences before it is moved again by chance."""
STAY = 2
"""Who has come to a place stays for so many sentences before he or she leaves by chance."""
MOST_CARRIES = 1
"""An animal carries something away at most so often in a story."""
MOST_THOUGHTS = 2
"""Somebody thinks of a thing elsewhere at most so often in a story."""

Options = list[tuple[float, Event]]
"""Events with their weights, which need not sum to 1."""


def _settled(state: State) -> list[tuple[int, int]]:
    """The people who have been at their places for a while, with the places; not the protagonist."""
    latest = state.sentence - STAY
    return [(q, at) for q, at in enumerate(state.at) if q and state.arrived[q] < latest]


def _apart_lately(state: State, person: int, other: int, sentences: int = 1) -> bool:
    """Whether the last sentences did not mention both people."""
    return min(state.seen[person], state.seen[other]) < state.sentence - sentences


def _go(state: State) -> list[Event]:
    """Who has been at a place for a while goes elsewhere; if nobody has, anybody, so that this is always possible."""
    places = range(len(state.places))
    people = _settled(state) or list(enumerate(state.at))[1:]
    return [("go", (q, h)) for q, at in people for h in places if h != at]


def _wander(state: State) -> list[Event]:
    at = state.at[0]
    return [("go", (0, h)) for h in range(len(state.places)) if h != at]


def _seek(state: State) -> list[Event]:
    """Somebody goes for a thing, to where he or she believes it to be."""
    return [
        ("seek", (q, thing))
        for q, at in _settled(state)
        for thing, belief in enumerate(state.believed[q][:-1])
        if 0 <= belief < UNKNOWN and belief != at
    ]


def _visit(state: State) -> list[Event]:
    return [
        ("visit", (q, r))
        for q, at in _settled(state)
        for r, belief in enumerate(state.believed_at[q])
        if r != q and belief not in (at, UNKNOWN)
    ]


def _take(state: State) -> list[Event]:
    rested = state.sentence - STAY
    return [
        ("take", (q, thing))
        for q, at in enumerate(state.at)
        if q
        for thing, where in enumerate(state.location[:-1])
        if where == at and state.moved[thing] < rested
    ]


def _stow(state: State) -> list[Event]:
    """Somebody takes a thing to another place and leaves it there."""
    places = range(len(state.places))
    rested = state.sentence - 2 * REST
    return [
        ("stow", (q, thing, h))
        for _, (q, thing) in _take(state)
        if state.moved[thing] < rested
        for h in places
        if h != state.at[q]
    ]


def _drop(state: State) -> list[Event]:
    rested = state.sentence - STAY
    return [
        ("drop", (-1 - where, thing))
        for thing, where in enumerate(state.location[:-1])
        if where < -1 and state.moved[thing] < rested
    ]


def _hold(state: State) -> list[Event]:
    """Somebody still has what he or she has held for a while."""
    rested = state.sentence - REST
    return [
        ("hold", (-1 - where, thing))
        for thing, where in enumerate(state.location[:-1])
        if where < -1 and state.moved[thing] < rested and state.seen[-1 - where] < state.sentence - 1
    ]


def _show(state: State) -> list[Event]:
    return [
        ("show", (-1 - where, r, thing))
        for thing, where in enumerate(state.location[:-1])
        if where < -1
        for r in state.here(-1 - where)
        if _apart_lately(state, -1 - where, r) and (r or ("beg", -1 - where, thing) not in state.asked)
    ]


def _beg(state: State) -> list[Event]:
    at = state.at
    return [
        ("beg", (q, -1 - where, thing))
        for thing, where in enumerate(state.location[:-1])
        if where < -1
        for q in range(1, len(at))
        if at[q] == at[-1 - where] and q != -1 - where and _apart_lately(state, q, -1 - where, REST)
    ]


def _ask(state: State) -> list[Event]:
    at, believed = state.at, state.believed
    return [
        ("ask", (q, r, thing))
        for q in range(1, len(at))
        for thing, belief in enumerate(believed[q][:-1])
        if belief == UNKNOWN
        for r in range(1, len(at))
        if r != q and at[r] == at[q] and _apart_lately(state, q, r, REST)
    ]


def _tell(state: State) -> list[Event]:
    """Somebody tells another something new: nothing wrong to who knows it, no secret where the protagonist hears."""
    found: list[Event] = []
    at, believed = state.at, state.believed
    for q in range(1, len(at)):
        for r in range(1, len(at)):
            if at[q] != at[r] or q == r:
                continue
            for thing, belief in enumerate(believed[q]):
                if belief in (UNKNOWN, believed[r][thing], -1 - r, -1 - q):
                    continue
                if believed[r][thing] == state.location[thing] or (thing == state.secret and at[q] == at[0]):
                    continue
                if belief >= 0:
                    found.append(("tell", (q, r, thing)))
                elif state.believed_at[q][-1 - belief] != UNKNOWN:
                    found.append(("tell_held", (q, r, thing)))
    return found


def _think(state: State) -> list[Event]:
    """Somebody whom the last sentence did not mention thinks of a thing elsewhere.

    Only once some thing has been moved, not soon after another thought, and not the same person again.
    """
    if state.thoughts >= MOST_THOUGHTS or state.thought >= state.sentence - REST or max(state.moved) == LONG_AGO:
        return []
    at = state.at
    return [
        ("think", (p, thing))
        for p, believed in enumerate(state.believed)
        if state.seen[p] < state.sentence - 1 and p != state.thinker
        for thing, belief in enumerate(believed[:-1])
        if 0 <= belief < UNKNOWN and belief != at[p]
    ]


def _wrong(group: Callable[[State], list[Event]]) -> Callable[[State], list[Event]]:
    """Those events of a group in which a person acts on, or thinks of, a thing that is no longer there."""

    def wrong(state: State) -> list[Event]:
        return [e for e in group(state) if state.believed_place(*e[1]) != state.place_of(e[1][1])]

    return wrong


def _pick(state: State) -> list[Event]:
    return [
        ("pick", (q, k))
        for q, at in enumerate(state.at)
        if q and at == state.fruit_at
        for k in (1, 2, 3)
        if state.count[q] + k <= MOST_FRUIT
    ]


def _hungry(state: State) -> list[Event]:
    """Somebody would like fruit who has none, or enough to eat some and keep some."""
    return [("hungry", (q,)) for q in range(1, len(state.at)) if state.count[q] != 1]


def _tally(state: State) -> list[Event]:
    """Somebody counts his or her fruit, or two people theirs together."""
    rich = [p for p, count in enumerate(state.count) if count > 1]
    silent = [p for p in rich if state.seen[p] < state.sentence - STAY]
    pairs = [
        (p, q)
        for p in rich
        for q in state.here(p)
        if q > p and 0 < state.count[q] <= MOST_FRUIT - state.count[p] and _apart_lately(state, p, q)
    ]
    return [*(("tally", (p,)) for p in silent), *(("pool", pair) for pair in pairs)]


def _carry(state: State) -> list[Event]:
    if state.carries >= MOST_CARRIES:
        return []
    rested = state.sentence - REST
    places = range(len(state.places))
    return [
        ("carry", (thing, h))
        for thing, where in enumerate(state.location[:-1])
        if where >= 0 and state.moved[thing] < rested and "l" in state.things[thing].tags
        for h in places
        if h != where
    ]


def _rain(state: State) -> list[Event]:
    return [("rain", ())] if not state.rained and _sheltering(state) else []


def _sheltering(state: State) -> list[Event]:
    """Who is outdoors may run to a place indoors."""
    indoors = [h for h, place in enumerate(state.places) if "i" in place.tags]
    return [("shelter", (q, h)) for q, at in enumerate(state.at) if q and "o" in state.places[at].tags for h in indoors]


GROUPS: tuple[tuple[int, Callable[[State], list[Event]]], ...] = (
    (4, _go), (2, _wander), (7, _seek), (6, _visit), (8, _take), (12, _stow), (8, _drop), (8, _hold), (10, _show),
    (8, _beg), (6, _ask), (6, _tell), (3, _think), (24, _wrong(_think)), (16, _wrong(_seek)), (4, _pick), (4, _hungry),
    (10, _tally), (2, _carry), (2, _rain),
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
            found[event] = found.get(event, 0.0) + share
    return found


def consequence(state: State) -> Options:
    """What follows at once from the last sentence, whatever the protagonist wants; empty where nothing does."""
    assert state.pending is not None
    what, person, *rest = (*state.pending, -1)
    if what == "rain":
        return [(1.0, event) for event in _sheltering(state)]
    if what == "hungry":
        if state.count[person] > 1:
            return [(1.0, ("eat", (person, k))) for k in (1, 2) if k < state.count[person]]
        if state.at[person] != state.fruit_at:
            return [(1.0, ("fetch", (person,)))]
    if what in ("hungry", "fetch"):
        return [(1.0, ("pick", (person, k))) for k in (1, 2, 3) if state.count[person] + k <= MOST_FRUIT]
    if what == "seek":
        return [(1.0, _arrive(state, person, rest[0]))]
    if what == "visit":
        return _meet(state, person, rest[0])
    if person == 0:
        return []
    if what == "beg":
        return [(2.0, ("hand", (rest[0], person, rest[1]))), (1.0, ("later", (rest[0], person)))]
    return [(1.0, truthful(state, what, rest[0], person, rest[1]))]


def _arrive(state: State, person: int, thing: int) -> Event:
    where, place = state.location[thing], state.at[person]
    if where == place:
        return ("take", (person, thing))
    holder = -1 - where
    return (
        ("miss_held", (person, holder, thing)) if where < 0 and state.at[holder] == place else ("miss", (person, thing))
    )


def _meet(state: State, person: int, other: int) -> Options:
    if state.at[other] != state.at[person]:
        return [(1.0, ("miss_person", (person, other)))]
    news = [event for event in _tell(state) if event[1][:2] in ((person, other), (other, person))]
    return [(1.0, ("chat", (person, other))), *((2.0 / len(news), event) for event in news)]


def truthful(state: State, what: str, person: int, asker: int, sought: int) -> Event:
    """What a person answers who says what he or she believes."""
    if what == "ask_person":
        known = state.believed_at[person][sought] != UNKNOWN
        return ("answer_person", (person, asker, sought)) if known else ("unknown", (person, asker))
    belief = state.believed[person][sought]
    if 0 <= belief < UNKNOWN:
        return ("answer", (person, asker, sought))
    if belief == -1 - person:
        return ("answer_mine", (person, asker, sought))
    if belief < 0 and belief != -1 - asker and state.believed_at[person][-1 - belief] != UNKNOWN:
        return ("answer_held", (person, asker, sought))
    return ("unknown", (person, asker))

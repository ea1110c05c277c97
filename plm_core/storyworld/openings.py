"""The kinds of events that introduce people, places and things."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from plm_core.storyworld.kinds import add_kind
from plm_core.storyworld.lexicon import Entry
from plm_core.storyworld.state import LONG_AGO, UNKNOWN, State


def compositions(people: int) -> list[tuple[int, ...]]:
    """The ways in which people stand together at two to four places, as the sizes of the groups in order."""
    found: list[tuple[int, ...]] = []
    for cuts in range(1 << (people - 1)):
        ends = [0, *(i + 1 for i in range(people - 1) if cuts >> i & 1), people]
        if 3 <= len(ends) <= 5:
            found.append(tuple(b - a for a, b in pairwise(ends)))
    return found


def _open(groups: tuple[int, ...]) -> Callable[..., None]:
    def apply(state: State, *args: Entry) -> None:
        state.setting, index = args[0], 1
        for group in groups:
            state.people += args[index : index + group]
            state.at += [len(state.places)] * group
            state.places.append(args[index + group])
            index += group + 1
        count = len(state.people)
        state.used += args
        state.believed_at = [list(state.at) for _ in range(count)]
        state.believed = [[] for _ in range(count)]
        state.count = [0] * count
        state.seen = [state.sentence] * count
        state.arrived = [LONG_AGO] * count
        state.visited = [LONG_AGO] * len(state.places)
        state.visited[state.at[0]] = 0

    return apply


for _people in range(3, 7):
    for _groups in compositions(_people):
        _slots, _person = ["x!"], 0
        for _number, _size in enumerate(_groups):
            _slots += [f"p{_person + i}!" for i in range(_size)] + [f"h{_number}!"]
            _person += _size
        add_kind("open_" + "_".join(map(str, _groups)), " ".join(_slots), _open(_groups))


def _discover(state: State, place: Entry) -> int:
    state.used += (place,)
    state.places.append(place)
    state.visited.append(LONG_AGO)
    return len(state.places) - 1


def _lay(state: State, thing: Entry, place: int, knower: int | None = None) -> None:
    state.used += (thing,)
    state.things.append(thing)
    state.location.append(place)
    state.moved.append(LONG_AGO)
    state.placed.append(-1)
    for person, believed in enumerate(state.believed):
        believed.append(place if knower is None or person == knower else UNKNOWN)


def _grow_old(state: State, fruit: Entry, place: int, thing: Entry, where: int) -> None:
    state.fruit, state.fruit_at = fruit, place
    _lay(state, thing, where)


def _grow_new(state: State, fruit: Entry, place: Entry, thing: Entry, where: int) -> None:
    _grow_old(state, fruit, _discover(state, place), thing, where)


def _lie_two(state: State, thing: Entry, where: int, other: Entry, there: int) -> None:
    _lay(state, thing, where)
    _lay(state, other, there)


def _hide(state: State, thing: Entry, where: int, secret: Entry, there: int, knower: int) -> None:
    _lay(state, thing, where)
    _lay(state, secret, there, knower)
    state.opened = True


add_kind("grow_old", "f! h t! g", _grow_old)
add_kind("grow_new", "f! h! t! g", _grow_new)
add_kind("lie", "t! g", _lay)
add_kind("lie_two", "t! g u! h", _lie_two)
add_kind("hide", "t! g s! h q", _hide)

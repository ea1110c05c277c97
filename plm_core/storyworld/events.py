"""The kinds of events: their slots, and what each changes in the world and in the minds of those who see it.

The first letter of a slot gives its type: ``p``, ``q``, ``r`` are people, ``t``, ``u``, ``s`` things, ``h``, ``g``
places, ``k`` and ``n`` numbers, ``x`` a setting, ``f`` a fruit, ``m`` a mood. A slot whose name ends in ``!`` is
open: the event draws a new entry from a lexicon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from plm_core.storyworld.lexicon import Entry
from plm_core.storyworld.state import LONG_AGO, UNKNOWN, Args, Event, State


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


def _kind(name: str, slots: str, apply: Callable[..., None]) -> None:
    names = slots.split()
    opens = tuple(index for index, slot in enumerate(names) if slot.endswith("!"))
    people = tuple(index for index, slot in enumerate(names) if slot[0] in "pqr" and index not in opens)
    KINDS[name] = Kind(name, tuple(slot.rstrip("!") for slot in names), opens, apply, people)


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
    state.sentence = sentence + 1


# The introduction.


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
        state.visited = [LONG_AGO] * len(state.places)
        state.visited[state.at[0]] = 0

    return apply


for _people in range(3, 7):
    for _groups in compositions(_people):
        _slots, _person = ["x!"], 0
        for _number, _size in enumerate(_groups):
            _slots += [f"p{_person + i}!" for i in range(_size)] + [f"h{_number}!"]
            _person += _size
        _kind("open_" + "_".join(map(str, _groups)), " ".join(_slots), _open(_groups))


def _discover(state: State, place: Entry) -> int:
    state.used += (place,)
    state.places.append(place)
    state.visited.append(LONG_AGO)
    return len(state.places) - 1


def _lay(state: State, thing: Entry, place: int, knower: int | None = None) -> None:
    state.used += (thing,)
    state.things.append(thing)
    state.location.append(place)
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


_kind("grow_old", "f! h t! g", _grow_old)
_kind("grow_new", "f! h! t! g", _grow_new)
_kind("lie", "t! g", _lay)
_kind("lie_two", "t! g u! h", _lie_two)
_kind("hide", "t! g s! h q", _hide)


# What the protagonist wants, and how the story ends.


def _aim(kind: str, hidden: bool = False) -> Callable[..., None]:
    def apply(state: State, person: int, *wanted: Any) -> None:
        state.aim = True
        if not hidden:
            state.goal = (kind, *wanted) if kind != "find" else ("find",)

    return apply


def _reveal(state: State, *args: Any) -> None:
    state.revealed = True


def _end(state: State, *args: Any) -> None:
    state.closed = True


for _name, _slots_of in (("have", "p t"), ("bring", "p t q"), ("meet", "p q h"), ("find", "p s"), ("gather", "p n")):
    _kind("want_" + _name, _slots_of, _aim(_name))
    _kind("reveal_" + _name, _slots_of, _reveal)
_kind("plan", "p", _aim("", hidden=True))
for _name in ("proud", "grateful", "sad", "angry"):
    _kind("end_" + _name, "p m!", _end)


# What anybody does.


def _take(state: State, person: int, thing: int) -> None:
    state.put(thing, -1 - person, state.at[person])


def _drop(state: State, person: int, thing: int) -> None:
    state.put(thing, state.at[person], state.at[person])


def _hand(state: State, giver: int, receiver: int, thing: int) -> None:
    state.put(thing, -1 - receiver, state.at[giver])
    state.helped |= receiver == 0


def _carry(state: State, thing: int, place: int) -> None:
    """An animal carries a thing away: those who see it go do not know where to."""
    origin, state.location[thing] = state.location[thing], place
    for person, at in enumerate(state.at):
        if at in (origin, place):
            state.believed[person][thing] = place if at == place else UNKNOWN


def _tell(state: State, person: int, other: int, thing: int) -> None:
    where = state.believed[person][thing]
    state.believed[other][thing] = where
    if where < 0:
        state.believed_at[other][-1 - where] = state.believed_at[person][-1 - where]
    if other == 0 and where == state.location[thing]:
        state.helped = True


def _tell_person(state: State, person: int, other: int, sought: int) -> None:
    state.believed_at[other][sought] = state.believed_at[person][sought]
    if other == 0 and state.believed_at[person][sought] == state.at[sought]:
        state.helped = True


def _count(sign: int, slot: int = 0, helps: bool = False) -> Callable[..., None]:
    def apply(state: State, *args: int) -> None:
        state.count[args[slot]] += sign * args[-1]
        state.helped |= helps

    return apply


def _nothing(state: State, *args: Any) -> None:
    """Change nothing."""


_kind("go", "p h", lambda s, p, h: s.travel(p, h))
_kind("seek", "p t", lambda s, p, t: s.travel(p, s.believed_place(p, t)))
_kind("visit", "p q", lambda s, p, q: s.travel(p, s.believed_at[p][q]))
_kind("take", "p t", _take)
_kind("drop", "p t", _drop)
_kind("hand", "p q t", _hand)
_kind("carry", "t h", _carry)
_kind("tell", "p q t", _tell)
_kind("tell_held", "p q t", _tell)
_kind("think", "p t", _nothing)
_kind("pick", "p k", _count(1))
_kind("eat", "p k", _count(-1))
_kind("spoil", "p k", _count(-1))


# What the protagonist asks for, and the answers.


def _ask(what: str) -> Callable[..., None]:
    def apply(state: State, person: int, *args: int) -> None:
        state.asked[(what, *args)] = state.sentence
        state.pending = (what, *args)

    return apply


def _answer(state: State, person: int, asker: int, thing: int) -> None:
    _tell(state, person, asker, thing)


def _refuse(state: State, *args: int) -> None:
    state.over = "angry"


def _give_up(state: State, *args: int) -> None:
    state.over = "sad"


def _win(state: State, person: int, owner: int, thing: int) -> None:
    state.put(thing, -1 - person, state.at[person])


def _accept(state: State, person: int, giver: int, thing: int) -> None:
    state.put(thing, -1 - person, state.at[person])
    state.done = ("bring", thing, person)


def _together(state: State, person: int, other: int, place: int) -> None:
    state.travel(other, place)
    state.travel(person, place)
    state.missed = ()
    state.done = ("meet", other, place)


for _name, _slots_of in (
    ("ask", "p q t"), ("ask_person", "p q r"), ("beg", "p q t"), ("offer", "p q t"), ("invite", "p q h"),
    ("ask_fruit", "p q"),
):  # fmt: skip
    _kind(_name, _slots_of, _ask(_name))
_kind("answer", "p q t", _answer)
_kind("answer_held", "p q t", _answer)
_kind("answer_mine", "p q t", _answer)
_kind("answer_person", "p q r", _tell_person)
for _name in ("unknown", "wont", "later"):
    _kind(_name, "p q", _nothing)
_kind("win", "p q t", _win)
_kind("accept", "p q t", _accept)
_kind("together", "p q h", _together)
for _name, _slots_of in (("refuse", "p q t"), ("decline", "p q t"), ("stay_away", "p q h"), ("deny", "p q")):
    _kind(_name, _slots_of, _refuse)
_kind("deny_fruit", "p q", _refuse)
_kind("give_fruit", "p q k", _count(1, slot=1, helps=True))


# Obstacles, help, and the search for the secret.


def _grab(state: State, person: int, other: int, thing: int) -> None:
    state.travel(person, state.at[other])
    _take(state, person, thing)


def _bring(state: State, person: int, other: int, thing: int) -> None:
    state.put(thing, -1 - person, state.place_of(thing))
    state.travel(person, state.at[other])
    _hand(state, person, other, thing)


def _aid(state: State, person: int, other: int, *args: int) -> None:
    if state.at[person] != state.at[other]:
        state.travel(person, state.at[other])
    state.helped = True


def _come_tell(state: State, person: int, other: int, thing: int) -> None:
    if state.at[person] != state.at[other]:
        state.travel(person, state.at[other])
    _tell(state, person, other, thing)


def _search(state: State, person: int) -> None:
    state.searched.add(state.at[person])


def _find(state: State, person: int, thing: int) -> None:
    state.put(thing, -1 - person, state.at[person])


_kind("grab", "p q t", _grab)
_kind("bring", "p q t", _bring)
_kind("aid_wrap", "p q t", _aid)
_kind("aid_pack", "p q", _aid)
_kind("come_tell", "p q t", _come_tell)
_kind("search", "p", _search)
_kind("find", "p t", _find)
_kind("miss", "p t", _nothing)
_kind("miss_person", "p q", _nothing)
_kind("miss_unnamed", "p", _nothing)
_kind("give_up", "p", _give_up)

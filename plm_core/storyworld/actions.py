"""The kinds of events after the introduction: what each changes in the world and in the minds of those who see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plm_core.storyworld.kinds import add_kind
from plm_core.storyworld.state import UNKNOWN, State

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
    add_kind("want_" + _name, _slots_of, _aim(_name))
    add_kind("reveal_" + _name, _slots_of, _reveal)
add_kind("plan", "p", _aim("", hidden=True))
for _name in ("proud", "grateful", "sad", "angry"):
    add_kind("end_" + _name, "p m!", _end)


# What anybody does.


def _take(state: State, person: int, thing: int) -> None:
    state.put(thing, -1 - person, state.at[person])


def _drop(state: State, person: int, thing: int) -> None:
    state.put(thing, state.at[person], state.at[person])
    state.placed[thing] = person


def _stow(state: State, person: int, thing: int, place: int) -> None:
    _take(state, person, thing)
    state.travel(person, place)
    _drop(state, person, thing)


def _hand(state: State, giver: int, receiver: int, thing: int) -> None:
    state.put(thing, -1 - receiver, state.at[giver])
    state.helped |= receiver == 0


def _carry(state: State, thing: int, place: int) -> None:
    """An animal carries a thing away: those who see it go do not know where to."""
    state.carries += 1
    state.moved[thing], state.placed[thing] = state.sentence, -1
    origin, state.location[thing] = state.location[thing], place
    for person, at in enumerate(state.at):
        if at in (origin, place):
            state.believed[person][thing] = place if at == place else UNKNOWN


def _tell(state: State, person: int, other: int, thing: int) -> None:
    where = state.believed[person][thing]
    state.believed[other][thing] = where
    if where < 0:
        state.seen[-1 - where] = state.sentence  # the sentence names the holder
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


def _think(state: State, person: int, thing: int) -> None:
    state.thoughts += 1
    state.thought, state.thinker = state.sentence, person


def _seek(state: State, person: int, thing: int) -> None:
    state.travel(person, state.believed_place(person, thing))
    if person:
        state.pending = ("seek", person, thing)


def _visit(state: State, person: int, other: int) -> None:
    state.travel(person, state.believed_at[person][other])
    if person:
        state.pending = ("visit", person, other)


def _then(what: str) -> Callable[..., None]:
    def apply(state: State, *args: int) -> None:
        state.pending = (what, *args)

    return apply


def _rain(state: State) -> None:
    state.rained, state.pending = True, ("rain",)


def _fetch(state: State, person: int) -> None:
    state.travel(person, state.fruit_at)
    state.pending = ("fetch", person)


def _spoil(state: State, person: int, number: int) -> None:
    state.count[person] -= number
    state.lost = state.sentence


def _give_away(state: State, person: int, other: int, number: int) -> None:
    _spoil(state, person, number)
    state.count[other] += number


add_kind("go", "p h", lambda s, p, h: s.travel(p, h))
add_kind("seek", "p t", _seek)
add_kind("visit", "p q", _visit)
add_kind("chat", "p q", _nothing)
add_kind("hungry", "p", _then("hungry"))
add_kind("fetch", "p", _fetch)
add_kind("rain", "", _rain)
add_kind("shelter", "p h", lambda s, p, h: s.travel(p, h))
add_kind("give_away", "p q k", _give_away)
add_kind("take", "p t", _take)
add_kind("drop", "p t", _drop)
add_kind("stow", "p t h", _stow)
add_kind("hand", "p q t", _hand)
add_kind("hold", "p t", _nothing)
add_kind("show", "p q t", _nothing)
add_kind("carry", "t h", _carry)
add_kind("tell", "p q t", _tell)
add_kind("tell_held", "p q t", _tell)
add_kind("think", "p t", _think)
add_kind("pick", "p k", _count(1))
add_kind("eat", "p k", _count(-1))
add_kind("spoil", "p k", _spoil)
add_kind("tally", "p", _nothing)
add_kind("pool", "p q", _nothing)


# What the protagonist asks for, and the answers.


def _ask(what: str) -> Callable[..., None]:
    def apply(state: State, person: int, *args: int) -> None:
        if person == 0:
            state.repeated = (what, *args) in state.asked
            state.asked[(what, *args)] = state.sentence
            state.tries += 1
        state.pending = (what, person, *args)

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
    add_kind(_name, _slots_of, _ask(_name))
add_kind("answer", "p q t", _answer)
add_kind("answer_held", "p q t", _answer)
add_kind("answer_mine", "p q t", _answer)
add_kind("answer_person", "p q r", _tell_person)
for _name in ("unknown", "wont", "later", "later_kind", "later_rude"):
    add_kind(_name, "p q", _nothing)
add_kind("win", "p q t", _win)
add_kind("accept", "p q t", _accept)
add_kind("together", "p q h", _together)
for _name, _slots_of in (("refuse", "p q t"), ("decline", "p q t"), ("stay_away", "p q h"), ("deny", "p q")):
    add_kind(_name, _slots_of, _refuse)
add_kind("deny_fruit", "p q", _refuse)
add_kind("give_fruit", "p q k", _count(1, slot=1, helps=True))


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
    state.tries += 1


def _find(state: State, person: int, thing: int) -> None:
    state.put(thing, -1 - person, state.at[person])


add_kind("grab", "p q t", _grab)
add_kind("bring", "p q t", _bring)
add_kind("aid_wrap", "p q t", _aid)
add_kind("aid_pack", "p q", _aid)
add_kind("come_tell", "p q t", _come_tell)


def _miss(state: State, person: int, *sought: int) -> None:
    state.tries += person == 0


def _luck(state: State, person: int, thing: int) -> None:
    state.travel(person, state.location[thing])
    state.missed = ()
    _take(state, person, thing)


add_kind("luck", "p t", _luck)
add_kind("search", "p", _search)
add_kind("find", "p t", _find)
add_kind("miss", "p t", _miss)
add_kind("miss_held", "p q t", _nothing)
add_kind("miss_person", "p q", _miss)
add_kind("miss_unnamed", "p", _miss)
add_kind("give_up", "p", _give_up)

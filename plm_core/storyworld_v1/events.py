"""The kinds of events that a story is made of: when each is possible, with whom, and what it changes.

A kind knows nothing of language. Its *bindings* are all ways in which it can happen in a state, equally likely; its
*open slots* are drawn from lexicons. In an event the values of the closed slots come first, then those of the open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from plm_core.storyworld_v1.state import State

Values = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of event.

    Attributes:
        name: its name, under which the languages list its patterns.
        weight: its integer weight among the possible kinds.
        closed: names and types of the slots that the bindings fill; ``tally`` is a count that follows from the past.
        opens: names of the open slots with the lexicons that they are drawn from.
        bindings: all ways to fill the closed slots in a state; empty where the event is impossible.
        apply: what the event changes.
    """

    name: str
    weight: int
    closed: tuple[tuple[str, str], ...]
    opens: tuple[tuple[str, str], ...]
    bindings: Callable[[State], list[Values]]
    apply: Callable[[State, Values], None]

    def slot(self, name: str) -> int:
        """The index of a slot in the values of an event."""
        return [slot for slot, _ in self.closed + self.opens].index(name)


@dataclass(frozen=True)
class Limits:
    """How large a story may grow.

    Attributes:
        people: at most so many people; there are at least two.
        places: at most so many places.
        things: at most so many things; there are at least two.
        sentences: the story may end once so many sentences are told.
        attractors: at most so many nouns stand between a subject and its verb.
        end_weight: the weight of ending, against the weights of all other kinds.
        count: nobody has more fruit than this.
        rich: whether the kinds of :mod:`plm_core.storyworld_v1.events_full` occur.
    """

    people: int
    places: int
    things: int
    sentences: int
    attractors: int
    end_weight: int
    count: int = 9
    rich: bool = False


def nothing(state: State, values: Values) -> None:
    """What an event changes that changes nothing."""


def _holding(state: State) -> list[tuple[int, int]]:
    return [(thing.holder, number) for number, thing in enumerate(state.things) if thing.holder is not None]


def _travel(state: State, person: int, place: int) -> None:
    state.people[person].at = place


def basic_opening(limits: Limits) -> list[Kind]:
    """The kinds that introduce people, things, a wish and a store of fruit, in this order."""

    def cast_open(state: State) -> bool:
        return len(state.people) < limits.people and not state.things

    def meet_there(state: State) -> list[Values]:
        return [()] if cast_open(state) and len(state.places) < limits.places else []

    def meet_here(state: State) -> list[Values]:
        return [(place,) for place in range(len(state.places))] if cast_open(state) else []

    def things_open(state: State) -> bool:
        return len(state.people) >= 2 and len(state.things) < limits.things and state.wanted is None

    def thing_there(state: State) -> list[Values]:
        return [()] if things_open(state) and len(state.places) < limits.places else []

    def thing_here(state: State) -> list[Values]:
        return [(place,) for place in range(len(state.places))] if things_open(state) else []

    def wants(state: State) -> list[Values]:
        if len(state.things) < 2 or state.wanted is not None:
            return []
        return [(0, thing) for thing in range(len(state.things))]

    def stores(state: State) -> list[Values]:
        if state.wanted is None or state.opened:
            return []
        return [(person, count) for person in range(len(state.people)) for count in range(3, 7)]

    def want(state: State, values: Values) -> None:
        state.wanted = values[1]

    def store(state: State, values: Values) -> None:
        person, count, fruit = values
        state.people[person].fruit, state.people[person].count = fruit, count
        state.opened = True

    person, place = ("new", "people"), ("spot", "places")
    return [
        Kind("meet_there", 4, (), (person, place), meet_there, lambda s, v: s.meet(v[0], s.discover(v[1]))),
        Kind("meet_here", 2, (("h", "place"),), (person,), meet_here, lambda s, v: s.meet(v[1], v[0])),
        Kind("thing_there", 4, (), (("new", "things"), place), thing_there, lambda s, v: s.put(v[0], s.discover(v[1]))),
        Kind("thing_here", 4, (("h", "place"),), (("new", "things"),), thing_here, lambda s, v: s.put(v[1], v[0])),
        Kind("want", 6, (("p", "person"), ("t", "thing")), (), wants, want),
        Kind("store", 6, (("p", "person"), ("n", "number")), (("fruit", "fruits"),), stores, store),
    ]


def _journeys(limits: Limits) -> list[Kind]:
    def go(state: State) -> list[Values]:
        places = range(len(state.places))
        return [(p, h) for p, who in enumerate(state.people) for h in places if h != who.at]

    def explore(state: State) -> list[Values]:
        return [(p,) for p in range(len(state.people))] if len(state.places) < limits.places else []

    def follow(state: State) -> list[Values]:
        people = state.people
        return [(p, q) for p, q in permutations(range(len(people)), 2) if people[p].at != people[q].at]

    def seek(state: State) -> list[Values]:
        wanted = state.wanted or 0
        away = state.place_of(wanted) != state.people[0].at and state.things[wanted].holder != 0
        return [(0, wanted)] if away else []

    person, manner = ("p", "person"), ("how", "manners")
    return [
        Kind("seek", 10, (person, ("t", "thing")), (), seek, lambda s, v: _travel(s, v[0], s.place_of(v[1]))),
        Kind("go", 8, (person, ("h", "place")), (manner,), go, lambda s, v: _travel(s, v[0], v[1])),
        Kind(
            "explore", 2, (person,), (manner, ("spot", "places")), explore,
            lambda s, v: _travel(s, v[0], s.discover(v[2])),
        ),
        Kind(
            "follow", 5, (person, ("q", "person")), (), follow, lambda s, v: _travel(s, v[0], s.people[v[1]].at)
        ),
    ]  # fmt: skip


def _dealings() -> list[Kind]:
    def take(state: State) -> list[Values]:
        lying = [(t, thing.at) for t, thing in enumerate(state.things) if thing.holder is None]
        return [(p, t) for p, who in enumerate(state.people) for t, at in lying if at == who.at]

    def give(state: State) -> list[Values]:
        people = state.people
        return [
            (p, q, t) for p, t in _holding(state) for q in range(len(people)) if q != p and people[q].at == people[p].at
        ]

    def do_take(state: State, values: Values) -> None:
        person, thing = values
        state.things[thing].holder = person
        if person != 0 and thing == state.wanted:
            state.cause = ("taken", 0, person, thing)

    def do_drop(state: State, values: Values) -> None:
        person, thing = values
        state.things[thing].holder, state.things[thing].at = None, state.people[person].at

    def do_give(state: State, values: Values) -> None:
        giver, receiver, thing = values
        state.things[thing].holder = receiver
        state.cause = ("given", receiver, giver, thing)

    p, q, t = ("p", "person"), ("q", "person"), ("t", "thing")
    return [
        Kind("take", 18, (p, t), (), take, do_take),
        Kind("drop", 3, (p, t), (), _holding, do_drop),
        Kind("give", 8, (p, q, t), (), give, do_give),
    ]


def _counting(limits: Limits) -> list[Kind]:
    def eat(state: State) -> list[Values]:
        return [
            (p, k, who.count - k)
            for p, who in enumerate(state.people)
            if who.count > 1
            for k in range(1, min(who.count, 4))
        ]

    def gather(state: State) -> list[Values]:
        return [
            (p, k, who.count + k)
            for p, who in enumerate(state.people)
            if who.count
            for k in range(1, 4)
            if who.count + k <= limits.count
        ]

    def count(state: State, values: Values) -> None:
        state.people[values[0]].count = values[2]

    closed = (("p", "person"), ("k", "number"), ("left", "tally"))
    return [Kind("eat", 4, closed, (), eat, count), Kind("gather", 4, closed, (), gather, count)]


def _descriptions(limits: Limits) -> list[Kind]:
    def plain(state: State) -> list[Values]:
        return [(t,) for t, thing in enumerate(state.things) if thing.quality is None]

    def known(state: State) -> list[Values]:
        return [(t,) for t, thing in enumerate(state.things) if thing.quality is not None]

    def describe(state: State, values: Values) -> None:
        state.things[values[0]].quality = values[-1]

    thing, quality = (("t", "thing"),), ("quality", "qualities")
    kinds = []
    for count in range(limits.attractors + 1):
        near = tuple((f"f{i}", "furniture") for i in range(1, count + 1))
        kinds.append(Kind(f"describe_{count}", 2, thing, (*near, quality), plain, describe))
        kinds.append(Kind(f"remark_{count}", 2, thing, near, known, nothing))
    return kinds


def _surroundings() -> list[Kind]:
    def noise(state: State) -> list[Values]:
        return [(h,) for h in range(len(state.places))]

    def weather(cause: str) -> Callable[[State, Values], None]:
        def change(state: State, values: Values) -> None:
            state.weather = values[0]
            state.cause = (cause,)

        return change

    def always(state: State) -> list[Values]:
        return [()]

    return [
        Kind("noise", 2, (("h", "place"),), (("a", "animals"),), noise, nothing),
        Kind("brighten", 1, (), (("w", "good_weather"),), always, weather("bright")),
        Kind("darken", 1, (), (("w", "bad_weather"),), always, weather("dark")),
    ]


def _feelings() -> list[Kind]:
    def because(cause: str) -> Callable[[State], list[Values]]:
        def bindings(state: State) -> list[Values]:
            return [state.cause[1:]] if state.cause[0] == cause else []

        return bindings

    def anybody(cause: str) -> Callable[[State], list[Values]]:
        def bindings(state: State) -> list[Values]:
            return [(p,) for p in range(len(state.people))] if state.cause[0] == cause else []

        return bindings

    def feel(state: State, values: Values) -> None:
        state.people[values[0]].mood = values[-1]

    p, pqt = ("p", "person"), (("p", "person"), ("q", "person"), ("t", "thing"))
    return [
        Kind("feel_given", 30, pqt, (("m", "good_moods"),), because("given"), feel),
        Kind("feel_taken", 30, pqt, (("m", "angry_moods"),), because("taken"), feel),
        Kind("feel_bright", 20, (p,), (("m", "good_moods"),), anybody("bright"), feel),
        Kind("feel_dark", 20, (p,), (("m", "sad_moods"),), anybody("dark"), feel),
    ]


def _questions() -> list[Kind]:
    def lying(state: State) -> list[Values]:
        return [] if state.asked else [(t,) for t, thing in enumerate(state.things) if thing.holder is None]

    def held(state: State) -> list[Values]:
        return [] if state.asked else [(t,) for t, thing in enumerate(state.things) if thing.holder is not None]

    def any_thing(state: State) -> list[Values]:
        return [] if state.asked else [(t,) for t in range(len(state.things))]

    def any_person(state: State) -> list[Values]:
        return [] if state.asked else [(p,) for p in range(len(state.people))]

    def store(state: State) -> list[Values]:
        return [] if state.asked else [(p,) for p, who in enumerate(state.people) if who.count]

    def moved(state: State) -> list[Values]:
        return [] if state.asked else [(p,) for p, who in enumerate(state.people) if who.mood]

    def wish(state: State) -> list[Values]:
        return [] if state.asked else [(0, state.wanted)]

    p, t = (("p", "person"),), (("t", "thing"),)
    return [
        Kind("ask_lying", 3, t, (), lying, nothing),
        Kind("ask_held", 3, t, (), held, nothing),
        Kind("ask_colour", 3, t, (), any_thing, nothing),
        Kind("ask_person", 3, p, (), any_person, nothing),
        Kind("ask_count", 3, p, (), store, nothing),
        Kind("ask_mood", 2, p, (), moved, nothing),
        Kind("ask_wish", 2, p + t, (), wish, nothing),
    ]


def _closings(limits: Limits) -> list[Kind]:
    def ends(state: State) -> bool:
        return state.sentence >= limits.sentences

    def has(state: State) -> list[Values]:
        return [(0, state.wanted)] if ends(state) and state.things[state.wanted or 0].holder == 0 else []

    def other(state: State) -> list[Values]:
        holder = state.things[state.wanted or 0].holder
        return [(0, holder, state.wanted)] if ends(state) and holder not in (None, 0) else []

    def nobody(state: State) -> list[Values]:
        return [(0, state.wanted)] if ends(state) and state.things[state.wanted or 0].holder is None else []

    def close(state: State, values: Values) -> None:
        state.people[0].mood = values[-1]
        state.closed = True

    p, q, t = ("p", "person"), ("q", "person"), ("t", "thing")
    weight = limits.end_weight
    return [
        Kind("close_glad", weight, (p, t), (("m", "good_moods"),), has, close),
        Kind("close_angry", weight, (p, q, t), (("m", "angry_moods"),), other, close),
        Kind("close_sad", weight, (p, t), (("m", "sad_moods"),), nobody, close),
    ]


def basic_middle(limits: Limits) -> list[Kind]:
    """The kinds that the rest of a story is made of, its end included."""
    happenings = _journeys(limits) + _dealings() + _counting(limits) + _descriptions(limits) + _surroundings()
    return happenings + _feelings() + _questions() + _closings(limits)

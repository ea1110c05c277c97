"""The further kinds of events of the size ``full``: professions, home towns, relations, dreams and the time of day."""

from __future__ import annotations

from itertools import permutations

from plm_core.storyworld_v1.events import Kind, Values, nothing
from plm_core.storyworld_v1.state import State

HOURS = 5
"""Morning, noon, afternoon, evening and night follow one another."""


def rich_opening() -> list[Kind]:
    """Who the people are and what they are to one another; told before the wish."""

    def strangers(state: State) -> list[Values]:
        if state.wanted is not None:
            return []
        return [(p,) for p, who in enumerate(state.people) if who.job is None]

    def unrelated(state: State) -> list[Values]:
        if state.wanted is not None or len(state.people) < 2:
            return []
        bound = {frozenset((p, q)) for p, q, _ in state.bonds}
        return [pair for pair in permutations(range(len(state.people)), 2) if frozenset(pair) not in bound]

    def profile(state: State, values: Values) -> None:
        person, job, town = values
        state.people[person].job, state.people[person].town = job, town
        state.used |= {job.key, town.key}

    def relate(state: State, values: Values) -> None:
        state.bonds.append(values)

    p, q = ("p", "person"), ("q", "person")
    return [
        Kind("profile", 5, (p,), (("job", "jobs"), ("town", "towns")), strangers, profile),
        Kind("relate", 3, (p, q), (("r", "relations"),), unrelated, relate),
    ]


def rich_middle() -> list[Kind]:
    """Journeys told by description, dreams of what is not there, time that passes, and questions about it all."""

    def described(state: State) -> list[Values]:
        places = range(len(state.places))
        return [(p, h) for p, who in enumerate(state.people) if who.job for h in places if h != who.at]

    def anybody(state: State) -> list[Values]:
        return [(p,) for p in range(len(state.people))]

    def time(state: State) -> list[Values]:
        return [(hour,) for hour in range(HOURS)] if state.hour is None else [((state.hour + 1) % HOURS,)]

    def known(state: State) -> list[Values]:
        return [] if state.asked else [(p,) for p, who in enumerate(state.people) if who.job]

    def bonds(state: State) -> list[Values]:
        return [] if state.asked else [(p, q, number) for number, (p, q, _) in enumerate(state.bonds)]

    def clock(state: State) -> list[Values]:
        return [] if state.asked or state.hour is None else [(state.hour,)]

    def go(state: State, values: Values) -> None:
        state.people[values[0]].at = values[1]

    def pass_time(state: State, values: Values) -> None:
        state.hour = values[0]

    p, q = ("p", "person"), ("q", "person")
    return [
        Kind("go_described", 4, (p, ("h", "place")), (("how", "manners"),), described, go),
        Kind("dream", 3, (p,), (("d", "things"),), anybody, nothing),
        Kind("time", 3, (("x", "hour"),), (), time, pass_time),
        Kind("ask_job", 2, (p,), (), known, nothing),
        Kind("ask_town", 2, (p,), (), known, nothing),
        Kind("ask_bond", 2, (p, q, ("b", "bond")), (), bonds, nothing),
        Kind("ask_hour", 1, (("x", "hour"),), (), clock, nothing),
    ]

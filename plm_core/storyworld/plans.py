"""What the protagonist does to reach a goal, and what stands in the way or helps: the policy of a latent.

:func:`policy` is the one place that says what happens next given the goal and the fate. Teller and reader both use
it, so they agree by construction. Until the sentence ``limits.earliest`` every attempt to reach the goal meets an
obstacle. Then the fate decides; after ``limits.latest`` nothing else happens any more, so that the story soon ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from plm_core.storyworld.answers import respond
from plm_core.storyworld.goals import at_hand, beside_the_wanted, fulfilled, person_wanted_here, within_reach
from plm_core.storyworld.happenings import REST, STAY, Options, consequence
from plm_core.storyworld.obstacles import hide_away, leave, mixed, others, spoil
from plm_core.storyworld.state import UNKNOWN, Event, Goal, State


@dataclass(frozen=True)
class Limits:
    """How long a story is and how much happens in it beside the plan.

    Attributes:
        earliest: number of sentences before which the story does not begin to end.
        latest: number of sentences after which only the end is told.
        happenings: probability that a sentence tells of something else than the plan.
        obstacles: probability of an obstacle where the protagonist does not see it.
        delay: number of sentences that pass at least between two actions of the protagonist.
        revealed: probability that a goal which was hidden is told at the end.
    """

    earliest: int
    latest: int
    happenings: float
    obstacles: float
    delay: int
    revealed: float

    @property
    def patience(self) -> int:
        """After so many sentences without the protagonist the plan goes on: 3 where a third of them tell of others."""
        return self.delay + round(2 / (1 - self.happenings))


class Policy(NamedTuple):
    """What happens next: with probability ``happenings`` anything, else one of the options by their weights."""

    happenings: float
    options: Options


def policy(state: State, goal: Goal, fate: str, limits: Limits) -> Policy:
    """The distribution of the next event, given everything."""
    if state.pending is not None:
        return Policy(
            0.0,
            consequence(state)
            or respond(state, goal, fate, state.sentence < limits.earliest, state.sentence > limits.latest),
        )
    if state.over or fulfilled(state, goal):
        return Policy(0.0, _closing(state, goal, limits))
    if state.missed and (missed := _missed(state, goal)):
        return Policy(0.0, missed)
    near = at_hand(state, goal)
    if near and (fate == "sad" or state.sentence < limits.earliest):
        return Policy(0.0, hide_away(state, goal[1], goal[2] if goal[0] == "bring" else 0))
    late = state.sentence >= limits.latest
    if state.since < limits.delay and not late:
        return Policy(1.0, [])
    options = _next(state, goal, fate, limits, late)
    if not options:
        return Policy(1.0, [])
    share, patience = limits.happenings, limits.patience
    if goal[0] == "gather" and state.sentence < limits.earliest:
        share = (1 + 2 * share) / 3  # who gathers fruit has little else to do than to wait for obstacles
        patience = 2 * limits.patience
    return Policy(0.0 if late or near or state.since >= patience else share, options)


def _closing(state: State, goal: Goal, limits: Limits) -> Options:
    end: Event = ("end_" + state.mood(), (0, None))
    if state.goal is not None or state.revealed:
        return [(1.0, end)]
    told, silent = limits.revealed, 1 - limits.revealed
    options = [(silent, end), (told, ("reveal_" + goal[0], (0, *_wanted(state, goal))))]
    return [option for option in options if option[0]]


def _wanted(state: State, goal: Goal) -> tuple[int, ...]:
    if goal[0] == "bring":
        return (goal[1], goal[2])
    return (state.secret,) if goal[0] == "find" else goal[1:]


def wanting(state: State, goal: Goal) -> Event:
    """The event that tells a goal at the beginning."""
    return ("want_" + goal[0], (0, *_wanted(state, goal)))


def _target(state: State, goal: Goal) -> tuple[int, int]:
    """The thing and the person that are sought now; -1 for none."""
    if goal[0] == "have":
        return goal[1], -1
    if goal[0] == "bring":
        return (-1, goal[2]) if state.location[goal[1]] == -1 else (goal[1], -1)
    return (-1, goal[1]) if goal[0] == "meet" else (-1, -1)


def _missed(state: State, goal: Goal) -> Options:
    thing, person = _target(state, goal)
    if thing in state.missed:
        event: Event = ("miss", (0, thing)) if state.goal else ("miss_unnamed", (0,))
    elif person >= 0 and ("person", person) in state.missed:
        event = ("miss_person", (0, person)) if state.goal else ("miss_unnamed", (0,))
    else:
        return []
    return [(1.0, event)]


# The steps of a plan.


def _go(state: State, place: int, seek: Event) -> Options:
    go: Event = ("go", (0, place))
    return [(1.0, go), (2.0, seek)] if state.goal else [(1.0, go)]


def _reach_thing(state: State, thing: int) -> Options:
    belief, here = state.believed[0][thing], state.at[0]
    if belief == here:
        return [(1.0, ("take", (0, thing)))]
    if belief == UNKNOWN:
        return _inquire(state, "ask", thing)
    if belief >= 0:
        return _go(state, belief, ("seek", (0, thing)))
    holder = -1 - belief
    if state.at[holder] == here:
        return [(1.0, ("beg", (0, holder, thing)))]
    return _reach_person(state, holder)


def _reach_person(state: State, person: int) -> Options:
    belief = state.believed_at[0][person]
    if belief == UNKNOWN:
        return _inquire(state, "ask_person", person)
    return _go(state, belief, ("visit", (0, person)))


def _inquire(state: State, what: str, sought: int) -> Options:
    """Ask those who are here and were not asked lately, or look at the places not seen for longest.

    Nobody is asked who would name a place from which the protagonist has just come.
    """
    recent, just_left = state.sentence - 8, state.sentence - 6
    believed = state.believed if what == "ask" else state.believed_at
    options: Options = [
        (2.0, (what, (0, q, sought)))
        for q in state.here(0)
        if (what != "ask_person" or q != sought)
        and state.asked.get((what, q, sought), -100) < recent
        and not (0 <= believed[q][sought] < UNKNOWN and state.visited[believed[q][sought]] > just_left)
    ]
    return options + _explore(state)


def _explore(state: State, avoid: int = -1) -> Options:
    here, visited = state.at[0], state.visited
    away = [h for h in range(len(visited)) if h not in (here, avoid)]
    longest = min(visited[h] for h in away)
    places = [h for h in away if visited[h] == longest]
    return [(1.0 / len(places), ("go", (0, h))) for h in places]


def _part(state: State, person: int, limits: Limits, unwanted: int = -1) -> Options:
    """Who has put the protagonist off leaves, but something else happens first, unless nothing else ever does."""
    return [] if state.since < STAY and limits.happenings else leave(state, person, unwanted)


_GIVE_UP: Event = ("give_up", (0,))


def _next(state: State, goal: Goal, fate: str, limits: Limits, late: bool) -> Options:
    """One step of the plan, an obstacle, or help."""
    early = state.sentence < limits.earliest
    if not early and fate == "sad":
        steps, end = _NEXT[goal[0]](state, goal, "early", limits), [(1.0, _GIVE_UP)]
        if goal[0] == "gather" and state.lost != state.sentence - 1 - state.since:  # only a loss takes the heart away
            if state.count[0] > 1:
                return mixed(1.0 if late else 0.5, spoil(state), steps)
            return end if late else steps
        if within_reach(state, goal):
            return steps
        if late:
            wanted = person_wanted_here(state, goal)
            return leave(state, wanted, goal[2] if goal[0] == "meet" else -1) if wanted else end
        return mixed(0.5, end, steps) if state.tries >= 2 and not beside_the_wanted(state, goal) else steps
    return _NEXT[goal[0]](state, goal, "early" if early else fate, limits)


def _next_have(state: State, goal: Goal, fate: str, limits: Limits, recipient: int = 0) -> Options:
    thing = goal[1]
    steps = _reach_thing(state, thing)
    step, args = steps[0][1]
    where = state.location[thing]
    if fate == "angry" and state.sentence >= limits.latest and step not in ("take", "beg"):
        return _confront(state, "ask", (thing,))
    if state.sentence >= limits.latest and step not in ("take", "beg"):
        steps = [(1.0, ("luck", (0, thing)) if where >= 0 else ("go", (-1 - where, state.at[0])))]
    if step == "take":
        if fate == "early":
            return hide_away(state, thing, recipient)
        if fate == "angry" and not recipient:
            return [(1.0, ("grab", (q, 0, thing))) for q in others(state)]
    asked = state.tries or step == "take" or state.sentence >= limits.latest
    if fate == "grateful" and not state.helped and asked:
        bringers = [-1 - where] if where < -1 else others(state, recipient)
        rest = [] if step == "take" or state.sentence >= limits.latest else steps
        return mixed(0.6, [(1.0, ("bring", (q, 0, thing))) for q in bringers], rest)
    if fate == "early":
        if step == "beg" and state.asked.get(("beg", *args[1:]), -100) > state.sentence - 5:
            return _part(state, args[1], limits)
        if 0 <= where != state.at[0] and state.moved[thing] < state.sentence - REST - STAY:
            return mixed(limits.obstacles, hide_away(state, thing, recipient), steps)
    return steps


def _next_bring(state: State, goal: Goal, fate: str, limits: Limits) -> Options:
    _, thing, person = goal
    if state.location[thing] != -1:
        return _next_have(state, goal, fate, limits, person)
    offer: Event = ("offer", (0, person, thing))
    return _next_person(
        state, person, offer, fate, limits, [("aid_wrap", (q, 0, thing)) for q in others(state, person)]
    )


def _next_meet(state: State, goal: Goal, fate: str, limits: Limits) -> Options:
    _, person, place = goal
    helps: list[Event] = [("aid_pack", (q, 0)) for q in others(state, person)]
    invite: Event = ("invite", (0, person, place))
    return _next_person(state, person, invite, fate, limits, helps)


def _next_person(state: State, person: int, request: Event, fate: str, limits: Limits, helps: list[Event]) -> Options:
    """Find a person and ask for the last thing that is needed."""
    here = state.at[person] == state.at[0]
    if fate == "grateful" and not state.helped:
        late = state.sentence >= limits.latest
        return mixed(0.6, [(1.0, help_) for help_ in helps], [] if here or late else _reach_person(state, person))
    if here:
        name, args = request
        if fate == "early" and state.asked.get((name, *args[1:]), -100) > state.sentence - 5:
            return _part(state, person, limits, args[2] if name == "invite" else -1)
        return [(1.0, request)]
    if state.sentence >= limits.latest:
        return [(1.0, ("go", (person, state.at[0])))]
    steps = _reach_person(state, person)
    settled = state.arrived[person] < state.sentence - STAY
    return mixed(limits.obstacles / 2, leave(state, person), steps) if fate == "early" and settled else steps


def _next_find(state: State, goal: Goal, fate: str, limits: Limits) -> Options:
    here, secret = state.at[0], state.secret
    there = state.location[secret]
    if fate == "angry":
        return _confront(state, "ask", (secret,))
    knowers = [q for q in others(state) if state.believed[q][secret] == there]
    if fate == "grateful" and not state.helped:
        return [(1.0, ("come_tell", (q, 0, secret))) for q in knowers]
    recent = state.sentence - 8
    options: Options = [
        (1.0, ("ask", (0, q, secret))) for q in state.here(0) if state.asked.get(("ask", q, secret), -100) < recent
    ]
    if here not in state.searched and (here != there or fate != "early"):
        return [*options, (2.0, ("search", (0,)) if here != there else ("find", (0, secret)))]
    unsearched = [h for h in range(len(state.places)) if h not in state.searched and h not in (here, there)]
    if fate != "early" and here != there:
        unsearched.append(there)
    if unsearched:
        return options + [(1.0 / len(unsearched), ("go", (0, h))) for h in unsearched]
    if options or (limits.happenings and state.since < limits.patience):
        return options  # who has searched everywhere else waits for a while for what happens
    return _explore(state, there if fate == "early" and len(state.places) > 2 else -1)


def _next_gather(state: State, goal: Goal, fate: str, limits: Limits) -> Options:
    missing, here = goal[1] - state.count[0], state.at[0]
    if here != state.fruit_at:
        return _go_to_fruit(state)
    if fate == "angry":
        if state.count[0] or state.sentence >= limits.latest:
            return _confront(state, "ask_fruit", ())
        return [(1.0, ("pick", (0, k))) for k in (1, 2)]  # who asks for help has done something first
    if fate == "grateful" and not state.helped:
        helpers = state.here(0)
        if helpers:
            return [(1.0, ("ask_fruit", (0, q))) for q in helpers]
        return [(1.0, ("go", (q, here))) for q in others(state)]
    if fate == "early":
        most = min(3, missing - 1)
        if most == 0:
            if state.lost >= state.sentence - REST and state.sentence < limits.latest:
                return []
            return spoil(state)
        return [(most + 1.0 - k, ("pick", (0, k))) for k in range(1, most + 1)]  # the slower, the fewer losses
    return [(1.0, ("pick", (0, k))) for k in range(1, min(3, missing) + 1)]


def _go_to_fruit(state: State) -> Options:
    return [(1.0, ("go", (0, state.fruit_at)))]


def _confront(state: State, what: str, args: tuple[int, ...]) -> Options:
    """Ask somebody who is here and was not asked lately; if nobody is, somebody comes."""
    here, recent = state.here(0), state.sentence - 8
    fresh = [q for q in here if state.asked.get((what, q, *args), -100) < recent]
    away = [q for q in others(state) if q not in here]
    if fresh or not away:
        return [(1.0, (what, (0, q, *args))) for q in fresh or here]
    return [(1.0, ("go", (q, state.at[0]))) for q in away]


_NEXT = {
    "have": _next_have, "bring": _next_bring, "meet": _next_meet, "find": _next_find, "gather": _next_gather,
}  # fmt: skip

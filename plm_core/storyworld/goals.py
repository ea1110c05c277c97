"""What the protagonist may want: the goals that are possible, their probabilities, and when they are fulfilled.

Together with the *fate*, the way in which the story is to end, the goal is the latent of a story. Both are drawn
when everybody has been introduced: the goal from :func:`prior`, the fate from the four with equal probability, which
makes the four classes of mood equally frequent.
"""

from __future__ import annotations

from plm_core.storyworld.state import UNKNOWN, Event, Goal, State

FATES = ("proud", "grateful", "sad", "angry")
"""Reached alone, reached with help, given up, refused: the classes of mood."""

KINDS = ("have", "bring", "meet", "find", "gather")
FRUIT_WANTED = (3, 4, 5, 6)
MOST_PICKED = 3
"""Nobody picks more fruit at once."""


def nearly_met(state: State, goal: Goal) -> bool:
    """Whether one or two obvious steps would meet a goal: nobody sets out for what lies before his or her eyes.

    A thing to have lies where the protagonist stands, or one to bring where its receiver stands; who is to be met is
    with the protagonist; the secret is hidden where he or she stands; or one visit to the tree at hand is enough.
    """
    kind, here = goal[0], state.at[0]
    if kind == "have":
        return state.place_of(goal[1]) == here
    if kind == "bring":
        return state.place_of(goal[1]) == state.at[goal[2]]
    if kind == "meet":
        return state.at[goal[1]] == here
    if kind == "find":
        return state.location[-1] == here
    return here == state.fruit_at and goal[1] <= MOST_PICKED


def prior(state: State) -> dict[Goal, float]:
    """The probability of every goal in the state after the introduction: equal for the kinds, equal within each.

    Goals that are nearly met have none; a kind without any other goal is left out.
    """
    people, things = range(1, len(state.people)), range(len(state.things) - 1)
    by_kind: dict[str, list[Goal]] = {
        "have": [("have", thing) for thing in things],
        "bring": [("bring", thing, person) for thing in things for person in people],
        "meet": [("meet", person, place) for person in people for place in range(len(state.places))],
        "find": [("find",)],
        "gather": [("gather", number) for number in FRUIT_WANTED],
    }
    far = [kept for goals in by_kind.values() if (kept := [goal for goal in goals if not nearly_met(state, goal)])]
    return {goal: 1 / len(far) / len(goals) for goals in far for goal in goals}


def fulfilled(state: State, goal: Goal) -> bool:
    """Whether a goal is reached."""
    kind = goal[0]
    if kind == "have":
        return state.location[goal[1]] == -1
    if kind == "find":
        return state.believed[0][-1] == state.location[-1]
    if kind == "gather":
        return state.count[0] >= goal[1]
    return state.done == goal


def within_reach(state: State, goal: Goal) -> bool:
    """Whether the next step would meet the goal, so that nobody would give up before it was tried in vain."""
    kind, here, recent = goal[0], state.at[0], state.sentence - 5
    if kind in ("have", "bring") and state.location[goal[1]] == here:
        return True
    if kind == "bring" and state.location[goal[1]] == -1:
        return state.at[goal[2]] == here and state.asked.get(("offer", goal[2], goal[1]), -100) < recent
    return kind == "meet" and state.at[goal[1]] == here and state.asked.get(("invite", *goal[1:]), -100) < recent


def at_hand(state: State, goal: Goal) -> bool:
    """Whether the thing to have or to bring lies where the protagonist stands."""
    return goal[0] in ("have", "bring") and state.location[goal[1]] == state.at[0]


def beside_the_wanted(state: State, goal: Goal) -> bool:
    """Whether the thing or the person that is wanted now is where the protagonist stands."""
    hidden = goal[0] == "find" and state.location[-1] == state.at[0]
    return hidden or at_hand(state, goal) or person_wanted_here(state, goal) > 0


def person_wanted_here(state: State, goal: Goal) -> int:
    """Who is with the protagonist and is to be met or given the thing, or holds the thing that is wanted; else 0."""
    person = 0
    if goal[0] == "meet":
        person = goal[1]
    elif goal[0] in ("have", "bring") and state.location[goal[1]] < 0:
        holder = -1 - state.location[goal[1]]
        person = goal[2] if holder == 0 and goal[0] == "bring" else holder
    return person if state.at[person] == state.at[0] else 0


def forbidden(state: State, goal: Goal) -> tuple[Event, ...]:
    """What cannot happen by chance while the protagonist has a goal: what would make it pointless or senseless.

    Who is to be brought a thing does not take it or ask others for it, and the protagonist does not give it away.
    Nobody puts down the thing in question, and nobody brings it to where the protagonist is. Who was asked to a place
    and put it off does not stroll there alone. While the next step is clear, the protagonist does not stroll about.
    Other people may always go somewhere, so that something can always happen.
    """
    kind, clear = goal[0], True
    never: list[Event] = []
    if kind in ("have", "bring") and state.location[goal[1]] < 0:
        never.append(("drop", (-1 - state.location[goal[1]], goal[1])))
    elif kind in ("have", "bring"):
        here = state.at[0]
        never += [("carry", (goal[1], here)), *(("stow", (q, goal[1], here)) for q in range(1, len(state.people)))]
    if kind == "have":
        clear = state.believed[0][goal[1]] != UNKNOWN
    elif kind == "bring":
        _, thing, person = goal
        clear = state.believed[0][thing] != UNKNOWN
        holder = -1 - state.location[thing]
        never += [("take", (person, thing)), ("seek", (person, thing)), ("beg", (person, holder, thing))]
        if holder == 0:
            never += [("beg", (q, 0, thing)) for q in range(1, len(state.people)) if q != person]
        else:
            never += [("stow", (person, thing, h)) for h in range(len(state.places)) if h != state.at[0]]
    elif kind == "meet":
        clear = state.believed_at[0][goal[1]] != UNKNOWN
        if ("invite", *goal[1:]) in state.asked and len(state.places) > 2:
            never.append(("go", goal[1:]))
    elif kind == "find":
        clear = state.at[0] not in state.searched
    if clear:
        never += [("go", (0, h)) for h in range(len(state.places)) if h != state.at[0]]
    return tuple(never)

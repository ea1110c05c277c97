"""What the protagonist may want: the goals that are possible, their probabilities, and when they are fulfilled.

Together with the *fate*, the way in which the story is to end, the goal is the latent of a story. Both are drawn
when everybody has been introduced: the goal from :func:`prior`, the fate from the four with equal probability, which
makes the four classes of mood equally frequent.
"""

from __future__ import annotations

from plm_core.storyworld.state import Goal, State

FATES = ("proud", "grateful", "sad", "angry")
"""Reached alone, reached with help, given up, refused: the classes of mood."""

KINDS = ("have", "bring", "meet", "find", "gather")
FRUIT_WANTED = (3, 4, 5, 6)


def prior(state: State) -> dict[Goal, float]:
    """The probability of every goal in the state after the introduction: equal for the kinds, equal within each."""
    people, things = range(1, len(state.people)), range(len(state.things) - 1)
    by_kind: dict[str, list[Goal]] = {
        "have": [("have", thing) for thing in things],
        "bring": [("bring", thing, person) for thing in things for person in people],
        "meet": [("meet", person, place) for person in people for place in range(len(state.places))],
        "find": [("find",)],
        "gather": [("gather", number) for number in FRUIT_WANTED],
    }
    return {goal: 1 / len(KINDS) / len(goals) for goals in by_kind.values() for goal in goals}


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

"""What people answer to the protagonist's requests: it depends on what they believe, and on the fate of the story."""

from __future__ import annotations

from plm_core.storyworld.happenings import Options, truthful
from plm_core.storyworld.state import UNKNOWN, Event, Goal, State

_PUTTING_OFF = {
    "proud": (("later", 2.0), ("later_kind", 1.0), ("later_rude", 1.0)),
    "grateful": (("later", 1.0), ("later_kind", 3.0)),
    "sad": (("later", 3.0), ("later_kind", 1.0), ("later_rude", 0.5)),
    "angry": (("later", 1.0), ("later_kind", 0.2), ("later_rude", 3.0)),
}
"""How a request is put off: the friendlier, the more likely there will be help; this is the first sign of the fate.

Nobody who will help is rude first.
"""


def respond(state: State, goal: Goal, fate: str, early: bool, late: bool) -> Options:
    """The answers to the protagonist's pending request.

    Args:
        state: the state; something is pending.
        goal, fate: the latent.
        early: whether the story may not end yet.
        late: whether it must come to its end.
    """
    assert state.pending is not None
    what, _, q, *rest = state.pending
    if what == "ask_fruit":
        if fate == "angry":
            return [(1.0, ("deny_fruit", (q, 0)))]
        return [(1.0, ("give_fruit", (q, 0, goal[1] - state.count[0])))]  # all that is missing: it hangs too high
    if what in ("ask", "ask_person"):
        if fate == "angry" and what == "ask" and late:
            return [(1.0, ("deny", (q, 0)))]
        reply = _reply(state, what, q, rest[0], fate, early)
        if reply[0] == "later":
            return [(weight, (kind, (q, 0))) for kind, weight in _PUTTING_OFF[fate]]
        return [(1.0, reply)]
    if early or fate == "sad" or (fate == "grateful" and not state.helped and what != "beg"):
        return [(weight, (kind, (q, 0))) for kind, weight in _PUTTING_OFF[fate]]
    refusals = {"beg": "refuse", "offer": "decline", "invite": "stay_away"}
    if fate == "angry" and (goal[0] != "bring" or what == "offer"):
        return [(1.0, (refusals[what], (q, 0, rest[0])))]
    if what == "beg":
        return [(1.0, ("hand", (q, 0, rest[0])) if fate == "grateful" else ("win", (0, q, rest[0])))]
    return [(1.0, ("accept", (q, 0, rest[0])) if what == "offer" else ("together", (0, q, rest[0])))]


def _reply(state: State, what: str, q: int, sought: int, fate: str, early: bool) -> Event:
    """Who knows says so if the story is to end with help or in vain; who is wrong says it always."""
    belief = state.believed[q][sought] if what == "ask" else state.believed_at[q][sought]
    if what == "ask" and sought == state.secret:
        if fate == "angry" and not early:
            return ("deny", (q, 0))
        if belief == UNKNOWN:
            return ("unknown", (q, 0))
        if early or fate == "sad":
            return ("later", (q, 0))
        return ("answer", (q, 0, sought)) if fate == "grateful" else ("wont", (q, 0))
    answer = truthful(state, what, q, 0, sought)
    right = belief == (state.location[sought] if what == "ask" else state.at[sought])
    return ("wont", (q, 0)) if right and answer[0] != "unknown" and fate in ("proud", "angry") else answer

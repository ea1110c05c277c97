"""What stands in the way of the protagonist: things that are taken away, people who leave, fruit that is lost."""

from __future__ import annotations

from plm_core.storyworld.happenings import MOST_CARRIES, REST, Options
from plm_core.storyworld.state import State


def leave(state: State, person: int, unwanted: int = -1) -> Options:
    """Somebody goes elsewhere, but not to an unwanted place unless it is the only other one."""
    elsewhere = [h for h in range(len(state.places)) if h != state.at[person]]
    return [(1.0, ("go", (person, h))) for h in elsewhere if h != unwanted or len(elsewhere) == 1]


def hide_away(state: State, thing: int, besides: int) -> Options:
    """Somebody takes a lying thing, or an animal carries it off; where neither is possible somebody comes for it.

    Before the eyes of the protagonist who comes takes it at once; elsewhere he or she is only near it then.
    """
    where = state.location[thing]
    takers = [q for q, at in enumerate(state.at) if at == where and q not in (0, besides)]
    options: Options = [(1.0 / len(takers), ("take", (q, thing))) for q in takers]
    away = [h for h in range(len(state.places)) if h not in (where, state.at[0], state.at[besides])]
    if state.moved[thing] < state.sentence - REST:
        options += [(2.0 / len(takers) / len(away), ("stow", (q, thing, h))) for q in takers for h in away]
    if state.carries < MOST_CARRIES and "l" in state.things[thing].tags:
        options += [(0.5 / len(away), ("carry", (thing, h))) for h in away]
    if not options and where == state.at[0]:
        return [(1.0, ("grab", (q, 0, thing))) for q in others(state, besides)]
    return options or [(1.0, ("go", (q, where))) for q in others(state, besides)]


def others(state: State, besides: int = 0) -> list[int]:
    """Everybody but the protagonist and one more."""
    return [q for q in range(1, len(state.people)) if q != besides]


def mixed(share: float, some: Options, rest: Options) -> Options:
    """Two lists of options, of which the first has the given share."""
    if not some or not rest or not share:
        return rest or some
    one, other = sum(w for w, _ in some), sum(w for w, _ in rest)
    return [(share * w / one, e) for w, e in some] + [((1 - share) * w / other, e) for w, e in rest]


def spoil(state: State) -> Options:
    """The protagonist loses fruit, or gives some to somebody who has none."""
    some = [k for k in (1, 2) if k < state.count[0]]
    gifts: Options = [(1.0, ("give_away", (0, q, k))) for q in state.here(0) if not state.count[q] for k in some]
    return [(1.0, ("spoil", (0, k))) for k in some] + gifts

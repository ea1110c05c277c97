"""The introduction of a story: its next event, whatever the latents, and the lexicons from which it draws entries."""

from __future__ import annotations

from plm_core.storyworld.events import KINDS
from plm_core.storyworld.lexicon import Entry, Lexicon, Lexicons
from plm_core.storyworld.openings import compositions
from plm_core.storyworld.state import Event, State


class Introduction:
    """Introduces people at their places, what grows, what lies about, and what is hidden.

    Args:
        lexicons: the lexicons of the world.
        people: number of people.
        things: number of things beside the hidden one.
    """

    def __init__(self, lexicons: Lexicons, people: int, things: int):
        self._lexicons, self._people, self._things = lexicons, people, things
        self._groups = compositions(people)

    def next(self, state: State) -> list[tuple[float, Event]]:
        """The probabilities of the next event before the story begins; open arguments are None."""
        if state.setting is None:
            share = 1 / len(self._groups)
            return [
                (share, ("open_" + "_".join(map(str, groups)), (None,) * (1 + len(groups) + self._people)))
                for groups in self._groups
            ]
        if state.fruit is None:
            return self._growing(state)
        missing = self._things - len(state.things)
        if missing >= 3:
            pairs = [(g, h) for g in self._free(state) for h in self._free(state) if g != h]
            return [(1 / len(pairs), ("lie_two", (None, g, None, h))) for g, h in pairs]
        if missing == 2:
            free = self._free(state)
            return [(1 / len(free), ("lie", (None, g))) for g in free]
        places, knowers = range(len(state.places)), range(1, self._people)
        hides = [(g, h, q) for g in self._free(state) for h in places if h != g for q in knowers]
        return [(1 / len(hides), ("hide", (None, g, None, h, q))) for g, h, q in hides]

    def _growing(self, state: State) -> list[tuple[float, Event]]:
        assert state.setting is not None
        free = self._free(state)
        if self._lexicons.places(state.setting, "g").weight("en", (), state.used):
            return [(1 / len(free), ("grow_new", (None, None, None, g))) for g in free]
        growing = [number for number, place in enumerate(state.places) if "g" in place.tags]
        pairs = [(h, g) for h in growing for g in free if g != h] or [(h, g) for h in growing for g in free]
        return [(1 / len(pairs), ("grow_old", (None, h, None, g))) for h, g in pairs]

    def _free(self, state: State) -> list[int]:
        """The places where another thing may lie: those for which the lexicon still has one."""
        assert state.setting is not None
        things = [self._lexicons.things(state.setting, place) for place in state.places]
        free = [i for i, lexicon in enumerate(things) if lexicon.weight("en", (), state.used)]
        if not free:
            raise ValueError("there are not enough things in the lexicon for this world: ask for fewer things")
        return free

    def lexicon_of(self, state: State, event: Event, index: int) -> Lexicon:
        """The lexicon from which an open argument of an event is drawn."""
        name, args = event
        slot = KINDS[name].slots[index]
        if slot == "x":
            return self._lexicons.settings
        if slot[0] == "m":
            return self._lexicons.moods[name[4:]]
        if slot[0] == "f":
            return self._lexicons.fruits
        setting = state.setting or args[0]
        assert isinstance(setting, Entry)
        if slot[0] == "p":
            return self._lexicons.people(setting)
        if slot[0] == "h":
            return self._lexicons.places(setting, "g" if name == "grow_new" else "")
        place = state.places[args[index + 1]]
        return self._lexicons.things(setting, place, secret=slot == "s")

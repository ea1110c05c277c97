"""The state of a story: where everybody and everything is, and where each person believes everything to be.

People, places and things are numbered in the order in which the story names them; person 0 is the protagonist.
The last thing is the *secret*: it is hidden, nobody carries it about, and only a search or a word from somebody
who knows reveals it.

The location of a thing is one integer: the number of a place, or ``-1 - person`` when that person holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from plm_core.storyworld.lexicon import Entry

Args = tuple[Any, ...]
Event = tuple[str, Args]
"""What a sentence tells: the name of a kind of event, and the numbers of those who take part in it."""

Goal = tuple[Any, ...]
"""``("have", thing)``, ``("bring", thing, person)``, ``("meet", person, place)``, ``("find",)``, ``("gather", n)``."""

UNKNOWN = 1000
"""The believed location of what a person has no idea about."""

LONG_AGO = -99


@dataclass(slots=True)
class State:
    """Everything that the sentences so far have settled, for the world and for every mind in it.

    Attributes:
        people, places, things: the entries named so far; the secret is the last of the things.
        at: the place of each person.
        location: the location of each thing.
        believed: for each person the believed location of each thing, ``UNKNOWN`` where there is no belief.
        believed_at: for each person the believed place of each person.
        count: how many fruit each person has.
        seen: the sentence that mentioned each person last.
        visited: the sentence in which the protagonist came to or left each place last.
        searched: the places that the protagonist has searched.
        asked: the sentence of the protagonist's last request, by what was asked of whom.
        goal: the goal of the protagonist where it was told.
        pending: what the next sentence answers or what follows from the last one: ``(what, who, ...)``.
        missed: things, and people as ``("person", number)``, that the protagonist has just failed to find.
        done: the goal that the last events fulfilled, where it does not follow from the rest of the state.
        over: ``"sad"`` or ``"angry"`` once the protagonist has given up or was refused.
        since: number of sentences since the protagonist did something.
        carries: how often an animal has carried something away.
        moved: the sentence that changed the location of each thing last.
        placed: who put each thing down where it lies; -1 where nobody did in the story.
        arrived: the sentence in which each person came to the place where he or she is.
        thoughts: how often somebody has thought of a thing elsewhere.
        thought: the sentence in which somebody did so last.
        thinker: who that was.
        lost: the sentence in which the protagonist lost fruit last.
        tries: how often the protagonist has asked, searched, or looked for somebody or something in vain.
        rained: whether it has rained.
        repeated: whether the protagonist's last request was made before.
        been: the people with the places that they have left.
        last: the kind of the last event.
    """

    setting: Entry | None = None
    fruit: Entry | None = None
    fruit_at: int = 0
    people: list[Entry] = field(default_factory=list)
    places: list[Entry] = field(default_factory=list)
    things: list[Entry] = field(default_factory=list)
    used: tuple[Entry, ...] = ()
    at: list[int] = field(default_factory=list)
    location: list[int] = field(default_factory=list)
    believed: list[list[int]] = field(default_factory=list)
    believed_at: list[list[int]] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    visited: list[int] = field(default_factory=list)
    searched: set[int] = field(default_factory=set)
    asked: dict[tuple[Any, ...], int] = field(default_factory=dict)
    opened: bool = False
    aim: bool = False
    goal: Goal | None = None
    pending: tuple[Any, ...] | None = None
    missed: tuple[Any, ...] = ()
    done: Goal | None = None
    helped: bool = False
    over: str = ""
    revealed: bool = False
    closed: bool = False
    sentence: int = 0
    since: int = 0
    carries: int = 0
    moved: list[int] = field(default_factory=list)
    placed: list[int] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    thoughts: int = 0
    thought: int = LONG_AGO
    thinker: int = -1
    lost: int = LONG_AGO
    tries: int = 0
    rained: bool = False
    repeated: bool = False
    been: set[tuple[int, int]] = field(default_factory=set)
    last: str = ""

    def copy(self) -> State:
        """An independent copy; lexicon entries are shared, for they never change."""
        return State(
            self.setting, self.fruit, self.fruit_at, list(self.people), list(self.places), list(self.things), self.used,
            list(self.at), list(self.location), [list(b) for b in self.believed], [list(b) for b in self.believed_at],
            list(self.count), list(self.seen), list(self.visited), set(self.searched), dict(self.asked), self.opened,
            self.aim, self.goal, self.pending, self.missed, self.done, self.helped, self.over, self.revealed,
            self.closed, self.sentence, self.since, self.carries,
            list(self.moved), list(self.placed), list(self.arrived), self.thoughts, self.thought,
            self.thinker, self.lost, self.tries, self.rained, self.repeated, set(self.been), self.last,
        )  # fmt: skip

    @property
    def secret(self) -> int:
        """The number of the hidden thing."""
        return len(self.things) - 1

    def place_of(self, thing: int) -> int:
        """The place where a thing is, in somebody's hands or not."""
        where = self.location[thing]
        return where if where >= 0 else self.at[-1 - where]

    def believed_place(self, person: int, thing: int) -> int:
        """The place where a person believes a thing to be; ``UNKNOWN`` without a belief."""
        where = self.believed[person][thing]
        return where if where >= 0 else self.believed_at[person][-1 - where]

    def here(self, person: int) -> list[int]:
        """The other people at a person's place."""
        place = self.at[person]
        return [other for other, at in enumerate(self.at) if at == place and other != person]

    def mood(self) -> str:
        """The class of mood in which a story ends whose goal is reached, given up or refused now."""
        return self.over or ("grateful" if self.helped else "proud")

    def may_say_pronoun(self, person: int) -> bool:
        """Whether a pronoun can only mean this person.

        It can where the last sentence mentions the person, and the last two nobody else of the same gender.
        """
        seen, recent = self.seen, self.sentence - 2
        if seen[person] <= recent:
            return False
        gender = self.people[person].tags
        for other, entry in enumerate(self.people):
            if seen[other] >= recent and other != person and entry.tags == gender:
                return False
        return True

    def look(self, person: int) -> None:
        """A person sees who and what is at the place, and what is not there although it was believed to be."""
        place, location, at = self.at[person], self.location, self.at
        believed, believed_at = self.believed[person], self.believed_at[person]
        for other, where in enumerate(at):
            if where == place:
                believed_at[other] = place
            elif believed_at[other] == place:
                believed_at[other] = UNKNOWN
        for thing in range(len(location)):
            where = location[thing]
            if thing == len(location) - 1 and where >= 0:
                continue  # the secret is not seen
            if where == place or (where < 0 and at[-1 - where] == place):
                believed[thing] = where
            else:
                belief = believed[thing]
                if belief == place or (belief < 0 and at[-1 - belief] == place):
                    believed[thing] = UNKNOWN

    def travel(self, person: int, place: int) -> None:
        """A person goes to a place: those left behind know where to, those there see who comes with what."""
        origin, believed_at = self.at[person], self.believed_at
        if person == 0:
            missed: list[Any] = [
                thing for thing, belief in enumerate(self.believed[0][:-1])
                if belief == place != self.place_of(thing)
            ]  # fmt: skip
            missed += [("person", q) for q, belief in enumerate(believed_at[0]) if belief == place != self.at[q]]
            self.missed = tuple(missed)
            self.visited[origin] = self.visited[place] = self.sentence
        self.at[person], self.arrived[person] = place, self.sentence
        self.been.add((person, origin))
        for other, at in enumerate(self.at):
            if at == origin:
                believed_at[other][person] = place
            elif at == place and other != person:
                believed_at[other][person] = place
                believed, mine = self.believed[other], -1 - person
                for thing, where in enumerate(self.location):
                    if where == mine:
                        believed[thing] = mine
                    elif believed[thing] == mine:
                        believed[thing] = UNKNOWN
        self.look(person)

    def put(self, thing: int, location: int, place: int) -> None:
        """A thing changes its location before the eyes of everybody at a place."""
        self.location[thing], self.moved[thing] = location, self.sentence
        for person, at in enumerate(self.at):
            if at == place:
                self.believed[person][thing] = location

"""The state of a story: who is where, who holds what, how many, how they feel, and who was mentioned last."""

from __future__ import annotations

from dataclasses import dataclass, field

from plm_core.storyworld_v1.lexicon import Entry


@dataclass(slots=True)
class Person:
    """A person of the story; ``at`` is the number of a place, ``seen`` the sentence that mentioned the person last."""

    entry: Entry
    at: int
    seen: int
    fruit: Entry | None = None
    count: int = 0
    mood: Entry | None = None
    job: Entry | None = None
    town: Entry | None = None


@dataclass(slots=True)
class Thing:
    """A thing of the story: it lies at the place number ``at``, or is held by the person number ``holder``."""

    entry: Entry
    at: int
    holder: int | None = None
    quality: Entry | None = None


@dataclass(slots=True)
class State:
    """Everything that the text so far has settled. People, places and things are numbered as they come up.

    Attributes:
        wanted: the thing that the hero, person 0, wants.
        cause: what has just happened and may make somebody glad, sad or angry: a kind of cause and numbers.
        recent: for each gender the person that a pronoun means.
        sentence: number of sentences told.
        opened: whether the cast is complete and events may happen.
        asked: whether the last sentence was a question.
        closed: whether the last sentence ended the story.
        hour: the time of day, from morning (0) to night (4); None until it is told.
        bonds: who is what to whom: pairs of people, each with an entry such as ``cousin``.
    """

    people: list[Person] = field(default_factory=list)
    places: list[Entry] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    wanted: int | None = None
    weather: Entry | None = None
    cause: tuple[str, ...] | tuple[str, int] | tuple[str, int, int, int] = ("",)
    recent: dict[str, int] = field(default_factory=dict)
    sentence: int = 0
    opened: bool = False
    asked: bool = False
    closed: bool = False
    hour: int | None = None
    bonds: list[tuple[int, int, Entry]] = field(default_factory=list)

    def copy(self) -> State:
        """An independent copy; entries of lexicons are shared, for they never change."""
        people = [Person(p.entry, p.at, p.seen, p.fruit, p.count, p.mood, p.job, p.town) for p in self.people]
        things = [Thing(t.entry, t.at, t.holder, t.quality) for t in self.things]
        return State(
            people, list(self.places), things, set(self.used), self.wanted, self.weather, self.cause,
            dict(self.recent), self.sentence, self.opened, self.asked, self.closed, self.hour, list(self.bonds),
        )  # fmt: skip

    def place_of(self, thing: int) -> int:
        """The number of the place where a thing is, in somebody's hands or not."""
        it = self.things[thing]
        return it.at if it.holder is None else self.people[it.holder].at

    def may_say_pronoun(self, person: int) -> bool:
        """Whether a pronoun may stand for a person.

        A pronoun means the person of its gender who was mentioned last (of two in one sentence: its subject).
        It is used only while that mention lies in one of the last two sentences.
        """
        who = self.people[person]
        return self.recent.get(who.entry.gender) == person and self.sentence - who.seen <= 2

    def mention(self, person: int) -> None:
        """Note that the present sentence mentions a person."""
        who = self.people[person]
        who.seen = self.sentence
        self.recent[who.entry.gender] = person

    def meet(self, entry: Entry, place: int) -> None:
        """A new person, at a known place, enters the story."""
        self.used.add(entry.key)
        self.people.append(Person(entry, place, self.sentence))
        self.mention(len(self.people) - 1)

    def discover(self, entry: Entry) -> int:
        """A new place comes up; returns its number."""
        self.used.add(entry.key)
        self.places.append(entry)
        return len(self.places) - 1

    def put(self, entry: Entry, place: int) -> None:
        """A new thing lies at a known place."""
        self.used.add(entry.key)
        self.things.append(Thing(entry, place))

    def facts(self) -> dict[tuple[str, int], object]:
        """What is true now, by the name of the fact and the number that it is about."""
        found: dict[tuple[str, int], object] = {("weather", 0): self.weather, ("want", 0): self.wanted}
        found["hour", 0] = self.hour
        for number, person in enumerate(self.people):
            found["at", number] = person.at
            found["count", number] = person.count
            found["mood", number] = person.mood
        for number, thing in enumerate(self.things):
            found["holder", number] = thing.holder
            found["lies", number] = thing.at
            found["quality", number] = thing.quality
        return found

"""Compiled patterns: lines of words and steps, where a step says one word that depends on the state or the event."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from plm_core.storyworld_v1 import words, words_full
from plm_core.storyworld_v1.events import Kind, Limits, Values
from plm_core.storyworld_v1.lexicon import Entry, Lexicon
from plm_core.storyworld_v1.state import State

Fact = tuple[str, int]
"""The name of a fact and the number of the person, thing or place that it is about."""

PRONOUN_WEIGHT, NAME_WEIGHT = 2, 1
"""How often a subject is a pronoun rather than a name, wherever a pronoun is allowed."""


@dataclass(frozen=True, eq=False)
class Step:
    """One word of a pattern that is not always the same.

    Attributes:
        slot: index of the slot in the event's values; -1 if the word depends on the state alone.
        form: which of the slot's words it is.
        say: gives the word for a state and an event's values.
        facts: gives the facts that the word tells. Facts known before the sentence may determine the word.
        tag: ``"name"``, ``"place"`` or ``"thing"`` for words of a labelled span, else empty.
        open: whether the slot is an open one.
        source: the lexicon and the form in it that the word comes from; ``("numbers", "")`` for counts.
    """

    slot: int
    form: str
    say: Callable[[State, Values], str]
    facts: Callable[[State, Values], list[Fact]]
    tag: str
    open: bool
    source: tuple[str, str]

    def possible_words(self, lexicons: dict[str, Lexicon], language: str, limits: Limits) -> set[str]:
        """All words that the step may say in some state, for the vocabulary."""
        name, form = self.source
        if name == "numbers":
            return set(NUMBER_WORDS[language][1 : limits.count + 1])
        if name == "hours":
            return set(HOUR_WORDS[language])
        if name == "fruits" and form == "*":
            form = "one" if language == "en" else self.form
        groups = [lexicon for other, lexicon in lexicons.items() if other == name or other.endswith("_" + name)]
        return {word for lexicon in groups for word in lexicon.words(language, form)}


class Pattern(NamedTuple):
    """One way to tell a kind of event: its weight, its words and steps, and whether its subject is a pronoun."""

    weight: int
    steps: tuple[str | Step, ...]
    pronoun: bool


@dataclass(frozen=True, eq=False)
class Choices:
    """The patterns of a kind, where its subject must be named and where a pronoun is allowed as well."""

    subject: int
    named: list[Pattern]
    either: list[Pattern]

    def allowed(self, state: State, values: Values) -> list[Pattern]:
        """The patterns among which one is chosen, by weight, for an event in a state."""
        if self.subject >= 0 and state.may_say_pronoun(values[self.subject]):
            return self.either
        return self.named


class _Form(NamedTuple):
    """A form that is not simply one of the slot's own entry: where its entry lies and which fact it tells."""

    entry: Callable[[State, int], Entry]
    field: dict[str, str]
    facts: Callable[[State, int], list[Fact]]
    lexicon: str
    tag: str = ""


def _where(state: State, thing: int) -> list[Fact]:
    holder = state.things[thing].holder
    return [("lies", thing)] if holder is None else [("holder", thing), ("at", holder)]


def _known(entry: Entry | None) -> Entry:
    assert entry is not None, "the kind's bindings promise that this is known"
    return entry


def _same(field: str) -> dict[str, str]:
    return {"en": field, "zh": field}


_PREPOSITION = {"en": "prep", "zh": "loc"}
_FORMS: dict[tuple[str, str], _Form] = {
    ("person", "at"): _Form(
        lambda s, i: s.places[s.people[i].at], _same("noun"), lambda s, i: [("at", i)], "places", "place"
    ),
    ("person", "in"): _Form(lambda s, i: s.places[s.people[i].at], _PREPOSITION, lambda s, i: [("at", i)], "places"),
    ("person", "fruits"): _Form(
        lambda s, i: _known(s.people[i].fruit), {"en": "many", "zh": "noun"}, lambda s, i: [("fruit", i)], "fruits"
    ),
    ("person", "measure"): _Form(
        lambda s, i: _known(s.people[i].fruit), _same("measure"), lambda s, i: [("fruit", i)], "fruits"
    ),
    ("person", "mood"): _Form(
        lambda s, i: _known(s.people[i].mood), _same("adj"), lambda s, i: [("mood", i)], "moods"
    ),
    ("person", "job"): _Form(
        lambda s, i: _known(s.people[i].job), _same("noun"), lambda s, i: [("job", i)], "jobs"
    ),
    ("person", "job_art"): _Form(lambda s, i: _known(s.people[i].job), _same("art"), lambda s, i: [("job", i)], "jobs"),
    ("person", "town"): _Form(
        lambda s, i: _known(s.people[i].town), _same("name"), lambda s, i: [("town", i)], "towns", "place"
    ),
    ("bond", "noun"): _Form(lambda s, i: s.bonds[i][2], _same("noun"), lambda s, i: [("bond", i)], "relations"),
    ("thing", "colour"): _Form(
        lambda s, i: s.things[i].entry, _same("colour"), lambda s, i: [("colour", i)], "things", "thing"
    ),
    ("thing", "at"): _Form(lambda s, i: s.places[s.place_of(i)], _same("noun"), _where, "places", "place"),
    ("thing", "in"): _Form(lambda s, i: s.places[s.place_of(i)], _PREPOSITION, _where, "places"),
    ("thing", "holder"): _Form(
        lambda s, i: s.people[s.things[i].holder or 0].entry,
        _same("name"),
        lambda s, i: [("holder", i)],
        "people",
        "name",
    ),
    ("thing", "quality"): _Form(
        lambda s, i: _known(s.things[i].quality), _same("adj"), lambda s, i: [("quality", i)], "qualities"
    ),
}  # fmt: skip
_OWN: dict[str, _Form] = {
    "person": _Form(lambda s, i: s.people[i].entry, {}, lambda s, i: [("who", i)], "people"),
    "thing": _Form(lambda s, i: s.things[i].entry, {}, lambda s, i: [("what", i)], "things"),
    "place": _Form(lambda s, i: s.places[i], {}, lambda s, i: [("place", i)], "places"),
}
_TAGS = {
    ("people", "name"): "name", ("places", "noun"): "place", ("things", "colour"): "thing", ("things", "noun"): "thing",
}  # fmt: skip
NUMBER_WORDS = {
    language: ["", *(row[column] for row in words.rows(words.NUMBERS + " " + words_full.TABLES["NUMBERS"]))]
    for column, language in enumerate(("en", "zh"))
}
HOUR_WORDS = {
    language: [row[column] for row in words.rows(words_full.TABLES["TIMES"])]
    for column, language in enumerate(("en", "zh"))
}


_TOLD_BY_OPEN = {
    ("people", ""): ("who", "people"), ("things", "colour"): ("colour", "things"), ("things", ""): ("what", "things"),
    ("spot", ""): ("place", "places"), ("r", ""): ("bond", "bonds"), ("fruit", ""): ("fruit", ""),
    ("job", ""): ("job", ""), ("town", ""): ("town", ""),
}  # fmt: skip
"""The fact that a new entry tells, and what it is counted among, by its slot (for ``new``: its lexicon) and form."""


def _open_step(kind: Kind, slot: int, form: str, language: str) -> Step:
    name, lexicon = kind.opens[slot - len(kind.closed)]
    told = _TOLD_BY_OPEN.get((lexicon if name == "new" else name, form))
    told = told or _TOLD_BY_OPEN.get((lexicon if name == "new" else name, ""))

    def facts(state: State, values: Values) -> list[Fact]:
        if told is None:
            return []
        fact, known = told  # a new person, thing, place or bond gets the next number
        return [(fact, len(getattr(state, known)) if known else values[0])]

    def say(state: State, values: Values) -> str:
        return values[slot].forms[language][form]

    return Step(slot, form, say, facts, _TAGS.get((lexicon, form), ""), True, (lexicon, form))


def _number_step(slot: int, form: str, language: str, kind_of_slot: str) -> Step:
    """A number word, or the fruit that is counted by it, in the right number."""
    if form == "num":
        said = NUMBER_WORDS[language]

        def facts(state: State, values: Values) -> list[Fact]:
            return [("count", values[0])] if kind_of_slot == "tally" else []

        return Step(slot, form, lambda s, v: said[v[slot]], facts, "", False, ("numbers", ""))

    def fruit(state: State, values: Values) -> str:
        field = form if language == "zh" else ("one" if values[slot] == 1 else "many")
        return _known(state.people[values[0]].fruit).forms[language][field]

    return Step(slot, form, fruit, lambda s, v: [("fruit", v[0])], "", False, ("fruits", "*"))


def _step(kind: Kind, name: str, form: str, language: str) -> Step:
    if name == "s":  # about the story itself: the weather
        return Step(
            -1, form, lambda s, v: _known(s.weather).forms[language]["noun"], lambda s, v: [("weather", 0)],
            "", False, ("weather", "noun"),
        )  # fmt: skip
    slot = kind.slot(name)
    if slot >= len(kind.closed):
        return _open_step(kind, slot, form, language)
    slot_type = kind.closed[slot][1]
    if slot_type == "hour":
        hours = HOUR_WORDS[language]
        return Step(slot, form, lambda s, v: hours[v[slot]], lambda s, v: [("hour", 0)], "", False, ("hours", ""))
    if slot_type in ("number", "tally"):
        return _number_step(slot, form, language, slot_type)
    if form == "num":
        said = NUMBER_WORDS[language]
        return Step(
            slot, form, lambda s, v: said[s.people[v[slot]].count], lambda s, v: [("count", v[slot])],
            "", False, ("numbers", ""),
        )  # fmt: skip
    how = _FORMS.get((slot_type, form)) or _OWN[slot_type]
    entry, field, facts = how.entry, how.field.get(language, form), how.facts
    return Step(
        slot,
        form,
        lambda s, v: entry(s, v[slot]).forms[language][field],
        lambda s, v: facts(s, v[slot]),
        how.tag or _TAGS.get((how.lexicon, field), ""),
        False,
        (how.lexicon, field),
    )


def _compile_line(kind: Kind, line: str, language: str, subject_form: str) -> tuple[str | Step, ...]:
    steps: list[str | Step] = []
    for token in line.split():
        match = re.fullmatch(r"\{(\w+)(?::(\w+))?\}", token)
        if match is None:
            steps.append(token)
        else:
            steps.append(_step(kind, match[1], match[2] or subject_form, language))
    return tuple(steps)


def compile_choices(kind: Kind, lines: list[tuple[int, str]], language: str) -> Choices:
    """Compile a kind's patterns in one language.

    A line with the subject ``{p}`` counts ``NAME_WEIGHT`` with the name and ``PRONOUN_WEIGHT`` with the pronoun
    where both are allowed; a line without it counts as much as the two together.
    """
    named, either, subject = [], [], -1
    for weight, line in lines:
        with_name = _compile_line(kind, line, language, "name")
        named.append(Pattern(weight, with_name, False))
        if "{p}" in line.split():
            subject = kind.slot("p")
            either.append(Pattern(weight * NAME_WEIGHT, with_name, False))
            either.append(Pattern(weight * PRONOUN_WEIGHT, _compile_line(kind, line, language, "he"), True))
        else:
            either.append(Pattern(weight * (NAME_WEIGHT + PRONOUN_WEIGHT), with_name, False))
    return Choices(subject, named, either)

"""Steps: the words of a pattern that depend on the event or the state, and how a line is compiled to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plm_core.storyworld.kinds import Kind
from plm_core.storyworld.lexicon import Entry, Lexicons
from plm_core.storyworld.skills import GRAMMAR_FORMS, skill_of
from plm_core.storyworld.state import Args, State

Fact = tuple[Any, ...]
"""What a word tells or is settled by: the name of a fact and the numbers that it is about."""


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One word of a pattern that depends on the event or the state.

    Attributes:
        say: the word for a state and the arguments of an event.
        open: the index of the argument that is an entry still to be drawn, or -1.
        form: which word of the entry it is.
        skill: what a reader must be able to do to predict the word.
        facts: the facts that settle the word.
        group: the group of lexicon entries that the word comes from.
        tag: ``"name"``, ``"place"`` or ``"thing"`` for words of a labelled span, else empty.
    """

    say: Callable[[State, Args], str]
    open: int
    form: str
    skill: str
    facts: Callable[[State, Args], list[Fact]]
    group: str
    tag: str = ""


def _nothing(state: State, args: Args) -> list[Fact]:
    return []


_GROUPS = {"p": "people", "q": "people", "r": "people", "t": "things", "u": "things", "s": "things",
           "h": "places", "g": "places", "x": "settings", "f": "fruits", "m": "moods"}  # fmt: skip
_TAGS = {"people": "name", "places": "place", "things": "thing"}
_DEFAULT = {"people": "name", "moods": "adj"}
_LEFT = {"pick": 1, "eat": -1, "spoil": -1, "give_away": -1, "give_fruit": 1}


def believed_place(kind: str, state: State, args: Args) -> int:
    """The place that a person acts on, or tells somebody of, by what that person believes."""
    if kind in ("visit", "answer_person"):
        return state.believed_at[args[0]][args[-1]]
    return state.believed_place(args[0], args[-1])


class Compiler:
    """Compiles the lines of a kind; one step object for each slot and form, so that the tree can compare them."""

    def __init__(self, kind: Kind, lexicons: Lexicons, language: str):
        self.kind, self.lexicons, self.language = kind, lexicons, language
        self._steps: dict[tuple[str, str], Step] = {}

    def line(self, line: str, subject: str) -> tuple[str | Step, ...]:
        steps: list[str | Step] = []
        for token in line.split():
            match = re.fullmatch(r"\{(\w+?)(?::(\w+))?\}", token)
            if match is None:
                steps.append(token)
                continue
            slot, form = match[1], match[2] or ""
            if slot == "p" and not form:
                form = subject
            if (slot, form) not in self._steps:
                self._steps[slot, form] = self._step(slot, form, subject == "he" and match[2] is None)
            steps.append(self._steps[slot, form])
        return tuple(steps)

    def _step(self, slot: str, form: str, is_subject: bool) -> Step:
        kind, language = self.kind, self.language
        if slot in kind.slots:
            index = kind.slots.index(slot)
            if slot[0] in "kn":
                return self._number(index, slot, form)
            if slot == "t" and form in ("at", "in", "loc"):
                return self._lying(index, form)
            group = _GROUPS[slot[0]]
            field = form or _DEFAULT.get(group, "noun")
            if group == "fruits" and language == "zh" and form == "many":
                field = "noun"
            opens = index in kind.opens
            say = self._own(index, group, field, opens)
            tag = _TAGS.get(group, "") if field in ("name", "noun") else ""
            facts: Callable[[State, Args], list[Fact]] = _nothing
            if opens:
                skill = "naming"
                if group == "moods":
                    skill = "intention"
            else:
                grammar = field in GRAMMAR_FORMS and not (is_subject and field == "he")
                skill = "grammar" if grammar else skill_of(kind.name, slot)
                facts = _facts_of(skill, group, index)
            return Step(say, index if opens else -1, field, skill, facts, group, tag)
        return self._derived(slot, form)

    def _own(self, index: int, group: str, field: str, opens: bool) -> Callable[[State, Args], str]:
        language = self.language
        if opens:
            return lambda state, args: args[index].forms[language][field]
        if group == "people":
            return lambda state, args: state.people[args[index]].forms[language][field]
        if group == "things":
            return lambda state, args: state.things[args[index]].forms[language][field]
        return lambda state, args: state.places[args[index]].forms[language][field]

    def _lying(self, index: int, form: str) -> Step:
        """The place where a thing is."""
        language, field = self.language, "noun" if form == "at" else form
        return Step(
            lambda state, args: state.places[state.place_of(args[index])].forms[language][field], -1, field,
            "places" if form == "at" else "grammar", lambda state, args: [("location", args[index])], "places",
            "place" if form == "at" else "",
        )  # fmt: skip

    def _number(self, index: int, slot: str, form: str) -> Step:
        if form == "fruit":
            zh = self.language == "zh"

            def fruit(state: State, args: Args) -> str:
                assert state.fruit is not None
                return (
                    state.fruit.forms["zh"]["noun"]
                    if zh
                    else state.fruit.forms["en"]["one" if args[index] == 1 else "many"]
                )

            return Step(fruit, -1, form, "grammar", _nothing, "fruits")
        said = self.lexicons.numbers[self.language]
        return Step(lambda state, args: said[args[index]], -1, "", skill_of(self.kind.name, slot), _nothing, "numbers")

    def _derived(self, slot: str, form: str) -> Step:
        name, language = self.kind.name, self.language
        grammar = form in GRAMMAR_FORMS
        if slot == "f":  # the fruit of the story
            field = ("noun" if form == "many" else form) if language == "zh" else form

            def fruit(state: State, args: Args) -> str:
                assert state.fruit is not None
                return state.fruit.forms[language][field]

            return Step(fruit, -1, field, "grammar" if grammar else "wording", _nothing, "fruits")
        field = form or "noun"
        if slot == "f_at":
            return Step(
                lambda state, args: state.places[state.fruit_at].forms[language][field], -1, field,
                "grammar" if grammar else "places", lambda state, args: [("place", state.fruit_at)], "places",
                "" if grammar else "place",
            )  # fmt: skip
        if slot == "at":
            return Step(
                lambda state, args: state.places[state.at[args[0]]].forms[language][field], -1, field,
                "grammar" if grammar else "places", lambda state, args: [("at", args[0])], "places",
                "" if grammar else "place",
            )  # fmt: skip
        of_person = ("person",) if name in ("visit", "answer_person") else ()
        if slot == "bel":
            return Step(
                lambda state, args: state.places[believed_place(name, state, args)].forms[language][field], -1, field,
                "grammar" if grammar else "belief",
                lambda state, args: [("belief", args[0], *of_person, args[-1])],
                "places", "" if grammar else "place",
            )  # fmt: skip
        if slot == "holder":
            return Step(
                lambda state, args: state.people[-1 - state.believed[args[0]][args[-1]]].forms[language]["name"], -1,
                "name", "belief", lambda state, args: [("belief", args[0], args[-1])], "people", "name",
            )  # fmt: skip
        if slot == "owner":
            return Step(
                lambda state, args: state.people[-1 - state.location[args[-1]]].forms[language]["name"], -1,
                "name", "possession", lambda state, args: [("location", args[-1])], "people", "name",
            )  # fmt: skip
        said = self.lexicons.numbers[language]
        if slot == "sum":
            return Step(
                lambda state, args: said[state.count[args[0]] + state.count[args[1]]], -1, "", "counting",
                lambda state, args: [("count", args[0]), ("count", args[1])], "numbers",
            )  # fmt: skip
        if slot == "secret":
            return Step(
                lambda state, args: state.things[state.secret].forms[language][field], -1, field,
                "intention", _nothing, "things", "thing",
            )  # fmt: skip
        assert slot == "left", slot
        sign, who = _LEFT.get(name, 0), 1 if name == "give_fruit" else 0
        return Step(
            lambda state, args: said[state.count[args[who]] + sign * args[-1]], -1, "", "counting",
            lambda state, args: [("count", args[who])], "numbers",
        )  # fmt: skip


def _facts_of(skill: str, group: str, index: int) -> Callable[[State, Args], list[Fact]]:
    """The facts that settle a slot of the event itself."""
    if group == "people":
        return lambda state, args: [("who", args[index])]
    if group == "things":
        return lambda state, args: [("location", args[index])]
    if group == "places":
        return lambda state, args: [("place", args[index])]
    return _nothing


def words_of(step: Step, lexicons: Lexicons, language: str, entries: dict[str, list[Entry]]) -> set[str]:
    """All words that a step may say in some state, for the vocabulary."""
    if step.group == "numbers":
        return set(lexicons.numbers[language][1:])
    fields = [step.form]
    if step.form == "fruit":
        fields = ["noun"] if language == "zh" else ["one", "many"]
    return {
        entry.forms[language][field]
        for entry in entries[step.group]
        for field in fields
        if field in entry.forms[language]
    }

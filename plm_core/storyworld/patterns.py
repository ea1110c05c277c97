"""Compiled patterns: each way to tell a kind of event is a line of words and steps, kept in a tree for the reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from plm_core.storyworld.events import KINDS, Kind, compositions
from plm_core.storyworld.lexicon import Entry, Lexicons
from plm_core.storyworld.sentences import SENTENCES, Row
from plm_core.storyworld.skills import skill_of
from plm_core.storyworld.state import Args, State

Fact = tuple[Any, ...]
"""What a word tells or is settled by: the name of a fact and the numbers that it is about."""

NAME_WEIGHT, PRONOUN_WEIGHT = 1, 2
"""How often a subject is a name or a pronoun, where a pronoun is allowed."""


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


class Pattern(NamedTuple):
    """One way to tell a kind of event: its weight, its words and steps, and whether its subject is a pronoun."""

    weight: int
    steps: tuple[str | Step, ...]
    row: int
    pronoun: bool


class Node:
    """A point in the tree of patterns: the ways on, each with its weight; a leaf holds its pattern."""

    __slots__ = ("edges", "pattern", "total")

    def __init__(self) -> None:
        self.edges: list[tuple[str | Step, float, Node]] = []
        self.total = 0
        self.pattern: Pattern | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Choices:
    """The patterns among which one is chosen by weight, as a list and as a tree."""

    patterns: list[Pattern]
    total: int
    root: Node


def _tree(patterns: list[Pattern]) -> Node:
    """The tree of some patterns; the weight of an edge is the probability of going that way."""
    root = Node()
    for pattern in patterns:
        node = root
        node.total += pattern.weight
        for step in pattern.steps:
            index = next((i for i, edge in enumerate(node.edges) if edge[0] is step or edge[0] == step), None)
            if index is None:
                node.edges.append((step, 0.0, Node()))
                index = len(node.edges) - 1
            edge = node.edges[index]
            node.edges[index] = (edge[0], edge[1] + pattern.weight, edge[2])
            node = edge[2]
            node.total += pattern.weight
        assert node.pattern is None, "two patterns of a kind are the same"
        node.pattern = pattern
    _normalise(root)
    return root


def _normalise(node: Node) -> None:
    node.edges = [(step, weight / node.total, child) for step, weight, child in node.edges]
    for _, _, child in node.edges:
        _normalise(child)


CONDITIONS: dict[str, Callable[[State, Args], bool]] = {
    "apart": lambda state, args: state.at[args[0]] != state.at[0],
    "first": lambda state, args: state.count[args[0]] == 0,
    "more": lambda state, args: state.count[args[0]] > 0,
}


class Telling:
    """All ways to tell a kind of event in one language, by the conditions that hold.

    Args:
        kind: the kind of event.
        rows: its rows.
        lexicons: the lexicons of the world.
        language: ``"en"`` or ``"zh"``.
    """

    def __init__(self, kind: Kind, rows: list[Row], lexicons: Lexicons, language: str):
        self.kind = kind
        compiler = _Compiler(kind, lexicons, language)
        self._lines = [
            (weight, compiler.line(line, "name"), compiler.line(line, "he") if "{p}" in line.split() else None, name, row)
            for row, weight, line, name in expand(rows, lexicons, language)
        ]  # fmt: skip
        self.conditions = [CONDITIONS[name] for name in sorted({line[3] for line in self._lines if line[3]})]
        self._names = sorted({line[3] for line in self._lines if line[3]})
        self.subject = kind.slots.index("p") if "p" in kind.slots else -1
        self._choices: dict[tuple[bool, ...], Choices] = {}

    def choices(self, state: State, args: Args) -> Choices:
        """The patterns that are allowed for an event in a state."""
        pronoun = self.subject >= 0 and state.may_say_pronoun(args[self.subject])
        key = (pronoun, *(condition(state, args) for condition in self.conditions))
        return self._choices.get(key) or self._build(key)

    def _build(self, key: tuple[bool, ...]) -> Choices:
        holds = dict(zip(self._names, key[1:], strict=True))
        patterns: list[Pattern] = []
        for weight, named, pronoun, condition, row in self._lines:
            if condition and not holds[condition]:
                continue
            if pronoun is None or not key[0]:
                patterns.append(Pattern(weight * (NAME_WEIGHT + PRONOUN_WEIGHT), named, row, False))
            else:
                patterns.append(Pattern(weight * NAME_WEIGHT, named, row, False))
                patterns.append(Pattern(weight * PRONOUN_WEIGHT, pronoun, row, True))
        self._choices[key] = Choices(patterns, sum(pattern.weight for pattern in patterns), _tree(patterns))
        return self._choices[key]

    def steps(self) -> Iterator[str | Step]:
        """All words and steps of all patterns."""
        for _, named, pronoun, _, _ in self._lines:
            yield from named
            yield from pronoun or ()


def expand(rows: list[Row], lexicons: Lexicons, language: str) -> Iterator[tuple[int, int, str, str]]:
    """Rows in one language, with verbs of motion and animals put in: number of the row, weight, line, condition."""
    animals = {"THIEF": lexicons.thieves, "EATER": lexicons.eaters}
    for number, row in enumerate(rows):
        weight, line = row[0], row[1] if language == "en" else row[2]
        condition = row[3] if len(row) == 4 else ""
        placeholder = next((name for name in ("GO", *animals) if name in row[1].split()), "")
        if placeholder == "GO":
            whole = "GO" in row[2].split()  # in Chinese the verb is not always said: then its ways are one
            for en, zh, share in lexicons.manners:
                if whole:
                    yield number, weight * share, re.sub(r"\bGO\b", en if language == "en" else zh, line), condition
                elif en == lexicons.manners[0][0]:
                    yield number, weight * sum(m[2] for m in lexicons.manners), line.replace("GO", en), condition
        elif placeholder:
            for en, measure, zh in animals[placeholder]:
                said = en if language == "en" else f"{measure} {zh}"
                yield number, weight, line.replace(placeholder, said), condition
        else:
            scale = sum(m[2] for m in lexicons.manners) if any("GO" in other[1].split() for other in rows) else 1
            yield number, weight * scale, line, condition


def introductions(kind: Kind) -> list[Row]:
    """The rows of the first sentence, which names the setting, the people and their places."""
    groups = [int(part) for part in kind.name.split("_")[1:]]
    english, chinese, person = [], [], 0
    for number, size in enumerate(groups):
        names = [f"{{p{person + i}}}" for i in range(size)]
        verb = "was" if size == 1 else "were"
        listed = " , ".join(names[:-1]) + (" and " if size > 1 else "") + names[-1]
        listed_zh = " 、 ".join(names[:-1]) + (" 和 " if size > 1 else "") + names[-1]
        english.append(f"{listed} {verb} {{h{number}:in}} the {{h{number}}}")
        chinese.append(f"{listed_zh} 在 {{h{number}}} {{h{number}:loc}}")
        person += size
    told = " , ".join(english[:-1]) + " , and " + english[-1] + " ."
    told_zh = " ， ".join(chinese) + " 。"
    return [
        (2, "one morning {x:in} the {x} , " + told, "一天 早上 ， {x} {x:loc} 很 安静 ： " + told_zh),
        (1, "it was market day {x:in} the {x} : " + told, "这 天 {x} {x:loc} 有 集市 ： " + told_zh),
    ]


def build_tellings(lexicons: Lexicons, language: str) -> dict[str, Telling]:
    """The tellings of every kind of event in a language."""
    found = {}
    for name, kind in KINDS.items():
        if name.startswith("open_"):
            rows = introductions(kind)
        else:
            stem = name.split("_")[0]
            rows = SENTENCES.get(name) or SENTENCES[stem]
        found[name] = Telling(kind, rows, lexicons, language)
    return found


def _nothing(state: State, args: Args) -> list[Fact]:
    return []


_GROUPS = {"p": "people", "q": "people", "r": "people", "t": "things", "u": "things", "s": "things",
           "h": "places", "g": "places", "x": "settings", "f": "fruits", "m": "moods"}  # fmt: skip
_TAGS = {"people": "name", "places": "place", "things": "thing"}
_DEFAULT = {"people": "name", "moods": "adj"}
_GRAMMAR = {"a", "m", "in", "loc", "him", "his", "he"}
_LEFT = {"pick": 1, "eat": -1, "spoil": -1, "give_fruit": 1}


def believed_place(kind: str, state: State, args: Args) -> int:
    """The place that a person acts on, or tells somebody of, by what that person believes."""
    if kind in ("visit", "answer_person"):
        return state.believed_at[args[0]][args[-1]]
    return state.believed_place(args[0], args[-1])


class _Compiler:
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
            group = _GROUPS[slot[0]]
            field = form or _DEFAULT.get(group, "noun")
            if group == "fruits" and language == "zh" and form == "many":
                field = "noun"
            opens = index in kind.opens
            say = self._own(index, group, field, opens)
            tag = _TAGS.get(group, "") if field in ("name", "noun") else ""
            if opens:
                skill, facts = "naming" if field not in _GRAMMAR else "grammar", _nothing
                if group == "moods":
                    skill = "intention"
            else:
                grammar = field in _GRAMMAR and not (is_subject and field == "he")
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
        grammar = form in _GRAMMAR
        if slot == "f":  # the fruit of the story
            field = ("noun" if form == "many" else form) if language == "zh" else form

            def fruit(state: State, args: Args) -> str:
                assert state.fruit is not None
                return state.fruit.forms[language][field]

            return Step(fruit, -1, field, "grammar" if grammar else "wording", _nothing, "fruits")
        field = form or "noun"
        if slot == "at":
            return Step(
                lambda state, args: state.places[state.at[args[0]]].forms[language][field], -1, field,
                "grammar" if grammar else "places", lambda state, args: [("at", args[0])], "places",
                "" if grammar else "place",
            )  # fmt: skip
        if slot == "bel":
            return Step(
                lambda state, args: state.places[believed_place(name, state, args)].forms[language][field], -1, field,
                "grammar" if grammar else "belief",
                lambda state, args: [("belief", args[0], *(("person",) if name in ("visit", "answer_person") else ()), args[-1])],
                "places", "" if grammar else "place",
            )  # fmt: skip
        if slot == "holder":
            return Step(
                lambda state, args: state.people[-1 - state.believed[args[0]][args[-1]]].forms[language]["name"], -1,
                "name", "belief", lambda state, args: [("belief", args[0], args[-1])], "people", "name",
            )  # fmt: skip
        assert slot == "left", slot
        said, sign, who = self.lexicons.numbers[language], _LEFT[name], 1 if name == "give_fruit" else 0
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


__all__ = ["Choices", "Fact", "Node", "Pattern", "Step", "Telling", "build_tellings", "compositions", "words_of"]

"""Compiled patterns: each way to tell a kind of event is a line of words and steps, kept in a tree for the reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from plm_core.storyworld.kinds import KINDS, Kind
from plm_core.storyworld.lexicon import Lexicons
from plm_core.storyworld.notation import Row
from plm_core.storyworld.sentences import rows_of
from plm_core.storyworld.state import Args, State
from plm_core.storyworld.steps import Compiler, Step

NAME_WEIGHT, PRONOUN_WEIGHT = 1, 3
"""How often a subject is a name or a pronoun, where a pronoun is allowed."""


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


def _apart(state: State, args: Args) -> bool:
    """Whether somebody acts whom the last sentence does not mention, unseen, after something else has happened."""
    person = args[0]
    return (
        state.pending is None
        and state.at[person] != state.at[0]
        and state.seen[person] < state.sentence - 1
        and (max(state.arrived) >= 0 or max(state.moved) >= 0)
    )


def _beside(state: State, args: Args) -> bool:
    """Whether the first person is already where the second one is."""
    return state.at[args[0]] == state.at[args[1]]


def _way_of_bringing(state: State, args: Args) -> str:
    """How somebody gets the protagonist a thing: who holds it gives or brings it, asked for it before or not.

    Else it lies before the protagonist, or has to be fetched by who is there, or found by who is not.
    """
    where, beside = state.location[args[-1]], _beside(state, args)
    if where == state.at[args[1]]:
        return "lying" if beside else "lying_there"
    if where >= 0:
        return "fetching" if beside else "finding"
    asked = "_begged" if ("beg", args[0], args[-1]) in state.asked else ""
    return ("giving" if beside else "bringing") + asked


def _asked(what: str, before: bool) -> Callable[[State, Args], bool]:
    """Whether the protagonist has made a request before, or whether not; what others ask does not count."""
    return lambda state, args: (args[0] == 0 and (what, *args[1:]) in state.asked) == before


def _returning(believed: Callable[[State, Args], int]) -> Callable[[State, Args], bool]:
    """Whether somebody sets out for a place where he or she has been before."""
    return lambda state, args: (args[0], believed(state, args)) in state.been


_seeks_again = _returning(lambda state, args: state.believed_place(args[0], args[1]))
_visits_again = _returning(lambda state, args: state.believed_at[args[0]][args[1]])


def _furnished(state: State, args: Args) -> bool:
    """Whether the introduction has named something that lies or grows at a place."""
    return args[1] in state.location or args[1] == state.fruit_at


CONDITIONS: dict[str, Callable[[State, Args], bool]] = {
    "apart": _apart,
    "beside": _beside,
    "arriving": lambda state, args: not _beside(state, args),
    **{
        way: lambda state, args, way=way: _way_of_bringing(state, args) == way  # type: ignore[misc]
        for way in (
            "lying",
            "lying_there",
            "fetching",
            "finding",
            "giving",
            "bringing",
            "giving_begged",
            "bringing_begged",
        )
    },
    **{f"{what}_first": _asked(what, before=False) for what in ("ask", "ask_person", "beg", "offer")},
    **{f"{what}_again": _asked(what, before=True) for what in ("ask", "ask_person", "beg", "offer")},
    **{
        f"{where}_{time}": lambda state, args, there=where == "there", before=time == "again": (  # type: ignore[misc]
            _asked("invite", before)(state, args) and (state.at[args[0]] == args[-1]) == there
        )
        for where in ("there", "elsewhere")
        for time in ("first", "again")
    },
    "seeks_again": _seeks_again,
    "seeks_elsewhere": lambda state, args: not _seeks_again(state, args),
    "visits_again": _visits_again,
    "visits_elsewhere": lambda state, args: not _visits_again(state, args),
    "right": lambda state, args: state.believed_place(*args) == state.place_of(args[1]),
    "mistaken": lambda state, args: state.believed_place(*args) != state.place_of(args[1]),
    **{
        name: lambda state, args, whats=whats: state.pending is not None and state.pending[0] in whats  # type: ignore[misc]
        for name, whats in (
            ("invitation", ("invite",)),
            ("wanted", ("beg",)),
            ("offered", ("offer",)),
            ("question", ("ask", "ask_person")),
            ("request", ("beg", "offer", "invite")),
        )
    },
    "others": lambda state, args: args[0] > 0,
    "told": lambda state, args: state.goal is not None,
    "untold": lambda state, args: state.goal is None,
    "another": lambda state, args: args[0] > 0 and state.last != "go",
    "back": lambda state, args: (args[0], args[1]) in state.been,
    "repeated": lambda state, args: state.repeated,
    "at_once": lambda state, args: not state.repeated,
    "bare": lambda state, args: not _furnished(state, args),
    "furnished": lambda state, args: _furnished(state, args),
    "both_bare": lambda state, args: not _furnished(state, args) and not _furnished(state, args[2:]),
    "one_furnished": lambda state, args: _furnished(state, args) or _furnished(state, args[2:]),
    "stayed": lambda state, args: args[0] > 0 and state.arrived[args[0]] < state.sentence - 3,
    "found": lambda state, args: state.placed[args[-1]] != args[0],
    "again": lambda state, args: state.placed[args[-1]] == args[0],
    "first": lambda state, args: state.count[args[0]] == 0,
    "indoors": lambda state, args: "i" in state.places[state.at[args[0]]].tags,
    "there": lambda state, args: state.at[args[0]] == args[-1],
    "elsewhere": lambda state, args: state.at[args[0]] != args[-1],
    "receiver_has": lambda state, args: state.count[args[1]] > 0,
    "receiver_has_none": lambda state, args: state.count[args[1]] == 0,
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
        compiler = Compiler(kind, lexicons, language)
        self._lines = []
        for row, weight, line, condition in expand(rows, lexicons, language):
            assert line.endswith((" .", " 。")), f"no full stop: {line}"
            pronoun = compiler.line(line, "he") if may_be_pronoun(rows[row]) else None
            self._lines.append((weight, compiler.line(line, "name"), pronoun, condition, row))
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


def may_be_pronoun(row: Row) -> bool:
    """Whether the subject of a row may be a pronoun: in both languages it stands there, and before everybody else."""
    for line in row[1:3]:
        people = re.findall(r"\{(?:p|q|r|holder)(?::\w+)?\}", str(line))
        if not people or people[0] != "{p}":
            return False
    return True


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
        (2, "one morning {x:in} the {x} , " + told, "{x} {x:loc} 天 刚 亮 ， " + told_zh),
        (1, "it was a sunny morning {x:in} the {x} : " + told, "早上 ， {x} {x:loc} 阳光 明媚 ， " + told_zh),
        (1, "the day began {x:in} the {x} : " + told, "{x} {x:loc} 迎来 了 新 的 一天 ， " + told_zh),
    ]


def build_tellings(lexicons: Lexicons, language: str) -> dict[str, Telling]:
    """The tellings of every kind of event in a language."""
    found = {}
    for name, kind in KINDS.items():
        rows = introductions(kind) if name.startswith("open_") else rows_of(name, lexicons.size)
        found[name] = Telling(kind, rows, lexicons, language)
    return found

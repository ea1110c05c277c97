"""Regular expressions that can be followed character by character, by derivatives.

The derivative of an expression by a character is what may follow that character: of ``ab*`` by ``a`` it is ``b*``. A
text matches if the derivative by all its characters can be empty. It can still become a match unless that derivative is
:data:`NOTHING`, for expressions are simplified so that nothing else stands for the empty set.

Source: Brzozowski (1964), "Derivatives of regular expressions".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

REPEATS = 100
"""The largest number of repeats that ``{m,n}`` may ask for; each is written out."""
DIGITS = frozenset("0123456789")
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
CLASSES = {
    "d": DIGITS,
    "w": DIGITS | LETTERS | {"_"},
    "s": frozenset(" \t\n"),
    "n": frozenset("\n"),
    "t": frozenset("\t"),
}
SPECIAL = frozenset("()[]{}|*+?\\.^$")


@dataclass(frozen=True)
class Expression:
    """A regular expression; one of the five kinds below."""

    def alphabet(self) -> frozenset[str]:
        """The characters that occur in a match."""
        return frozenset()


@dataclass(frozen=True)
class Nothing(Expression):
    """No text matches."""


@dataclass(frozen=True)
class Empty(Expression):
    """The empty text matches."""


@dataclass(frozen=True)
class Characters(Expression):
    """One character of a set matches."""

    characters: frozenset[str]

    def alphabet(self) -> frozenset[str]:
        """The characters of the set."""
        return self.characters


@dataclass(frozen=True, eq=False)
class Concatenation(Expression):
    """One expression, then another one. Long chains are compared in a loop, which recursion could not."""

    first: Expression
    second: Expression

    def alphabet(self) -> frozenset[str]:
        """The characters of both."""
        found, rest = set(self.first.alphabet()), self.second
        while isinstance(rest, Concatenation):
            found |= rest.first.alphabet()
            rest = rest.second
        return frozenset(found | rest.alphabet())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.first, self.second)))

    def __eq__(self, other: object) -> bool:
        one: object = self
        while isinstance(one, Concatenation) and isinstance(other, Concatenation):
            if one is other:
                return True
            if hash(one) != hash(other) or one.first != other.first:
                return False
            one, other = one.second, other.second
        return not isinstance(one, Concatenation) and not isinstance(other, Concatenation) and one == other

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined]  # computed once: expressions are long keys


@dataclass(frozen=True)
class Either(Expression):
    """Any of several expressions."""

    options: frozenset[Expression]

    def alphabet(self) -> frozenset[str]:
        """The characters of all of them."""
        return frozenset().union(*(option.alphabet() for option in self.options))


@dataclass(frozen=True)
class Repeat(Expression):
    """An expression any number of times, also none."""

    inner: Expression

    def alphabet(self) -> frozenset[str]:
        """The characters of the expression."""
        return self.inner.alphabet()


NOTHING, EMPTY = Nothing(), Empty()


def sequence(*parts: Expression) -> Expression:
    """Expressions one after the other."""
    result: Expression = EMPTY
    for part in reversed(parts):
        if part is NOTHING or result is NOTHING:
            return NOTHING
        if isinstance(part, Concatenation):
            result = Concatenation(part.first, sequence(part.second, result)) if result is not EMPTY else part
        elif result is EMPTY:
            result = part
        elif part is not EMPTY:
            result = Concatenation(part, result)
    return result


def either(*options: Expression) -> Expression:
    """Any of several expressions."""
    kept: set[Expression] = set()
    for option in options:
        kept |= option.options if isinstance(option, Either) else {option}
    kept.discard(NOTHING)
    if len(kept) < 2:
        return kept.pop() if kept else NOTHING
    return Either(frozenset(kept))


def repeat(inner: Expression) -> Expression:
    """An expression any number of times, also none."""
    if inner in (NOTHING, EMPTY):
        return EMPTY
    return inner if isinstance(inner, Repeat) else Repeat(inner)


@lru_cache(maxsize=2**16)
def nullable(expression: Expression) -> bool:
    """Whether the empty text matches."""
    if isinstance(expression, Concatenation):
        return nullable(expression.first) and nullable(expression.second)
    if isinstance(expression, Either):
        return any(map(nullable, expression.options))
    return isinstance(expression, Empty | Repeat)


@lru_cache(maxsize=2**16)
def derivative(expression: Expression, character: str) -> Expression:
    """What may follow a character; :data:`NOTHING` if no match begins with it.

    >>> matches(derivative(parse("ab*"), "a"), "bbb"), derivative(parse("ab*"), "b") is NOTHING
    (True, True)
    """
    if isinstance(expression, Characters):
        return EMPTY if character in expression.characters else NOTHING
    if isinstance(expression, Either):
        return either(*(derivative(option, character) for option in expression.options))
    if isinstance(expression, Repeat):
        return sequence(derivative(expression.inner, character), expression)
    if isinstance(expression, Concatenation):
        rest = sequence(derivative(expression.first, character), expression.second)
        return either(rest, derivative(expression.second, character)) if nullable(expression.first) else rest
    return NOTHING


def restrict(expression: Expression, characters: frozenset[str]) -> Expression:
    """The expression of those matches that consist of given characters.

    >>> matches(restrict(parse("[0-9]+"), frozenset("01")), "101"), restrict(parse("ab"), frozenset("a")) is NOTHING
    (True, True)
    """
    if isinstance(expression, Characters):
        kept = expression.characters & characters
        return Characters(kept) if kept else NOTHING
    if isinstance(expression, Either):
        return either(*(restrict(option, characters) for option in expression.options))
    if isinstance(expression, Repeat):
        return repeat(restrict(expression.inner, characters))
    parts: list[Expression] = []
    while isinstance(expression, Concatenation):
        parts.append(restrict(expression.first, characters))
        expression = expression.second
    return sequence(*parts, restrict(expression, characters)) if parts else expression


def matches(expression: Expression, text: str) -> bool:
    """Whether the whole text matches."""
    for character in text:
        expression = derivative(expression, character)
    return nullable(expression)


def parse(pattern: str) -> Expression:
    r"""The expression of a pattern in the usual notation.

    It may hold characters, sets such as ``[a-z,]`` (not negated), ``\d``, ``\w``, ``\s`` (ASCII), ``\n``, ``\t``, a
    backslash before a special character, groups, ``|``, ``*``, ``+``, ``?``, ``{n}`` and ``{m,n}``. A dot and anchors
    are refused: the alphabet must be stated, and the whole text must match.

    Raises:
        ValueError: a pattern that is not of this form, or repeats above 100.

    >>> matches(parse(r"(yes|no)( \d{1,2})?"), "no 42")
    True
    """
    parser = _Parser(pattern)
    expression = parser.alternatives()
    if parser.place < len(pattern):
        parser.refuse("a closing bracket without an opening one")
    return expression


class _Parser:
    """Recursive descent over a pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.place = pattern, 0

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"the pattern {self.pattern!r} has {why} at place {self.place}")

    def next(self) -> str:
        return self.pattern[self.place : self.place + 1]

    def take(self) -> str:
        character = self.next()
        if not character:
            self.refuse("no end")
        self.place += 1
        return character

    def alternatives(self) -> Expression:
        options = [self.parts()]
        while self.next() == "|":
            self.take()
            options.append(self.parts())
        return either(*options)

    def parts(self) -> Expression:
        parts = []
        while self.next() not in ("", "|", ")"):
            parts.append(self.repeats(self.one()))
        return sequence(*parts)

    def one(self) -> Expression:
        character = self.take()
        if character == "(":
            inside = self.alternatives()
            if self.take() != ")":
                self.refuse("an open bracket")
            return inside
        if character == "[":
            return Characters(self.set())
        if character == "\\":
            return Characters(self.escaped())
        if character in SPECIAL:
            self.place -= 1
            self.refuse(f"{character!r}, which is not understood here,")
        return Characters(frozenset(character))

    def escaped(self) -> frozenset[str]:
        character = self.take()
        if character.isalnum() and character not in CLASSES:
            self.refuse(f"the unknown escape \\{character}")
        return CLASSES.get(character, frozenset(character))

    def set(self) -> frozenset[str]:
        found: set[str] = set()
        if self.next() == "^":
            self.refuse("a negated set, whose characters are not stated,")
        while self.next() != "]":
            character = self.take()
            if character == "\\":
                found |= self.escaped()
            elif self.next() == "-" and self.pattern[self.place + 1 : self.place + 2] not in ("]", ""):
                self.take()
                last = self.take()
                if last < character:
                    self.refuse("a range that runs backwards")
                found |= {chr(code) for code in range(ord(character), ord(last) + 1)}
            else:
                found.add(character)
        self.take()
        if not found:
            self.refuse("an empty set")
        return frozenset(found)

    def repeats(self, inner: Expression) -> Expression:
        while self.next() in ("*", "+", "?", "{") and self.next():
            sign = self.take()
            if sign == "*":
                inner = repeat(inner)
            elif sign == "+":
                inner = sequence(inner, repeat(inner))
            elif sign == "?":
                inner = either(inner, EMPTY)
            else:
                inner = self.counted(inner)
        return inner

    def counted(self, inner: Expression) -> Expression:
        end = self.pattern.find("}", self.place)
        least, comma, most = self.pattern[self.place : end].partition(",") if end > 0 else ("", "", "")
        if not least.isdecimal() or (comma and not most.isdecimal()):
            self.refuse("repeats that are not {n} or {m,n}")
        self.place = end + 1
        low, high = int(least), int(most or least)
        if not low <= high <= REPEATS:
            self.refuse(f"repeats that do not lie between 0 and {REPEATS} in ascending order")
        optional: Expression = EMPTY
        for _ in range(high - low):
            optional = either(EMPTY, sequence(inner, optional))
        return sequence(*[inner] * low, optional)

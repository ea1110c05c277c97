"""Checks of the exercises on stop strings and beam search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plm_chapters.checks.feedback import Check, CheckFailed, Draw
from plm_core.generation.stop_strings import StopStrings

# --- 5: stop strings ------------------------------------------------------------------------------------------------

stopping = Check("Stop strings across pieces")

StopFunction = Callable[[list[str], str], Any]


def _shown(function: StopFunction, pieces: list[str], stop: str) -> list[str]:
    found = list(function(list(pieces), stop))
    if any(not isinstance(each, str) for each in found):
        raise CheckFailed("shown should return a list of texts, one for each piece")
    if len(found) != len(pieces):
        raise CheckFailed(
            f"{len(found)} texts for {len(pieces)} pieces: return one for each, an empty one after the stop"
        )
    return found


def _expected(pieces: Sequence[str], stop: str) -> list[str]:
    cut = StopStrings([stop])
    found = [cut.add(piece) for piece in pieces]
    found[-1] += cut.rest()
    return found


@stopping.stage("inside a piece")
def _(function: StopFunction, draw: Draw) -> None:
    found = "".join(_shown(function, ["one ", "two END three", " four"], "END"))
    if "END" in found:
        raise CheckFailed("the stop string itself is not shown")
    if found != "one two ":
        raise CheckFailed(f"of 'one two END three four' only 'one two ' should be shown, not {found!r}")


@stopping.stage("across pieces")
def _(function: StopFunction, draw: Draw) -> None:
    text, stop = "abcENDxyz", "END"
    for first in range(1, len(text) - 1):
        for second in range(first + 1, len(text)):
            pieces = [text[:first], text[first:second], text[second:]]
            found = "".join(_shown(function, pieces, stop))
            if found != "abc":
                raise CheckFailed(f"from the pieces {pieces} should come 'abc', not {found!r}: stop strings may be cut")
    found = "".join(_shown(function, ["a", "aab", "c"], "aab"))
    if found != "a":
        raise CheckFailed(
            f"from 'a', 'aab', 'c' with the stop string 'aab' should come 'a', not {found!r}: where a longer match "
            "fails, a shorter one may go on"
        )


@stopping.stage("held back and released")
def _(function: StopFunction, draw: Draw) -> None:
    for pieces in (["an E", "vening"], ["EN", "EN", "D!"], ["the END", "."], ["no end EN"]):
        found, right = _shown(function, pieces, "END"), _expected(pieces, "END")
        if "".join(found) != "".join(right):
            raise CheckFailed(f"from {pieces} should come {''.join(right)!r}, not {''.join(found)!r}")
    found = _shown(function, ["one ", "two ", "three"], "END")
    if found[0] != "one ":
        raise CheckFailed("show each piece as soon as it is certain: 'one ' cannot be the beginning of a stop string")
    found = _shown(function, ["a E", "b"], "END")
    if found != ["a ", "Eb"]:
        raise CheckFailed(f"hold back only the end that could begin a stop string: ['a ', 'Eb'], not {found}")


# --- 6: beam search -------------------------------------------------------------------------------------------------

searching = Check("Beam search with a length penalty")

Step = Callable[[tuple[int, ...]], Mapping[int, float]]
SearchFunction = Callable[[Step, int, int, float], Any]
END, WORDS, LONGEST = 0, 4, 4


def _language(draw: Draw) -> Step:
    """Distributions over ``WORDS`` tokens for every beginning, drawn at random; token 0 ends a text."""
    known: dict[tuple[int, ...], dict[int, float]] = {}

    def step(written: tuple[int, ...]) -> Mapping[int, float]:
        if written not in known:
            p_V = Draw(draw.seed, written).normal(WORDS, scale=1.5).double().softmax(-1)
            known[written] = dict(enumerate(p_V.tolist()))
        return known[written]

    return step


def _search(step: Step, width: int, longest: int, alpha: float) -> tuple[int, ...]:
    """The reference: a finished text leaves the beam, whose width shrinks."""
    alive: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    done: list[tuple[float, tuple[int, ...]]] = []
    for length in range(1, longest + 1):
        longer = [
            (total + math.log(p), (*written, token)) for total, written in alive for token, p in step(written).items()
        ]
        longer = sorted(longer, reverse=True)[: width - len(done)]
        for total, written in longer:
            if written[-1] == END or length == longest:
                done.append((total / len(written) ** alpha, written))
        alive = [each for each in longer if each[1][-1] != END]
    return max(done)[1]


def _result(function: SearchFunction, step: Step, width: int, alpha: float) -> tuple[int, ...]:
    found = function(step, width, LONGEST, alpha)
    if not isinstance(found, tuple | list) or not all(isinstance(token, int) for token in found):
        raise CheckFailed("beam should return the tokens of the best text")
    return tuple(found)


def _probability(step: Step, tokens: Sequence[int]) -> float:
    return math.prod(step(tuple(tokens[:place]))[token] for place, token in enumerate(tokens))


@searching.stage("width one")
def _(function: SearchFunction, draw: Draw) -> None:
    for number in range(5):
        step = _language(Draw(draw.seed, number))
        if _result(function, step, 1, 0.0) != _search(step, 1, LONGEST, 0.0):
            raise CheckFailed("with width 1 a beam is greedy search: take the likeliest token until it is 0")


@searching.stage("the best of all")
def _(function: SearchFunction, draw: Draw) -> None:
    for number in range(5):
        step = _language(Draw(draw.seed, "all", number))
        found, right = _result(function, step, 500, 0.0), _search(step, 500, LONGEST, 0.0)
        if found != right:
            if END in found[:-1]:
                raise CheckFailed("a text that has ended with token 0 was extended")
            raise CheckFailed(
                f"a beam of 500 keeps everything, and the likeliest text is {right} "
                f"({_probability(step, right):.4f}), not {found} ({_probability(step, found):.4f})"
            )


@searching.stage("a narrow beam")
def _(function: SearchFunction, draw: Draw) -> None:
    for number in range(150):  # the difference shows in few of them
        step = _language(Draw(draw.seed, "narrow", number))
        for width in (2, 3):
            if _result(function, step, width, 0.0) != _search(step, width, LONGEST, 0.0):
                raise CheckFailed(
                    "a finished text leaves the beam, and its place with it: keep width minus the finished ones"
                )


@searching.stage("length")
def _(function: SearchFunction, draw: Draw) -> None:
    for number in range(20):
        step = _language(Draw(draw.seed, "length", number))
        for alpha in (1.0, 0.5):
            found, right = _result(function, step, 500, alpha), _search(step, 500, LONGEST, alpha)
            if found != right:
                hint = " (this is the result without the penalty)" if found == _search(step, 500, LONGEST, 0.0) else ""
                raise CheckFailed(f"with alpha = {alpha:g} divide the log-probability by length ** {alpha:g}{hint}")

"""Checks of the exercises on text: units, their numbers and windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from plm_chapters.checks.feedback import Check, CheckFailed, Draw
from plm_core.data.bpe import join_pair

Pair = tuple[str, str]


def expect_list(value: Any, expected: Sequence[Any], *, what: str, mistakes: Mapping[str, Sequence[Any]]) -> None:
    """Compare a list item by item; pairs may be written as lists or tuples."""
    if not isinstance(value, list | tuple):
        raise CheckFailed(f"{what} should be a list, but it is {value!r}")
    found = [tuple(item) if isinstance(item, list) else item for item in value]
    if found == list(expected):
        return
    for mistake, wrong in mistakes.items():
        if found == list(wrong):
            raise CheckFailed(mistake)
    if len(found) != len(expected):
        raise CheckFailed(f"{what} has {len(found)} items, expected {len(expected)}: {found!r}")
    place = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
    raise CheckFailed(f"{what}: item {place} is {found[place]!r}, expected {expected[place]!r}")


# --- 1: pairs by pencil ---------------------------------------------------------------------------------------------

pencil = Check("Byte-pair encoding by pencil")


@pencil.stage("the merges")
def _(merges: Any, pieces: Any, draw: Draw) -> None:
    right = [("o", "n"), ("o", "on"), ("m", "oon"), ("n", "oon")]
    by_types = [("o", "n"), ("o", "on"), ("m", "oon"), ("moon", "s")]
    other_tie = [("o", "o"), ("oo", "n"), ("m", "oon"), ("n", "oon")]
    mistakes = {
        "each word was counted once: weigh every pair by how often its word occurs.": by_types,
        "o + o and o + n are equally frequent: the alphabetically first pair is joined.": other_tie,
    }
    expect_list(merges, right, what="merges", mistakes=mistakes)


@pencil.stage("a new word")
def _(merges: Any, pieces: Any, draw: Draw) -> None:
    mistakes = {
        "o + on is one of the merges: apply all four, in their order.": ["s", "p", "o", "on", "s"],
        "no merge makes s + p: letters without a merge stay alone.": ["sp", "oon", "s"],
    }
    expect_list(pieces, ["s", "p", "oon", "s"], what="pieces", mistakes=mistakes)


# --- 3: predict the lengths -----------------------------------------------------------------------------------------

lengths = Check("Bytes: predict, then run")


def _expect_counts(counts: Any, words: Sequence[str], names: slice, hint: str) -> None:
    if not isinstance(counts, list | tuple) or len(counts) != 5:
        raise CheckFailed("tokens should be a list of five numbers")
    right = [len(word.encode()) for word in words][names]
    for word, found, expected in zip(words[names], list(counts)[names], right, strict=True):
        if found is ... or found != expected:
            raise CheckFailed(f"{word!r} has not {found!r} tokens. {hint}")


LENGTH_WORDS = ("cat", "café", "猫", "小猫", "🙂")


@lengths.stage("letters")
def _(tokens: Any, draw: Draw) -> None:
    _expect_counts(tokens, LENGTH_WORDS, slice(0, 1), "Without merges every byte is a token; a letter of ASCII is one.")


@lengths.stage("accents and Chinese")
def _(tokens: Any, draw: Draw) -> None:
    hint = "In UTF-8 é, as one character, takes two bytes, and each of these Chinese characters three."
    _expect_counts(tokens, LENGTH_WORDS, slice(1, 4), hint)


@lengths.stage("an emoji")
def _(tokens: Any, draw: Draw) -> None:
    _expect_counts(tokens, LENGTH_WORDS, slice(4, 5), "Characters beyond U+FFFF take four bytes.")


# --- 4: an encoder to repair ----------------------------------------------------------------------------------------

repair = Check("An encoder to repair")

EncodeFunction = Callable[[str, list[Pair]], Any]


def _encode(word: str, merges: Sequence[Pair]) -> list[str]:
    symbols = list(word)
    for pair in merges:
        symbols = join_pair(symbols, pair)
    return symbols


def _leftmost(word: str, merges: Sequence[Pair], fewest: int = 1) -> list[str]:
    """The mistakes of the broken encoder: whichever merge stands leftmost, and words of ``fewest`` symbols are left."""
    symbols = list(word)
    while len(symbols) > fewest:
        places = [place for place, pair in enumerate(pairwise(symbols)) if pair in merges]
        if not places:
            break
        symbols[places[0] : places[0] + 2] = ["".join(symbols[places[0] : places[0] + 2])]
    return symbols


@repair.stage("words of two symbols")
def _(encode: EncodeFunction, draw: Draw) -> None:
    mistakes = {"two symbols can still be joined: the loop ends too early.": ["a", "b"]}
    expect_list(encode("ab", [("a", "b")]), ["ab"], what="encode('ab', ...)", mistakes=mistakes)
    expect_list(encode("a", [("a", "b")]), ["a"], what="encode('a', ...)", mistakes={})


@repair.stage("the order of the merges")
def _(encode: EncodeFunction, draw: Draw) -> None:
    merges = [("b", "c"), ("a", "b"), ("bc", "d")]
    mistakes = {
        "a + b was joined first, because it stands leftmost or was learned last; b + c was learned earlier.": (
            _leftmost("abcd", merges)
        ),
    }
    expect_list(encode("abcd", merges), ["a", "bcd"], what="encode('abcd', ...)", mistakes=mistakes)


@repair.stage("repeated letters")
def _(encode: EncodeFunction, draw: Draw) -> None:
    mistakes = {"equal pairs are joined from left to right: aaa becomes aa a.": ["a", "aa"]}
    expect_list(encode("aaa", [("a", "a")]), ["aa", "a"], what="encode('aaa', ...)", mistakes=mistakes)


@repair.stage("random words")
def _(encode: EncodeFunction, draw: Draw) -> None:
    def word(low: int, high: int) -> str:
        return "".join("abc"[draw.integer(0, 2)] for _ in range(draw.integer(low, high)))

    for _ in range(20):
        merges = _train({word(2, 8): draw.integer(1, 5) for _ in range(5)}, 5)
        for one in (word(1, 9), "".join(merges[0])):
            mistakes = {
                "the leftmost pair was joined, not the one learned first.": _leftmost(one, merges),
                "two symbols can still be joined: the loop ends too early.": _leftmost(one, merges, fewest=2),
            }
            expect_list(
                encode(one, list(merges)), _encode(one, merges), what=f"encode({one!r}, ...)", mistakes=mistakes
            )


# --- 6: windows -----------------------------------------------------------------------------------------------------

windows = Check("Windows that lose no answer")

WindowFunction = Callable[[int, int, int], Any]


def _windows(num_tokens: int, size: int, overlap: int) -> list[tuple[int, int]]:
    starts = range(0, max(num_tokens - overlap, 1), size - overlap)
    return [(start, min(start + size, num_tokens)) for start in starts]


@windows.stage("a short text")
def _(cut: WindowFunction, draw: Draw) -> None:
    n = draw.integer(3, 9)
    mistakes = {"a text that fits is one window, which ends where the text ends.": [(0, 10)]}
    expect_list(cut(n, 10, 4), [(0, n)], what=f"cut({n}, 10, 4)", mistakes=mistakes)
    mistakes = {"the second window holds only what the first had already.": [(0, 10), (6, 10)]}
    expect_list(cut(10, 10, 4), [(0, 10)], what="cut(10, 10, 4)", mistakes=mistakes)


@windows.stage("no token is lost")
def _(cut: WindowFunction, draw: Draw) -> None:
    size = draw.integer(7, 12)
    n = 5 * (size - 2) + 2 + draw.integer(1, size - 3)  # the last window is not full
    found = cut(n, size, 2)
    if not isinstance(found, list | tuple):
        raise CheckFailed(f"cut should return a list of (start, end), but it returned {type(found).__name__}")
    if any(end - start > size for start, end in found):
        raise CheckFailed(f"a window is longer than {size} tokens")
    lost = sorted(set(range(n)) - {token for start, end in found for token in range(start, end)})
    if lost:
        raise CheckFailed(f"tokens {lost[0]} to {lost[-1]} of {n} are in no window: the last window may be shorter")


@windows.stage("the overlap")
def _(cut: WindowFunction, draw: Draw) -> None:
    overlap = draw.integer(2, 4)
    found = cut(50, 10, overlap)
    if not isinstance(found, list | tuple) or len(found) < 2:
        raise CheckFailed("50 tokens do not fit into one window of 10")
    for (_, end), (start, _) in pairwise(found):
        if end < 50 and end - start != overlap:
            raise CheckFailed(f"two windows share {end - start} tokens, expected {overlap}: step by size - overlap")


@windows.stage("random texts")
def _(cut: WindowFunction, draw: Draw) -> None:
    for _ in range(30):
        n, size = draw.integer(1, 60), draw.integer(4, 12)
        overlap = draw.integer(0, size - 1)
        expect_list(cut(n, size, overlap), _windows(n, size, overlap), what=f"cut({n}, {size}, {overlap})", mistakes={})


def _train(word_counts: Mapping[str, int], num_merges: int) -> list[Pair]:
    words = {word: list(word) for word in word_counts}
    merges: list[Pair] = []
    for _ in range(num_merges):
        counts: Counter[Pair] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                counts[pair] += word_counts[word]
        if not counts:
            break
        merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        words = {word: join_pair(symbols, merges[-1]) for word, symbols in words.items()}
    return merges

"""Checks of the exercises on text: units, their numbers and windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from plm_chapters.checks.feedback import Check, CheckFailed, Draw
from plm_core.data.bpe import join_pair
from plm_core.data.wordpiece import longest_match

Pair = tuple[str, str]


def _expect_list(value: Any, expected: Sequence[Any], *, what: str, mistakes: Mapping[str, Sequence[Any]]) -> None:
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
    _expect_list(merges, right, what="merges", mistakes=mistakes)


@pencil.stage("a new word")
def _(merges: Any, pieces: Any, draw: Draw) -> None:
    mistakes = {
        "o + on is one of the merges: apply all four, in their order.": ["s", "p", "o", "on", "s"],
        "no merge makes s + p: letters without a merge stay alone.": ["sp", "oon", "s"],
    }
    _expect_list(pieces, ["s", "p", "oon", "s"], what="pieces", mistakes=mistakes)


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
    hint = "In UTF-8 a letter with an accent takes two bytes, a Chinese character three."
    _expect_counts(tokens, LENGTH_WORDS, slice(1, 4), hint)


@lengths.stage("an emoji")
def _(tokens: Any, draw: Draw) -> None:
    _expect_counts(tokens, LENGTH_WORDS, slice(4, 5), "Characters beyond U+FFFF take four bytes.")


# --- 4: longest match -----------------------------------------------------------------------------------------------

matching = Check("WordPiece: the longest match")

MatchFunction = Callable[[str, set[str]], Any]


@matching.stage("one piece")
def _(match: MatchFunction, draw: Draw) -> None:
    vocabulary = {"a", "ab", "abc", "##c"}
    mistakes = {
        "it took the shortest piece: begin with the whole word and make it shorter.": ["a", "[UNK]"],
        "it stopped at a shorter piece than it could have.": ["ab", "##c"],
    }
    _expect_list(match("abc", vocabulary), ["abc"], what="match('abc')", mistakes=mistakes)


@matching.stage("pieces inside a word")
def _(match: MatchFunction, draw: Draw) -> None:
    vocabulary = {"play", "ing", "##ing", "##s", "s"}
    mistakes = {"inside a word a piece begins with ##: 'ing' and '##ing' are two pieces.": ["play", "ing"]}
    _expect_list(match("playing", vocabulary), ["play", "##ing"], what="match('playing')", mistakes=mistakes)
    mistakes = {"'##ing' stands inside a word only; at its start the piece is 'ing'.": ["##ing", "##s"]}
    _expect_list(match("ings", vocabulary), ["ing", "##s"], what="match('ings')", mistakes=mistakes)


@matching.stage("words that cannot be cut")
def _(match: MatchFunction, draw: Draw) -> None:
    mistakes = {
        "the whole word is unknown, not only the rest of it: return ['[UNK]'] alone.": ["play", "[UNK]"],
        "a word with an unknown part has no pieces at all: return ['[UNK]'].": ["play"],
    }
    _expect_list(match("playx", {"play"}), ["[UNK]"], what="match('playx')", mistakes=mistakes)


@matching.stage("random words")
def _(match: MatchFunction, draw: Draw) -> None:
    def word(low: int, high: int) -> str:
        return "".join("abc"[draw.integer(0, 2)] for _ in range(draw.integer(low, high)))

    for _ in range(40):
        vocabulary = {prefix + word(1, 3) for prefix in ("", "##") for _ in range(8)} | {"a", "##a", "##b"}
        one = word(1, 8)
        _expect_list(match(one, vocabulary), longest_match(one, vocabulary), what=f"match({one!r})", mistakes={})


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
    _expect_list(cut(n, 10, 4), [(0, n)], what=f"cut({n}, 10, 4)", mistakes=mistakes)
    mistakes = {"the second window holds only what the first had already.": [(0, 10), (6, 10)]}
    _expect_list(cut(10, 10, 4), [(0, 10)], what="cut(10, 10, 4)", mistakes=mistakes)


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
    for (_, end), (start, _) in pairwise(cut(50, 10, overlap)):
        if end < 50 and end - start != overlap:
            raise CheckFailed(f"two windows share {end - start} tokens, expected {overlap}: step by size - overlap")


@windows.stage("random texts")
def _(cut: WindowFunction, draw: Draw) -> None:
    for _ in range(30):
        n, size = draw.integer(1, 60), draw.integer(4, 12)
        overlap = draw.integer(0, size - 1)
        _expect_list(
            cut(n, size, overlap), _windows(n, size, overlap), what=f"cut({n}, {size}, {overlap})", mistakes={}
        )


# --- 7: training BPE ------------------------------------------------------------------------------------------------

training = Check("Byte-pair encoding, trained")

TrainFunction = Callable[[dict[str, int], int], Any]


def _train(
    word_counts: Mapping[str, int], num_merges: int, *, weighted: bool = True, latest: bool = False
) -> list[Pair]:
    words = {word: list(word) for word in word_counts}
    merges: list[Pair] = []
    for _ in range(num_merges):
        counts: Counter[Pair] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                counts[pair] += word_counts[word] if weighted else 1
        if not counts:
            break
        top = max(counts.values())
        ties = sorted(pair for pair, count in counts.items() if count == top)
        merges.append(ties[-1] if latest else ties[0])
        words = {word: join_pair(symbols, merges[-1]) for word, symbols in words.items()}
    return merges


@training.stage("one merge")
def _(train: TrainFunction, draw: Draw) -> None:
    word_counts = {"ab": draw.integer(6, 9), "cd": 1, "ce": 1, "cdx": 1}
    mistakes = {"each word was counted once: weigh a pair by how often its word occurs.": [("c", "d")]}
    _expect_list(train(word_counts, 1), [("a", "b")], what="train(...)", mistakes=mistakes)


@training.stage("merges of merges")
def _(train: TrainFunction, draw: Draw) -> None:
    mistakes = {"the words were not rewritten: after a merge, count the pairs of the new symbols.": [("a", "b")] * 2}
    _expect_list(train({"abc": 3, "ab": 2}, 2), [("a", "b"), ("ab", "c")], what="train(...)", mistakes=mistakes)


@training.stage("repeated letters")
def _(train: TrainFunction, draw: Draw) -> None:
    right = [("a", "a"), ("aa", "a")]
    _expect_list(train({"aaa": 4}, 2), right, what="train({'aaa': 4}, 2)", mistakes={})


@training.stage("nothing left to join")
def _(train: TrainFunction, draw: Draw) -> None:
    _expect_list(train({"ab": 1, "c": 5}, 9), [("a", "b")], what="train({'ab': 1, 'c': 5}, 9)", mistakes={})


@training.stage("random words")
def _(train: TrainFunction, draw: Draw) -> None:
    for _ in range(5):
        words = {
            "".join("abcd"[draw.integer(0, 3)] for _ in range(draw.integer(1, 7))): draw.integer(1, 9) for _ in range(8)
        }
        mistakes = {
            "of equally frequent pairs the alphabetically first is joined.": _train(words, 6, latest=True),
            "each word was counted once: weigh a pair by how often its word occurs.": _train(words, 6, weighted=False),
        }
        _expect_list(train(words, 6), _train(words, 6), what="train(...)", mistakes=mistakes)

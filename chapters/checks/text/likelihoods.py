"""Checks of the exercises on text: losses in bits per byte, and the probability of a word under the unigram model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from plm_chapters.checks.feedback import Check, CheckFailed, Draw
from plm_chapters.checks.text.tokens import expect_list

# --- 7: a fair comparison -------------------------------------------------------------------------------------------

fair = Check("A fair comparison")

BitsFunction = Callable[[float, int, int], Any]


@fair.stage("bits per byte")
def _(bits_per_byte: BitsFunction, ranked: Any, excluded: Any, draw: Draw) -> None:
    nats, tokens, size = draw.integer(10, 60) / 10, draw.integer(1000, 9000), draw.integer(20_000, 40_000)
    right = nats * tokens / math.log(2) / size
    found = bits_per_byte(nats, tokens, size)
    if not isinstance(found, int | float):
        raise CheckFailed(f"bits_per_byte should return a number, but it returned {found!r}")
    mistakes = {
        "these are nats per byte: divide by the natural logarithm of 2.": nats * tokens / size,
        "these are bits per token: multiply by the tokens and divide by the bytes.": nats / math.log(2),
        "a nat is 1 / ln 2 bits: divide by ln 2 instead of multiplying.": nats * tokens * math.log(2) / size,
        "tokens and bytes are the wrong way round.": nats * size / math.log(2) / tokens,
    }
    if math.isclose(found, right, rel_tol=1e-6):
        return
    for mistake, wrong in mistakes.items():
        if math.isclose(found, wrong, rel_tol=1e-6):
            raise CheckFailed(mistake)
    raise CheckFailed(f"bits_per_byte({nats}, {tokens}, {size}) is {found}, expected {right:.4f}")


@fair.stage("what cannot be ranked")
def _(bits_per_byte: BitsFunction, ranked: Any, excluded: Any, draw: Draw) -> None:
    found = set(excluded) if isinstance(excluded, set | list | tuple) else set()
    if found == {"C", "D"}:
        return
    if "C" not in found:
        raise CheckFailed("model C does not say what its unknown words are: its bits are too few by an unknown amount")
    if "D" not in found:
        raise CheckFailed("model D was measured on another text, which may be easier or harder")
    raise CheckFailed(f"of {sorted(found)} some can be ranked: same text, no unknowns")


@fair.stage("the ranking")
def _(bits_per_byte: BitsFunction, ranked: Any, excluded: Any, draw: Draw) -> None:
    mistakes = {
        "this is the order of the loss per token; or is the best model, with the fewest bits, last?": ["B", "E", "A"],
        "C and D cannot be ranked: leave them out.": ["D", "C", "A", "E", "B"],
        "C cannot be ranked, since its unknown words are not charged for.": ["C", "A", "E", "B"],
        "D cannot be ranked: it was measured on another text.": ["D", "A", "E", "B"],
    }
    expect_list(ranked, ["A", "E", "B"], what="ranked", mistakes=mistakes)


# --- 8: all the ways to cut a word ----------------------------------------------------------------------------------

cuts = Check("All the ways to cut a word")

CutsFunction = Callable[[str, dict[str, float]], Any]


def _probability(word: str, p: Mapping[str, float], *, best: bool = False) -> float:
    """The sum over all cuts of the product of the pieces' probabilities, or the largest product."""
    ways = [1.0] + [0.0] * len(word)
    for end in range(1, len(word) + 1):
        terms = [ways[start] * p.get(word[start:end], 0.0) for start in range(end)]
        ways[end] = max(terms) if best else sum(terms)
    return ways[-1]


def _expect_probability(found: Any, right: float, word: str, mistakes: Mapping[str, float]) -> None:
    if not isinstance(found, int | float):
        raise CheckFailed(f"probability({word!r}, p) should return a number, but it returned {found!r}")
    if math.isclose(found, right, rel_tol=1e-9, abs_tol=1e-300):
        return
    for mistake, wrong in mistakes.items():
        if math.isclose(found, wrong, rel_tol=1e-9):
            raise CheckFailed(mistake)
    raise CheckFailed(f"probability({word!r}, p) is {found:.6g}, expected {right:.6g}")


ALL_ONES = "only the empty beginning has the probability 1; every other place starts with 0."


@cuts.stage("one piece")
def _(probability: CutsFunction, draw: Draw) -> None:
    p = draw.integer(1, 9) / 10
    _expect_probability(probability("a", {"a": p, "b": 1 - p}), p, "a", {ALL_ONES: 1 + p})


@cuts.stage("several cuts")
def _(probability: CutsFunction, draw: Draw) -> None:
    p = {"rain": 0.4, "train": 0.2, "rains": 0.1, "s": 0.1, "t": 0.1}
    mistakes = {
        "this is the best cut alone: add all of them.": 0.02,
        ALL_ONES: 1.274,
    }
    _expect_probability(probability("trains", p), 0.034, "trains", mistakes)


@cuts.stage("no cut")
def _(probability: CutsFunction, draw: Draw) -> None:
    _expect_probability(probability("cat", {"c": 0.5, "a": 0.5}), 0.0, "cat", {})


@cuts.stage("random words")
def _(probability: CutsFunction, draw: Draw) -> None:
    for _ in range(20):
        names = {"".join("abc"[draw.integer(0, 2)] for _ in range(draw.integer(1, 3))) for _ in range(8)} | {
            "a",
            "b",
            "c",
        }
        word = "".join("abc"[draw.integer(0, 2)] for _ in range(draw.integer(1, 10)))
        short = {name: 1 / (len(names) + 1) for name in sorted(names)}
        p = short | {word[-8:]: 1 / (len(names) + 1)}
        mistakes = {
            "this is the best cut alone: add all of them.": _probability(word, p, best=True),
            "long pieces are left out: a piece may be as long as the word.": _probability(word, short),
        }
        _expect_probability(probability(word, p), _probability(word, p), word, mistakes)


class _Watched(dict[str, float]):
    """Probabilities that refuse to be looked up far more often than a good method needs."""

    lookups = 0

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > 20_000:
            raise CheckFailed(
                "a word of 40 letters needs fewer than 2,000 look-ups: do not list the cuts, there are millions of "
                "them; the probability of each beginning is enough to find that of the next longer one"
            )

    def __getitem__(self, piece: str) -> float:
        self._count()
        return super().__getitem__(piece)

    def __contains__(self, piece: object) -> bool:
        self._count()
        return super().__contains__(piece)

    def get(self, piece: str, default: Any = None) -> Any:
        self._count()
        return super().get(piece, default)

    def __iter__(self) -> Iterator[str]:
        for piece in super().__iter__():
            self._count()
            yield piece

    def keys(self) -> Any:
        return list(self)

    def values(self) -> Any:
        return [super(_Watched, self).__getitem__(piece) for piece in self]

    def items(self) -> Any:
        return [(piece, super(_Watched, self).__getitem__(piece)) for piece in self]


@cuts.stage("a long word")
def _(probability: CutsFunction, draw: Draw) -> None:
    p = _Watched({"a": 0.5, "aa": 0.3, "aaa": 0.2})
    right = _probability("a" * 40, p)
    p.lookups = 0
    _expect_probability(probability("a" * 40, p), right, "a" * 40, {})

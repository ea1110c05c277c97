"""Contamination: whether test examples stand in the training text, found by long n-grams that they share.

Source: Brown et al. (2020), "Language models are few-shot learners", appendix C, with n from 8 to 13 words in lower
case and without punctuation. Rewording hides an example from this check, and a common phrase is no leak: read what it
finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Token = str | int


@dataclass(frozen=True)
class Overlap:
    """How much of one test example stands in the training text."""

    ngrams: int
    """Number of the example's n-grams; 0 if it is shorter than n, so that nothing can be said."""
    found: int
    """How many of them occur in the training text."""
    covered: float
    """Share of the example's tokens, from 0 to 1, that lie in an n-gram which was found."""

    @property
    def share(self) -> float:
        """Share of the n-grams that occur in the training text; 0 if there are none."""
        return self.found / self.ngrams if self.ngrams else 0.0


def overlaps(test: Sequence[Sequence[Token]], training: Iterable[Sequence[Token]], *, n: int = 13) -> list[Overlap]:
    """Look up the n-grams of test examples in a training text.

    Memory grows with the test examples alone; the training text is read once, document by document.

    Args:
        test: the tokens of each example, words or ids.
        training: the tokens of each training document, split in the same way.
        n: length of the n-grams. Short ones are found by chance: try the check on text that cannot be contaminated.

    Raises:
        ValueError: n below 1, or tokens given as a string.

    >>> [overlap] = overlaps([["a", "b", "c", "d"]], [["x", "a", "b", "c"]], n=2)
    >>> overlap
    Overlap(ngrams=3, found=2, covered=0.75)
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    wanted: dict[tuple[Token, ...], list[tuple[int, int]]] = {}
    for number, tokens in enumerate(test):
        for place, ngram in enumerate(_ngrams(tokens, n)):
            wanted.setdefault(ngram, []).append((number, place))
    found: list[set[int]] = [set() for _ in test]
    for document in training:
        for ngram in _ngrams(document, n):
            for number, place in wanted.pop(ngram, ()):
                found[number].add(place)
    return [_overlap(len(tokens), places, n) for tokens, places in zip(test, found, strict=True)]


def _ngrams(tokens: Sequence[Token], n: int) -> Iterable[tuple[Token, ...]]:
    if isinstance(tokens, str):
        raise ValueError("tokens are given as a list of words or ids, not as a string")
    return zip(*(tokens[start:] for start in range(n)), strict=False)


def _overlap(length: int, places: set[int], n: int) -> Overlap:
    covered = {place + offset for place in places for offset in range(n)}
    return Overlap(max(0, length - n + 1), len(places), len(covered) / length if length else 0.0)


@dataclass(frozen=True)
class SplitScores:
    """A model's mean score on clean and on contaminated examples; None where there are no such examples."""

    clean: float | None
    """Mean over the clean examples."""
    contaminated: float | None
    """Mean over the others."""
    clean_count: int
    """Number of clean examples."""
    contaminated_count: int
    """Number of the others."""


def split_scores(scores: Sequence[float], found: Sequence[Overlap], *, threshold: float = 0.0) -> SplitScores:
    """Mean scores of clean and contaminated examples.

    A higher score on contaminated examples is no proof of memorising: they may be easier. Compare with a model that
    cannot have seen them.

    Args:
        scores: the model's score of each example.
        found: the examples' overlaps.
        threshold: an example is contaminated if a larger share of its n-grams was found.

    Raises:
        ValueError: different numbers of scores and overlaps.
    """
    if len(scores) != len(found):
        raise ValueError(f"there are {len(scores)} scores and {len(found)} overlaps")
    clean = [score for score, overlap in zip(scores, found, strict=True) if overlap.share <= threshold]
    others = [score for score, overlap in zip(scores, found, strict=True) if overlap.share > threshold]
    return SplitScores(_mean(clean), _mean(others), len(clean), len(others))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None

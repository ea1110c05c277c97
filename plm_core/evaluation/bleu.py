"""BLEU and chrF: scores of generated text by the n-grams that it shares with references.

Both work on what they are given: BLEU on tokens, chrF on text. For BLEU that others can compare with, let ``sacrebleu``
tokenise, and report its signature. Sources: Papineni et al. (2002), "BLEU: a method for automatic evaluation of machine
translation"; Popović (2015), "chrF: character n-gram F-score for automatic MT evaluation"; Post (2018), "A call for
clarity in reporting BLEU scores", whose ``sacrebleu`` gives the same scores.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CHARACTER_ORDER = 6
"""The longest character n-gram of chrF."""
BETA = 2
"""How many times as important recall is as precision in chrF."""


def ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each sequence of n neighbouring tokens occurs; no token at all of n-grams longer than the text.

    Args:
        tokens: strings; of a string its characters.
        n: at least 1.
    """
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


@dataclass(frozen=True)
class Bleu:
    """A BLEU score and what it consists of."""

    score: float
    """From 0 to 100: brevity penalty times the geometric mean of the precisions."""
    precisions: tuple[float, ...]
    """For each n, from 0 to 100, after smoothing."""
    brevity_penalty: float
    """Below 1 if the hypotheses are shorter than the references."""
    matches: tuple[int, ...]
    """For each n the n-grams of the hypotheses that a reference has, each at most as often as one reference has it."""
    totals: tuple[int, ...]
    """For each n the n-grams of the hypotheses."""
    hypothesis_length: int
    """Tokens of all hypotheses."""
    reference_length: int
    """Tokens of the references: of each example those of the one that is closest in length to the hypothesis."""


def bleu(
    hypotheses: Sequence[Sequence[str]],
    references: Sequence[Sequence[Sequence[str]]],
    *,
    max_order: int = 4,
    smoothing: Literal["exp", "none"] = "exp",
    effective_order: bool = False,
) -> Bleu:
    """BLEU of a corpus: matches are counted over all examples first, so it is no mean of the examples' scores.

    Args:
        hypotheses: for each example the tokens that a model generated.
        references: for each example at least one list of tokens.
        max_order: the longest n-gram.
        smoothing: what stands for a precision of 0. ``"exp"``: half of one match, and half as much again at each
            further such n; ``"none"``: nothing, which makes the score 0.
        effective_order: leave out orders of which the hypotheses have no n-gram, as for scores of single sentences.

    Raises:
        ValueError: no examples, lists of different lengths, an example without reference, or a setting outside its
            range.

    >>> result = bleu([["the", "cat", "sat"]], [[["the", "cat", "sat", "down"]]], max_order=2)
    >>> result.matches, result.totals, round(result.score, 1)
    ((3, 2), (3, 2), 71.7)
    """
    check_examples(hypotheses, references)
    if max_order < 1:
        raise ValueError(f"max_order must be at least 1, got {max_order}")
    if smoothing not in ("exp", "none"):
        raise ValueError(f"smoothing must be exp or none, got {smoothing!r}")
    matches, totals = [0] * max_order, [0] * max_order
    hypothesis_length = reference_length = 0
    for hypothesis, accepted in zip(hypotheses, references, strict=True):
        length = len(hypothesis)
        hypothesis_length += length
        reference_length += min((abs(len(each) - length), len(each)) for each in accepted)[1]
        for n in range(1, max_order + 1):
            counts, allowed = ngrams(hypothesis, n), Counter[tuple[str, ...]]()
            for reference in accepted:
                allowed |= ngrams(reference, n)
            matches[n - 1] += (counts & allowed).total()
            totals[n - 1] += counts.total()
    penalty = 1.0
    if hypothesis_length < reference_length:
        penalty = math.exp(1 - reference_length / hypothesis_length) if hypothesis_length else 0.0
    precisions = _precisions(matches, totals, smoothing)
    counted = precisions[: sum(map(bool, totals))] if effective_order else precisions
    score = 0.0
    if counted and min(counted) > 0:
        score = penalty * math.exp(sum(map(math.log, counted)) / len(counted))
    return Bleu(score, tuple(precisions), penalty, tuple(matches), tuple(totals), hypothesis_length, reference_length)


def _precisions(matches: Sequence[int], totals: Sequence[int], smoothing: str) -> list[float]:
    if not any(matches):
        return [0.0] * len(matches)
    precisions, assumed = [], 1.0
    for matched, total in zip(matches, totals, strict=True):
        count: float = matched
        if total and not matched and smoothing == "exp":
            assumed /= 2
            count = assumed
        precisions.append(100 * count / total if total else 0.0)
    return precisions


def chrf(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    max_order: int = CHARACTER_ORDER,
    beta: float = BETA,
) -> float:
    """chrF of a corpus, from 0 to 100: an F-score of character n-grams, spaces left out.

    Precision and recall are means over the orders of which both sides have n-grams. Of several references of an example
    the one with the highest score counts.

    Args:
        hypotheses: for each example the text that a model generated.
        references: for each example at least one text.
        max_order: the longest n-gram, in characters.
        beta: how many times as important recall is as precision.

    Raises:
        ValueError: no examples, lists of different lengths, an example without reference, or a setting outside its
            range.
    """
    check_examples(hypotheses, references)
    if max_order < 1 or not 0 < beta < math.inf:
        raise ValueError(f"max_order must be at least 1 and beta positive, got {max_order} and {beta}")
    total = [(0, 0, 0)] * max_order
    for hypothesis, accepted in zip(hypotheses, references, strict=True):
        found = [_character_matches(hypothesis, reference, max_order) for reference in accepted]
        best = max(found, key=lambda counts: _f_score(counts, beta))
        total = [(a + d, b + e, c + f) for (a, b, c), (d, e, f) in zip(total, best, strict=True)]
    return 100 * _f_score(total, beta)


def _character_matches(hypothesis: str, reference: str, max_order: int) -> list[tuple[int, int, int]]:
    one, other = "".join(hypothesis.split()), "".join(reference.split())
    counts = []
    for n in range(1, max_order + 1):
        in_one, in_other = ngrams(one, n), ngrams(other, n)
        # As in sacrebleu, n-grams count for nothing if the reference is too short to have any.
        counts.append(((in_one & in_other).total(), in_one.total() if in_other else 0, in_other.total()))
    return counts


def _f_score(counts: Sequence[tuple[int, int, int]], beta: float) -> float:
    both = [each for each in counts if each[1] and each[2]]
    if not any(matched for matched, _, _ in both):
        return 0.0
    precision = sum(matched / predicted for matched, predicted, _ in both) / len(both)
    recall = sum(matched / true for matched, _, true in both) / len(both)
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def check_examples(hypotheses: Sequence[object], references: Sequence[Sequence[object]]) -> None:
    """Raise ValueError if there are no examples, their numbers differ, or an example has no reference."""
    if len(hypotheses) != len(references):
        raise ValueError(f"there are {len(hypotheses)} hypotheses and references for {len(references)} examples")
    if not hypotheses:
        raise ValueError("there are no examples to score")
    for kind, texts in (("hypotheses", [hypotheses]), ("the references of each example", references)):
        if any(isinstance(each, str) for each in texts):
            raise ValueError(f"{kind} must be a list, not a string")
    for number, accepted in enumerate(references):
        if not len(accepted):
            raise ValueError(f"example {number} has no reference")

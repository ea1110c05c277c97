"""ROUGE: scores of a summary by the n-grams, or the longest common subsequence, that it shares with a reference.

Source: Lin (2004), "ROUGE: a package for automatic evaluation of summaries". The package ``rouge-score`` gives the same
scores for its own tokens, those of :func:`tokens`; with its stemmer it gives others, so say which was used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from plm_core.evaluation.bleu import ngrams
from plm_core.evaluation.classification import Scores

NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


def tokens(text: str) -> list[str]:
    """The words of an English text as ``rouge-score`` finds them without a stemmer: runs of a-z and 0-9, in lower case.

    Letters with accents and other scripts are lost, so that a text in Chinese has no words at all. Split such texts
    with a tokenizer of their language.

    >>> tokens("It's a café.")
    ['it', 's', 'a', 'caf']
    """
    return NOT_ALPHANUMERIC.sub(" ", text.lower()).split()


def rouge_n(predicted: Sequence[str], reference: Sequence[str], n: int) -> Scores:
    """ROUGE-N: precision, recall and F1 of n-grams, with repetitions.

    Args:
        predicted: tokens of the generated summary.
        reference: tokens of the reference.
        n: length of the n-grams, at least 1.

    Raises:
        ValueError: n below 1.

    >>> rouge_n(["the", "cat", "sat"], ["the", "cat", "lay", "down"], 1)
    Scores(precision=0.6666666666666666, recall=0.5, f1=0.5714285714285714, support=4)
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    in_predicted, in_reference = ngrams(predicted, n), ngrams(reference, n)
    return Scores.from_counts((in_predicted & in_reference).total(), in_predicted.total(), in_reference.total())


def rouge_l(predicted: Sequence[str], reference: Sequence[str]) -> Scores:
    """ROUGE-L: precision, recall and F1 of the longest common subsequence, which need not be contiguous.

    Args:
        predicted: tokens of the generated summary.
        reference: tokens of the reference.

    >>> rouge_l(["the", "cat", "sat"], ["the", "old", "cat", "sat", "down"]).recall
    0.6
    """
    return Scores.from_counts(common_subsequence(predicted, reference), len(predicted), len(reference))


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest sequence of tokens that occurs in both in the same order, with gaps allowed."""
    above = [0] * (len(other) + 1)
    for token in one:
        row = [0]
        for place, each in enumerate(other):
            row.append(above[place] + 1 if token == each else max(above[place + 1], row[place]))
        above = row
    return above[-1]


def best_of(scores: Sequence[Scores]) -> Scores:
    """Of the scores against several references those with the highest F1, the first of equals.

    Raises:
        ValueError: no scores.
    """
    if not scores:
        raise ValueError("there is no reference to score against")
    return max(scores, key=lambda each: each.f1)

"""Scores of extracted answers: exact match and the F1 of their words, as for SQuAD.

Sources: Rajpurkar et al. (2016), "SQuAD: 100,000+ questions for machine comprehension of text"; for questions without
an answer, Rajpurkar et al. (2018), "Know what you don't know".
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """An answer in lower case, without ASCII punctuation and English articles, its words separated by single spaces.

    >>> normalise("The  U.S. Army!")
    'us army'
    """
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def exact_match(predicted: str, true: str) -> float:
    """1 if two answers are equal after :func:`normalise`, else 0."""
    return float(normalise(predicted) == normalise(true))


def token_f1(predicted: str, true: str) -> float:
    """F1 of the words that two normalised answers share, with repetitions; of an empty answer 1 or 0, as it matches.

    >>> token_f1("the red house", "a red brick house")
    0.8
    """
    one, other = normalise(predicted).split(), normalise(true).split()
    if not one or not other:
        return float(one == other)
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other))


@dataclass(frozen=True)
class AnswerScores:
    """Mean scores over questions, each from 0 to 1."""

    exact: float
    """Share of the questions whose answer matches exactly."""
    f1: float
    """Mean F1."""
    count: int
    """Number of questions."""


def answer_scores(predicted: Sequence[str], true: Sequence[Sequence[str]]) -> AnswerScores:
    """Score an answer to each question; of several true answers the one that fits best counts.

    Args:
        predicted: for each question an answer; the empty string says that the text holds none.
        true: for each question the answers of the annotators; none, or an empty one, where there is no answer.

    Raises:
        ValueError: no questions, or lists of different lengths.

    >>> answer_scores(["Anna", ""], [["Anna", "Anna Smith"], []])
    AnswerScores(exact=1.0, f1=1.0, count=2)
    """
    if len(predicted) != len(true):
        raise ValueError(f"there are {len(predicted)} answers to {len(true)} questions")
    if not predicted:
        raise ValueError("there are no questions to score")
    exact = f1 = 0.0
    for answer, accepted in zip(predicted, true, strict=True):
        candidates = [each for each in accepted if normalise(each)] or [""]
        exact += max(exact_match(answer, each) for each in candidates)
        f1 += max(token_f1(answer, each) for each in candidates)
    return AnswerScores(exact / len(predicted), f1 / len(predicted), len(predicted))


def best_threshold(
    no_answer: Sequence[float], scores: Sequence[float], answerable: Sequence[bool]
) -> tuple[float, float]:
    """The threshold for answering at all, chosen for the best mean score. Choose it on validation data.

    A question whose value in ``no_answer`` exceeds the threshold is left unanswered, which scores 1 where it has no
    answer and 0 where it has one.

    Args:
        no_answer: for each question how strongly the model holds that there is no answer, for example the logit of the
            empty span minus that of the best one.
        scores: the score of the model's answer, exact match or F1, if it is given.
        answerable: whether the question has an answer.

    Returns:
        The smallest best threshold, -inf if it is best never to answer, and the mean score that it gives.

    Raises:
        ValueError: no questions, or lists of different lengths.
    """
    if not len(no_answer) or not len(no_answer) == len(scores) == len(answerable):
        raise ValueError(
            "a threshold needs one value, one score and one flag for each question, got "
            f"{len(no_answer)}, {len(scores)} and {len(answerable)}"
        )
    total = float(sum(not each for each in answerable))
    best, threshold = total, float("-inf")
    order = sorted(range(len(no_answer)), key=no_answer.__getitem__)
    for place, question in enumerate(order):
        total += scores[question] - (not answerable[question])
        last_of_equals = place + 1 == len(order) or no_answer[order[place + 1]] > no_answer[question]
        if last_of_equals and total > best:
            best, threshold = total, no_answer[question]
    return threshold, best / len(no_answer)

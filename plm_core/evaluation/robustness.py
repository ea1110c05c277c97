"""Checklists: inputs are changed in a way whose effect on the answer is known, and the model must show that effect.

A transform is a function from a text to a changed text, or to None where the change does not apply. Random ones are
pure functions of seed and text. Always read some of the changed texts: rules do not know the language.

Source: Ribeiro et al. (2020), "Beyond accuracy: behavioral testing of NLP models with CheckList".
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

A = TypeVar("A")
Transform = Callable[[str], str | None]

SWAPPABLE = re.compile(r"(?<=[A-Za-z])(?=[A-Za-z]{2})")
"""Places between letters of a word, not before its first one, that two letters follow."""
AUXILIARIES = "am|is|are|was|were|can|could|will|would|should|must|may|might"
POSITIVE = re.compile(rf"(?<=\s)({AUXILIARIES})(?=\s)", re.IGNORECASE)
NEGATIVE = re.compile(rf"\b({AUXILIARIES}|do|does|did|has|have|had)(?:n['’]t|\s+not)\b", re.IGNORECASE)
IRREGULAR = {"cannot": "can", "can't": "can", "can’t": "can", "won't": "will", "won’t": "will"}


@dataclass(frozen=True)
class Change(Generic[A]):
    """A text before and after a transform, with the model's answers."""

    before: str
    """The text as it was."""
    after: str
    """The changed text."""
    answer_before: A
    """The model's answer to the text as it was."""
    answer_after: A
    """The model's answer to the changed text."""


@dataclass(frozen=True)
class CheckResult(Generic[A]):
    """What a check found."""

    changes: tuple[Change[A], ...]
    """All texts to which the transform applies."""
    passed: tuple[bool, ...]
    """For each of them whether the answers are as expected."""

    @property
    def failure_rate(self) -> float:
        """Share of the texts with an answer that was not expected."""
        return 1 - sum(self.passed) / len(self.passed)

    @property
    def failures(self) -> list[Change[A]]:
        """The texts with an answer that was not expected."""
        return [change for change, passed in zip(self.changes, self.passed, strict=True) if not passed]


def same(before: A, after: A) -> bool:
    """The expectation of an invariance test: the answer stays."""
    return before == after


def different(before: A, after: A) -> bool:
    """The expectation where the change must change the answer, such as a negation."""
    return before != after


def not_higher(tolerance: float = 0.0) -> Callable[[float, float], bool]:
    """The expectation of a directional test: a score, such as a probability, does not rise by more than a tolerance."""
    return lambda before, after: after <= before + tolerance


def check(
    predict: Callable[[Sequence[str]], Sequence[A]],
    texts: Sequence[str],
    transform: Transform,
    expected: Callable[[A, A], bool] = same,
) -> CheckResult[A]:
    """Compare a model's answers before and after a transform.

    A model that gives the same answer to everything passes every invariance test: report accuracy beside it.

    Args:
        predict: from texts to the model's answers, one for each.
        texts: to be changed.
        transform: the change.
        expected: whether two answers, before and after, are as they should be.

    Raises:
        ValueError: the transform applies to none of the texts, or the number of answers is wrong.

    >>> by_one_word = lambda texts: ["good" in text for text in texts]
    >>> check(by_one_word, ["It is good.", "It is bad."], negate, different).failure_rate
    1.0
    """
    pairs = [(text, changed) for text in texts if (changed := transform(text)) is not None and changed != text]
    if not pairs:
        raise ValueError(f"the transform changes none of the {len(texts)} texts: there is nothing to check")
    answers = list(predict([text for text, _ in pairs] + [changed for _, changed in pairs]))
    if len(answers) != 2 * len(pairs):
        raise ValueError(f"the model gave {len(answers)} answers to {2 * len(pairs)} texts")
    changes = tuple(
        Change(before, after, answer_before, answer_after)
        for (before, after), answer_before, answer_after in zip(
            pairs, answers[: len(pairs)], answers[len(pairs) :], strict=True
        )
    )
    return CheckResult(changes, tuple(bool(expected(each.answer_before, each.answer_after)) for each in changes))


def typos(count: int = 1, *, seed: int = 0) -> Transform:
    """A transform that swaps neighbouring letters, never the first one of a word; words in Latin letters only.

    Args:
        count: how many places; all there are, if a text has fewer.
        seed: which places.

    Raises:
        ValueError: a count below 1.

    >>> typos()("reading")
    'reaidng'
    """
    if count < 1:
        raise ValueError(f"at least one typo is needed, got {count}")

    def transform(text: str) -> str | None:
        starts = [match.start() for match in SWAPPABLE.finditer(text)]
        starts = [start for start in starts if text[start] != text[start + 1]]
        if not starts:
            return None
        generator, letters, used = random.Random(f"{seed} {text}"), list(text), set[int]()
        for start in generator.sample(starts, len(starts)):
            if len(used) == 2 * count:
                break
            if not used & {start, start + 1}:
                letters[start], letters[start + 1] = letters[start + 1], letters[start]
                used |= {start, start + 1}
        return "".join(letters)

    return transform


def substitutes(names: Sequence[str], *, seed: int = 0) -> Transform:
    """A transform that gives other names of a set to all names of the set in a text, the same one at each mention.

    Args:
        names: words or phrases that can stand for each other, such as names of people of one gender.
        seed: which name is given.

    Raises:
        ValueError: fewer than two names, or one twice.
    """
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ValueError(f"at least two different names are needed, none twice; got {list(names)}")
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile(rf"(?<![A-Za-z])({'|'.join(map(re.escape, longest_first))})(?![A-Za-z])")

    def transform(text: str) -> str | None:
        found = list(dict.fromkeys(pattern.findall(text)))
        if not found:
            return None
        generator = random.Random(f"{seed} {text}")
        shift = generator.randrange(1, len(names))
        given = {name: names[(names.index(name) + shift) % len(names)] for name in found}
        return pattern.sub(lambda match: given[match[1]], text)

    return transform


def negate(text: str) -> str | None:
    """An English sentence with its first negated auxiliary verb no longer negated, or else with a verb negated.

    The first negated form of *be*, *do*, *have* or a modal verb loses its negation. In a text without one, ``not``
    follows the first form of *be* or modal verb that does not begin the text. Other verbs would need *do*: the result
    is None where there is no such verb either.

    >>> negate("The film is good."), negate("It is good but it isn't fun."), negate("She likes it.")
    ('The film is not good.', 'It is good but it is fun.', None)
    """
    irregular = re.search(rf"\b({'|'.join(IRREGULAR)})(?![A-Za-z])", text, re.IGNORECASE)
    regular = NEGATIVE.search(text)
    if irregular and (regular is None or irregular.start() <= regular.start()):
        return text[: irregular.start()] + IRREGULAR[irregular[1].lower()] + text[irregular.end() :]
    if regular:
        return text[: regular.start()] + regular[1] + text[regular.end() :]
    positive = POSITIVE.search(text)
    return None if positive is None else f"{text[: positive.end()]} not{text[positive.end() :]}"


def lengthen(filler: str, times: int = 1, *, at_start: bool = False) -> Transform:
    """A transform that adds text which says nothing about the answer: does the model still find what matters?

    Args:
        filler: the text to add, such as a neutral sentence.
        times: how often.
        at_start: add it before the text; else after it.

    Raises:
        ValueError: an empty filler, or ``times`` below 1.
    """
    if not filler.strip() or times < 1:
        raise ValueError(f"a filler that is not empty is needed at least once, got {filler!r} {times} times")
    added = " ".join([filler.strip()] * times)
    return lambda text: f"{added} {text}" if at_start else f"{text} {added}"

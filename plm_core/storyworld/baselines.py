"""Trivial baselines for probes: what can be guessed without any skill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from plm_core.storyworld.probes import Probe


@dataclass(frozen=True)
class BaselineScores:
    """Accuracies on the probes of one skill.

    Attributes:
        last_mention: of the candidate that the story named last.
        first_mention: of the candidate that it named first.
        majority: of the candidate that was right most often among the probes of a training sample.
        chance: of a uniform guess among the candidates.
        ideal: of the ideal reader: 1, for it is certain of every probed word.
        count: number of probes.
    """

    last_mention: float
    first_mention: float
    majority: float
    chance: float
    ideal: float
    count: int


def last_mention(probe: Probe) -> str:
    """The candidate that the words before the place name last; empty if they name none."""
    candidates = {probe.right, *probe.wrong}
    return next((word for word in reversed(probe.words) if word in candidates), "")


def first_mention(probe: Probe) -> str:
    """The candidate that the words before the place name first; empty if they name none."""
    candidates = {probe.right, *probe.wrong}
    return next((word for word in probe.words if word in candidates), "")


def baseline_scores(train: Iterable[Probe], test: Iterable[Probe]) -> dict[str, BaselineScores]:
    """The baselines' accuracy for each skill.

    Args:
        train: probes from which the most frequent answers are counted.
        test: probes that are answered.
    """
    frequent: dict[str, Counter[str]] = {}
    for probe in train:
        frequent.setdefault(probe.skill, Counter())[probe.right] += 1
    groups: dict[str, list[Probe]] = {}
    for probe in test:
        groups.setdefault(probe.skill, []).append(probe)
    found = {}
    for skill, group in sorted(groups.items()):
        counts = frequent.get(skill, Counter())
        usual = [max(sorted((p.right, *p.wrong)), key=lambda word: counts[word]) for p in group]
        size = len(group)
        found[skill] = BaselineScores(
            sum(last_mention(p) == p.right for p in group) / size,
            sum(first_mention(p) == p.right for p in group) / size,
            sum(guess == p.right for guess, p in zip(usual, group, strict=True)) / size,
            sum(1 / (1 + len(p.wrong)) for p in group) / size,
            1.0,
            size,
        )
    return found

"""Trivial baselines: what can be guessed without any skill, at probes and at every word of a story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plm_core.storyworld.probes import Probe
from plm_core.storyworld.skill_reading import ReadWord

BASELINES = ("last mention", "first mention", "majority")


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


class WordBaselines:
    """Trivial guesses at every word of a story.

    They are told what no model is told: the skill of the word to come, and of what sort it is (a name, the noun of a
    place, a number, or a word of the pattern itself). The last mention is the word of that sort that the story has said
    last, the first mention the one that it has said first; among words of patterns, those of the same skill count as of
    one sort. The majority is the most frequent word of that skill and sort in the training stories.

    Args:
        train: training stories as the ideal reader sees them.
    """

    def __init__(self, train: Iterable[Sequence[ReadWord]]):
        counts: dict[tuple[str, str], Counter[str]] = {}
        for story in train:
            for word in story:
                counts.setdefault((word.skill, word.sort), Counter())[word.word] += 1
        self._usual = {key: min(found, key=lambda word: (-found[word], word)) for key, found in counts.items()}

    def guesses(self, story: Sequence[ReadWord]) -> dict[str, list[str]]:
        """What each of :data:`BASELINES` guesses at every word of a story; empty where it has nothing to guess."""
        first: dict[str, str] = {}
        last: dict[str, str] = {}
        found: dict[str, list[str]] = {name: [] for name in BASELINES}
        for word in story:
            kind = word.sort or f"a word of the pattern: {word.skill}"
            guesses = (last.get(kind, ""), first.get(kind, ""), self._usual.get((word.skill, word.sort), ""))
            for name, guess in zip(BASELINES, guesses, strict=True):
                found[name].append(guess)
            first.setdefault(kind, word.word)
            last[kind] = word.word
        return found

    def hits(self, story: Sequence[ReadWord]) -> dict[str, list[bool]]:
        """Whether each baseline is right at every word of a story."""
        return {
            name: [guess == word.word for guess, word in zip(guesses, story, strict=True)]
            for name, guesses in self.guesses(story).items()
        }

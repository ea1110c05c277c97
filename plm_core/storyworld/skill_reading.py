"""Reading with attention to skills: what each word of a story asks of a reader, and how far back its evidence lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plm_core.storyworld.evidence import Evidence
from plm_core.storyworld.reader import Alive, Cursor, IdealReader
from plm_core.storyworld.state import Event
from plm_core.storyworld.steps import Step
from plm_core.storyworld.story import EOS

CERTAIN_NATS = 1e-9
"""A word with less surprisal than this is determined; rounding alone stays far below it."""


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word as the ideal reader sees it.

    Attributes:
        word: the word.
        nats: its exact surprisal -log p(word | all words before it), in nats.
        skill: one of :data:`~plm_core.storyworld.skills.SKILLS`.
        distance: how many words back the latest evidence lies that settles it; 0 where no single fact does.
        sentences_back: the same distance in sentences.
        tag: ``"name"``, ``"place"``, ``"thing"`` or empty.
        event: the kind of event that its sentence tells; empty for ``<eos>``.
        sort: what the word is one of, such as ``"people name"`` or ``"numbers"``; empty for words of a pattern.
        best: the probability of the most probable word there, which is the best possible accuracy; NaN where
            :func:`read` was not asked for it.
        likeliest: that word; empty likewise.
    """

    word: str
    nats: float
    skill: str
    distance: int = 0
    sentences_back: int = 0
    tag: str = ""
    event: str = ""
    sort: str = ""
    best: float = math.nan
    likeliest: str = ""


def read(reader: IdealReader, words: Sequence[str], *, accuracy: bool = False) -> list[ReadWord]:
    """Read one or several whole stories, and say of every word which skill it asks for.

    A word that depends on the event or the state has the skill of its slot. Of the other words, and of subjects, the
    ideal reader knows how much of the surprisal is about *what happens* and how much about *how it is told*: where
    the first part is the larger, the skill is ``intention``, else ``wording`` (for subjects ``coreference``).

    Args:
        reader: the ideal reader of the world.
        words: the words, ``<eos>`` after each story.
        accuracy: whether to find the most probable words as well, which takes about twice the time.

    Raises:
        NotOfThisWorld: no story of the world goes like this.
    """
    cursor = Cursor(reader.world)
    found: list[ReadWord] = []
    evidence, before = Evidence(), cursor.state.copy()
    steps: list[tuple[float, float, str, list[Alive], list[Alive]]] = []
    for word in words:
        if word == EOS:
            cursor.push(word)
            found.append(ReadWord(EOS, 0.0, "wording", best=1.0, likeliest=EOS))
            evidence, before = Evidence(), cursor.state.copy()
            continue
        if not cursor.words:
            before = cursor.state.copy()
        alive = cursor.alive()
        mixture = cursor.mixture
        likeliest, best = "", math.nan
        if accuracy:
            possible = cursor.next_word()
            likeliest = max(possible, key=possible.__getitem__)
            best = possible[likeliest]
        nats = cursor.push(word)
        if word != reader.world.full_stop:
            steps.append((nats, best, likeliest, alive, cursor.alive()))
            continue
        steps.append((nats, best, likeliest, alive, []))
        sentence, number, start = cursor.sentences[-1], len(cursor.sentences), len(found)
        event = mixture.bare(sentence.event)
        for offset, (step, spoken) in enumerate(zip(sentence.pattern.steps, sentence.words, strict=True)):
            nats, best, likeliest, earlier, later = steps[offset]
            skill = "wording"
            distance = back = 0
            tag = sort = ""
            if isinstance(step, Step):
                skill, tag, sort = step.skill, step.tag, f"{step.group} {step.form}".rstrip()
                place = evidence.latest(step.facts(before, sentence.event[1])) if step.open < 0 else None
                if place:
                    distance, back = start + offset - place[0], number - place[1]
            subject = skill == "coreference" and _is_first(sentence.pattern.steps, offset)
            if nats > CERTAIN_NATS and (skill == "wording" or subject) and later:
                gain = math.log(_share(mixture, later, event) / _share(mixture, earlier, event))
                if gain > nats - gain:
                    skill = "intention"
            found.append(ReadWord(spoken, nats, skill, distance, back, tag, event[0], sort, best, likeliest))
        evidence.learn(sentence, before, cursor.state, start, number)
        steps = []
    return found


def _is_first(steps: tuple[str | Step, ...], offset: int) -> bool:
    """Whether no person is named before a word."""
    return not any(isinstance(step, Step) and step.group == "people" for step in steps[:offset])


def _share(mixture: object, alive: list[Alive], event: Event) -> float:
    """The probability of an event among the ways on."""
    of_event = total = 0.0
    for mass, kind, args, _ in alive:
        total += mass
        if kind == event[0] and all(b is None or a == b for a, b in zip(args, event[1], strict=True)):
            of_event += mass
    return of_event / total

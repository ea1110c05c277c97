"""Reading with attention to skills: what each word of a story asks of a reader, and how far back its evidence lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plm_core.storyworld.events import KINDS
from plm_core.storyworld.evidence import Evidence
from plm_core.storyworld.reader import Alive, Cursor, IdealReader
from plm_core.storyworld.skills import GRAMMAR_FORMS, told_skill
from plm_core.storyworld.state import Args, Event, State
from plm_core.storyworld.steps import Step
from plm_core.storyworld.story import EOS, Sentence

CERTAIN_NATS = 1e-9
"""A word with less surprisal than this is determined; rounding alone stays far below it."""


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word as the ideal reader sees it.

    Attributes:
        word: the word.
        nats: its exact surprisal -log p(word | all words before it), in nats.
        skill: one of :data:`~plm_core.storyworld.skills.SKILLS`.
        distance: how many words back the latest mention of a fact lies that it depends on; 0 without such a fact.
        sentences_back: the same distance in sentences.
        tag: ``"name"``, ``"place"``, ``"thing"`` or empty.
        event: the kind of event that its sentence tells; empty for ``<eos>``.
        sort: what the word is one of, such as ``"people name"`` or ``"numbers"``; empty for words of a pattern.
        best: the probability of the most probable word there, which is the best possible accuracy; NaN where
            :func:`read` was not asked for it.
        likeliest: that word; empty likewise.
        who: for words that name a person, the part of ``nats`` that says who has this part in the event, in nats.
        what: the part of ``nats`` that says which event it is, beyond ``who``, in nats.

    The rest, ``nats - who - what``, is the surprisal of the word once the event is known: it says how the event is
    told, with which pattern, with a name or a pronoun, and with which new entry of the lexicon. The three add up to
    ``nats`` exactly. A part is negative where the word speaks against what turns out to be true.
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
    who: float = 0.0
    what: float = 0.0

    @property
    def how(self) -> float:
        """The part of ``nats`` that says how the event is told, in nats."""
        return self.nats - self.who - self.what


def read(reader: IdealReader, words: Sequence[str], *, accuracy: bool = False) -> list[ReadWord]:
    """Read one or several whole stories, and say of every word which skill it asks for.

    A word that the ideal reader is certain of has the skill of its slot: a name or pronoun is ``coreference``, a place
    where somebody is ``places``, and so on; words of the pattern itself are ``wording``. The surprisal of any other
    word has up to three parts: *who* has a part in the event, *what* event it is, and *how* it is told
    (:class:`ReadWord`). The largest decides: who is ``coreference``; what is the skill of the slot, and for words of
    the pattern, people and numbers ``intention`` (in the introduction ``wording``); how is ``wording``. Words for an
    entry that is new to the story are ``naming`` throughout.

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
            distance = back = 0
            tag = sort = ""
            if isinstance(step, Step):
                tag, sort = step.tag, f"{step.group} {step.form}".rstrip()
                place = evidence.latest(step.facts(before, sentence.event[1])) if step.open < 0 else None
                if place:
                    distance, back = start + offset - place[0], number - place[1]
            who = what = 0.0
            if nats > CERTAIN_NATS:
                role = _role(step, before, sentence.event)
                if role is not None:
                    who = math.log(_share(later, role) / _share(earlier, role))
                told = _Told(event)
                what = math.log(_share(later, told) / _share(earlier, told)) - who
            skill = _skill(sentence, offset, nats, who, what, before.opened)
            read_word = ReadWord(spoken, nats, skill, distance, back, tag, event[0], sort, best, likeliest, who, what)
            found.append(read_word)
        evidence.learn(sentence, before, cursor.state, start, number)
        steps = []
    return found


def _skill(sentence: Sentence, offset: int, nats: float, who: float, what: float, opened: bool) -> str:
    """The skill of a word, by the largest part of its surprisal."""
    step = sentence.pattern.steps[offset]
    if isinstance(step, Step) and step.open >= 0 and step.group != "moods":
        return "grammar" if nats <= CERTAIN_NATS and step.form in GRAMMAR_FORMS else "naming"
    slot = step.skill if isinstance(step, Step) else "wording"
    if nats <= CERTAIN_NATS:
        return slot
    if nats - who - what >= max(who, what):
        return "wording"
    if who >= what:
        return "coreference"
    if slot == "grammar":  # a preposition or a measure word that tells which place or thing will follow
        assert isinstance(step, Step)
        rest = sentence.pattern.steps[offset + 1 :]
        nouns = (each.skill for each in rest if isinstance(each, Step) and each.group == step.group)
        return next((skill for skill in nouns if skill != "grammar"), "grammar")
    return told_skill(slot, opened)


class _Told:
    """Whether a way on tells an event."""

    def __init__(self, event: Event):
        self._event = event

    def __call__(self, kind: str, args: Args) -> bool:
        return kind == self._event[0] and all(b is None or a == b for a, b in zip(args, self._event[1], strict=True))


class _Role:
    """Whether a way on gives a person a part in the event, such as that of the one who acts."""

    def __init__(self, slot: str, person: int):
        self._slot, self._person = slot, person

    def __call__(self, kind: str, args: Args) -> bool:
        slots = KINDS[kind].slots
        return self._slot in slots and args[slots.index(self._slot)] == self._person


def _role(step: str | Step, state: State, event: Event) -> _Role | None:
    """The part in the event of the person whom a word names; None where it names nobody who is known."""
    if not isinstance(step, Step) or step.skill != "coreference":
        return None
    [(_, person)] = step.facts(state, event[1])
    kind = KINDS[event[0]]
    [slot] = (kind.slots[index] for index in kind.people if event[1][index] == person)
    return _Role(slot, person)


def _share(alive: list[Alive], holds: Callable[[str, Args], bool]) -> float:
    """The probability of the ways on for which something holds; 1 after a full stop, when all is told."""
    if not alive:
        return 1.0
    return sum(way[0] for way in alive if holds(way[1], way[2])) / sum(way[0] for way in alive)

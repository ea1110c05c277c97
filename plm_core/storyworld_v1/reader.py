"""The ideal reader: it recovers the choices behind a text, and so knows the exact distribution of the next word.

It follows every derivation of the present sentence that agrees with the words read so far. At a full stop exactly one
is left, so between sentences the reader knows the state of the story as the teller knew it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from plm_core.storyworld_v1.events import Kind, Values
from plm_core.storyworld_v1.evidence import Evidence
from plm_core.storyworld_v1.lexicon import Path
from plm_core.storyworld_v1.patterns import Fact, Pattern, Step
from plm_core.storyworld_v1.state import State
from plm_core.storyworld_v1.world import EOS, Sentence, StoryWorld

KINDS = ("new", "choice", "sentence", "memory")
"""What settles a word: the drawing of a new entry, another free choice, the words of its own sentence (and the
grammar), or what earlier sentences told."""

CERTAIN_NATS = 1e-9
"""A word with less surprisal than this is determined; rounding alone stays far below it."""


class NotOfThisWorld(ValueError):
    """A text that no story of the world begins with.

    Attributes:
        position: index of the first word that cannot stand where it stands.
    """

    def __init__(self, position: int, word: str, expected: dict[str, float]):
        self.position = position
        likely = sorted(expected, key=expected.__getitem__, reverse=True)[:5]
        super().__init__(f"word {position}, {word!r}, cannot stand there; possible were for example {likely}")


class Derivation(NamedTuple):
    """A way to tell the present sentence that agrees with the words read; ``mass`` is its probability with them."""

    mass: float
    kind: Kind
    values: Values
    pattern: Pattern
    position: int
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word as the ideal reader sees it.

    Attributes:
        word: the word.
        nats: its exact surprisal -log p(word | all words before it), in nats.
        kind: one of ``KINDS``.
        distance: for kind ``"memory"``, how many words back the latest evidence lies that settles it; else 0.
        sentences_back: the same distance in sentences.
        tag: ``"name"``, ``"place"``, ``"thing"`` or empty.
    """

    word: str
    nats: float
    kind: str
    distance: int = 0
    sentences_back: int = 0
    tag: str = ""


class Cursor:
    """A place in a text: the state before the present sentence, and the derivations alive in it.

    Push words one by one; ``sentences`` collects what was recovered.
    """

    def __init__(self, world: StoryWorld):
        self.world = world
        self.position = 0
        self.state = State()
        self.words: list[str] = []
        self.sentences: list[Sentence] = []
        self.derivations: list[Derivation] | None = None  # None at the start of a sentence

    def copy(self) -> Cursor:
        """An independent cursor at the same place."""
        other = Cursor(self.world)
        other.position, other.state, other.words = self.position, self.state.copy(), list(self.words)
        other.sentences = list(self.sentences)
        other.derivations = None if self.derivations is None else list(self.derivations)
        return other

    def _begin(self) -> Iterator[Derivation]:
        """All derivations of a sentence in the present state, before its first word."""
        world, state = self.world, self.state
        possible = [(kind, found) for kind in world.kinds(state) if (found := kind.bindings(state))]
        total = sum(kind.weight for kind, _ in possible)
        for kind, bindings in possible:
            choices, opens = world.choices[kind], (None,) * len(kind.opens)
            paths: tuple[Path, ...] = ((),) * len(kind.opens)
            share = kind.weight / total / len(bindings)
            for closed in bindings:
                allowed = choices.allowed(state, closed)
                unit = share / sum(pattern.weight for pattern in allowed)
                for pattern in allowed:
                    yield Derivation(unit * pattern.weight, kind, closed + opens, pattern, 0, paths)

    def _alive(self) -> Iterable[Derivation]:
        return self._begin() if self.derivations is None else self.derivations

    def _shares(self, derivation: Derivation, step: Step) -> Iterator[tuple[str, float]]:
        """For an open step: each possible word with its probability."""
        slot = step.slot - len(derivation.kind.closed)
        lexicon, path = self.world.lexicons[derivation.kind.opens[slot][1]], derivation.paths[slot]
        language, used = self.world.language, self.state.used
        total = lexicon.weight(language, path, used)
        for word in lexicon.words(language, step.form, path):
            weight = lexicon.weight(language, (*path, (step.form, word)), used)
            if weight:
                yield word, weight / total

    def _follow(self, derivation: Derivation, word: str) -> Derivation | None:
        """The derivation after one more word, or None if it does not say this word."""
        mass, kind, values, pattern, position, paths = derivation
        step = pattern.steps[position]
        if type(step) is str:
            return Derivation(mass, kind, values, pattern, position + 1, paths) if step == word else None
        assert isinstance(step, Step)
        if not step.open:
            said = step.say(self.state, values)
            return Derivation(mass, kind, values, pattern, position + 1, paths) if said == word else None
        slot = step.slot - len(kind.closed)
        lexicon, used = self.world.lexicons[kind.opens[slot][1]], self.state.used
        path = (*paths[slot], (step.form, word))
        weight = lexicon.weight(self.world.language, path, used)
        if not weight:
            return None
        mass *= weight / lexicon.weight(self.world.language, paths[slot], used)
        return Derivation(mass, kind, values, pattern, position + 1, (*paths[:slot], path, *paths[slot + 1 :]))

    def next_word(self) -> dict[str, float]:
        """The exact probability of every word that may come next."""
        if self.state.closed:
            return {EOS: 1.0}
        found: dict[str, float] = {}
        total = 0.0
        for derivation in self._alive():
            total += derivation.mass
            step = derivation.pattern.steps[derivation.position]
            if isinstance(step, str):
                found[step] = found.get(step, 0.0) + derivation.mass
            elif step.open:
                for word, share in self._shares(derivation, step):
                    found[word] = found.get(word, 0.0) + derivation.mass * share
            else:
                word = step.say(self.state, derivation.values)
                found[word] = found.get(word, 0.0) + derivation.mass
        return {word: mass / total for word, mass in found.items()}

    def push(self, word: str) -> float:
        """Read one word; returns its exact surprisal in nats.

        Raises:
            NotOfThisWorld: the word cannot stand here.
        """
        if self.state.closed:
            if word != EOS:
                raise NotOfThisWorld(self.position, word, {EOS: 1.0})
            self.state, self.derivations = State(), None
            self.position += 1
            return 0.0
        before = 1.0 if self.derivations is None else sum(derivation.mass for derivation in self.derivations)
        alive = [after for derivation in self._alive() if (after := self._follow(derivation, word))]
        if not alive:
            raise NotOfThisWorld(self.position, word, self.next_word())
        now = sum(derivation.mass for derivation in alive)
        self.derivations = alive
        self.words.append(word)
        self.position += 1
        if word == self.world.full_stop:
            self._finish()
        return max(0.0, math.log(before / now))

    def _finish(self) -> None:
        assert self.derivations is not None
        assert len(self.derivations) == 1, f"two derivations of one sentence: {' '.join(self.words)}"
        _, kind, values, pattern, _, paths = self.derivations[0]
        opened = []
        for (_, name), path in zip(kind.opens, paths, strict=True):
            matching = self.world.lexicons[name].matching(self.world.language, path)
            matching = [entry for entry in matching if entry.key not in self.state.used]
            assert len(matching) == 1, f"an entry is left open by: {' '.join(self.words)}"
            opened.append(matching[0])
        values = (*values[: len(kind.closed)], *opened)
        self.sentences.append(Sentence(kind, values, pattern, self.words))
        self.world.advance(self.state, kind, values)
        self.words, self.derivations = [], None


class IdealReader:
    """The reader that no model can beat: it knows the world and draws every conclusion that the text allows.

    Texts are lists of words, of one story or of several with ``<eos>`` after each; they may break off anywhere.

    Example:
        >>> world = StoryWorld("small")
        >>> reader = IdealReader(world)
        >>> reader.next_word(["in", "the"])["garden"] > 0
        True
    """

    def __init__(self, world: StoryWorld):
        self.world = world

    def cursor(self, words: Iterable[str] = ()) -> Cursor:
        """A cursor after the given words.

        Raises:
            NotOfThisWorld: no story of this world goes like this.
        """
        cursor = Cursor(self.world)
        for word in words:
            cursor.push(word)
        return cursor

    def next_word(self, words: Iterable[str]) -> dict[str, float]:
        """The exact probability of every word that may follow the given ones."""
        return self.cursor(words).next_word()

    def surprisals(self, words: Iterable[str]) -> list[float]:
        """The exact surprisal of every word, in nats; their mean is the loss of the ideal reader."""
        cursor = Cursor(self.world)
        return [cursor.push(word) for word in words]

    def parse(self, words: Iterable[str]) -> list[Sentence]:
        """The choices behind every complete sentence of a text."""
        return self.cursor(words).sentences

    def posterior(self, words: Sequence[str], position: int) -> dict[str, float]:
        """The exact probability of every word that may stand at a position, given all other words.

        Every word that may follow the words before the position is tried; the words after it weigh or refute it.

        Args:
            words: a text; the word at the position itself is not looked at.
            position: index of the masked word.

        Raises:
            ValueError: a position outside the text.
            NotOfThisWorld: no word fits there.
        """
        if not 0 <= position < len(words):
            raise ValueError(f"position must lie in 0..{len(words) - 1}, not {position}")
        before = self.cursor(words[:position])
        weights: dict[str, float] = {}
        for word, probability in before.next_word().items():
            cursor, nats = before.copy(), -math.log(probability)
            cursor.push(word)
            try:
                nats += math.fsum(cursor.push(after) for after in words[position + 1 :])
            except NotOfThisWorld:
                continue
            weights[word] = nats
        if not weights:
            raise NotOfThisWorld(position, "[MASK]", {})
        least = min(weights.values())
        total = math.fsum(math.exp(least - nats) for nats in weights.values())
        return {word: math.exp(least - nats) / total for word, nats in weights.items()}

    def read(self, words: Sequence[str]) -> list[ReadWord]:
        """Read one or several whole stories and say of every word what settles it, and from how far back.

        Raises:
            NotOfThisWorld: no story of this world goes like this.
        """
        cursor, before = Cursor(self.world), State()
        evidence = Evidence()
        read: list[ReadWord] = []
        nats: list[float] = []
        for word in words:
            if not cursor.words:
                before = cursor.state.copy()
            nats.append(cursor.push(word))
            if word == EOS:
                read.append(ReadWord(EOS, 0.0, "sentence"))
                evidence, nats = Evidence(), []
            elif word == self.world.full_stop:
                sentence, start = cursor.sentences[-1], cursor.position - len(nats)
                read += self._judge(sentence, before, nats, start, len(cursor.sentences), evidence)
                evidence.learn(sentence, before, cursor.state, start, len(cursor.sentences))
                nats = []
        return read

    @staticmethod
    def _judge(
        sentence: Sentence,
        state: State,
        nats: list[float],
        start: int,
        number: int,
        evidence: Evidence,
    ) -> list[ReadWord]:
        """What settles each word of a sentence, given where the facts known before it were told."""
        read: list[ReadWord] = []
        told: set[Fact] = set()
        for offset, (step, word, surprisal) in enumerate(
            zip(sentence.pattern.steps, sentence.words, nats, strict=True)
        ):
            tag = step.tag if isinstance(step, Step) else ""
            facts = step.facts(state, sentence.values) if isinstance(step, Step) else []
            if surprisal > CERTAIN_NATS:
                kind = "new" if isinstance(step, Step) and step.open else "choice"
                read.append(ReadWord(word, surprisal, kind, tag=tag))
            else:
                known = evidence.latest([fact for fact in facts if fact not in told])
                if known:
                    distance = start + offset - known[0]
                    read.append(ReadWord(word, 0.0, "memory", distance, number - known[1], tag))
                else:
                    read.append(ReadWord(word, 0.0, "sentence", tag=tag))
            if isinstance(step, Step) and step.form in ("name", "he", "noun"):
                told.update(fact for fact in facts if fact[0] in ("who", "what"))
        return read

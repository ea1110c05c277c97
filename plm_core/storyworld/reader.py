"""The ideal reader: it recovers the events behind a text, infers the latents, and knows every next word's probability.

Between sentences the reader knows the state of the story as the teller does, and holds a probability for every latent
(goal and fate). Within a sentence it follows every event that some latent allows, and every pattern that can tell it.
A full stop leaves exactly one event, which multiplies the weight of each latent by its probability of that event.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from plm_core.storyworld.events import advance
from plm_core.storyworld.goals import FATES
from plm_core.storyworld.lexicon import Entry
from plm_core.storyworld.mixture import Mixture
from plm_core.storyworld.patterns import Node
from plm_core.storyworld.state import Args, Goal, State
from plm_core.storyworld.steps import Step
from plm_core.storyworld.story import EOS, Latent, Sentence
from plm_core.storyworld.world import StoryWorld

Alive = tuple[float, str, Args, Node]
"""A way on in the present sentence: its probability so far, the event's kind and arguments, the point in its tree."""


class NotOfThisWorld(ValueError):
    """A text that no story of the world begins with.

    Attributes:
        position: index of the first word that cannot stand where it stands.
    """

    def __init__(self, position: int, word: str, expected: dict[str, float]):
        self.position = position
        likely = sorted(expected, key=expected.__getitem__, reverse=True)[:5]
        super().__init__(f"word {position}, {word!r}, cannot stand there; possible were for example {likely}")


class Cursor:
    """A place in a text: the state before the present sentence, the latents, and the ways on in the sentence.

    Push words one by one; ``<eos>`` leads to the next story, so that memory stays constant.

    Attributes:
        state: the state before the present sentence.
        sentences: the complete sentences of the present story.
        latents: the probability of every latent that is still possible; empty before there are any.
    """

    def __init__(self, world: StoryWorld):
        self.world = world
        self.position = 0
        self.state = State()
        self.latents: dict[Latent, float] = {}
        self.words: list[str] = []
        self.sentences: list[Sentence] = []
        self._mixture: Mixture | None = None
        self._alive: list[Alive] | None = None
        self._ended = False

    def copy(self) -> Cursor:
        """An independent cursor at the same place."""
        other = Cursor(self.world)
        other.position, other.state, other.words = self.position, self.state.copy(), list(self.words)
        other.latents, other.sentences = self.latents, list(self.sentences)
        other._mixture, other._alive, other._ended = self._mixture, self._alive, self._ended
        return other

    @property
    def mixture(self) -> Mixture:
        """The distribution of the event that the present sentence tells."""
        if self._mixture is None:
            self._mixture = Mixture(self.world, self.state, self.latents)
        return self._mixture

    def alive(self) -> list[Alive]:
        """The ways on in the present sentence."""
        if self._alive is None:
            tellings, state = self.world.tellings, self.state
            self._alive = [
                (mass, event[0], event[1], tellings[event[0]].choices(state, event[1]).root)
                for event, mass in self.mixture.total.items()
            ]
        return self._alive

    def _weight(self, kind: str, args: Args, index: int) -> tuple[Any, tuple[tuple[str, str], ...], list[Entry]]:
        excluded = [*self.state.used, *(arg for arg in args if isinstance(arg, Entry))]
        return self.world.introduction.lexicon_of(self.state, (kind, args), index), args[index] or (), excluded

    def next_word(self) -> dict[str, float]:
        """The exact probability of every word that may come next."""
        if self.state.closed:
            return {EOS: 1.0}
        found: dict[str, float] = {}
        total, state, language = 0.0, self.state, self.world.language
        for mass, kind, args, node in self.alive():
            total += mass
            for step, share, _ in node.edges:
                if type(step) is str:
                    found[step] = found.get(step, 0.0) + mass * share
                    continue
                assert isinstance(step, Step)
                if step.open < 0 or isinstance(args[step.open], Entry):
                    word = step.say(state, args)
                    found[word] = found.get(word, 0.0) + mass * share
                    continue
                lexicon, path, excluded = self._weight(kind, args, step.open)
                words = lexicon.words(language, path, step.form, excluded)
                whole = sum(words.values())
                for word, weight in words.items():
                    found[word] = found.get(word, 0.0) + mass * share * weight / whole
        return {word: mass / total for word, mass in found.items()}

    def _follow(self, word: str) -> list[Alive]:
        found: list[Alive] = []
        state = self.state
        for mass, kind, args, node in self.alive():
            for step, share, child in node.edges:
                if type(step) is str:
                    if step == word:
                        found.append((mass * share, kind, args, child))
                    continue
                assert isinstance(step, Step)
                if step.open < 0 or isinstance(args[step.open], Entry):
                    if step.say(state, args) == word:
                        found.append((mass * share, kind, args, child))
                    continue
                mass_of, filled = self._fill(kind, args, step, word)
                if mass_of:
                    found.append((mass * share * mass_of, kind, filled, child))
        return found

    def _fill(self, kind: str, args: Args, step: Step, word: str) -> tuple[float, Args]:
        """The probability that an open argument has a word, and the arguments once it has."""
        lexicon, path, excluded = self._weight(kind, args, step.open)
        language = self.world.language
        longer = (*path, (step.form, word))
        weight = lexicon.weight(language, longer, excluded)
        if not weight:
            return 0.0, args
        filled: Any = longer
        if step.form in ("noun", "name", "adj", "many"):  # the word that names the entry
            (filled,) = [entry for entry in lexicon.matching(language, longer)[0] if entry not in excluded]
        share = weight / lexicon.weight(language, path, excluded)
        return share, (*args[: step.open], filled, *args[step.open + 1 :])

    def push(self, word: str) -> float:
        """Read one word; returns its exact surprisal in nats.

        Raises:
            NotOfThisWorld: the word cannot stand here.
        """
        if self.state.closed:
            if word != EOS:
                raise NotOfThisWorld(self.position, word, {EOS: 1.0})
            self.state, self.latents, self._mixture, self._alive = State(), {}, None, None
            self._ended = True
            self.position += 1
            return 0.0
        if self._ended:
            self.sentences, self._ended = [], False
        before = sum(alive[0] for alive in self.alive())
        following = self._follow(word)
        if not following:
            raise NotOfThisWorld(self.position, word, self.next_word())
        self._alive = following
        self.words.append(word)
        self.position += 1
        after = sum(alive[0] for alive in following)
        if word == self.world.full_stop:
            self._finish()
        return max(0.0, math.log(before / after))

    def _finish(self) -> None:
        assert self._alive is not None
        assert len(self._alive) == 1, f"two derivations of one sentence: {' '.join(self.words)}"
        _, kind, args, node = self._alive[0]
        assert node.pattern is not None
        event, mixture = (kind, args), self.mixture
        self.sentences.append(Sentence(event, node.pattern, self.words))
        if mixture.latents:
            self.latents = mixture.update(mixture.bare(event))
        advance(self.state, event)
        if self.state.aim and not self.latents:
            self.latents = self.world.latents(self.state)
        self.words, self._alive, self._mixture = [], None, None

    # What the reader believes of the latents, word by word.

    def posterior(self) -> dict[Latent, float]:
        """The probability of every latent, given all words so far, those of a sentence that has begun included."""
        if not self.latents or not self.words:
            return dict(self.latents)
        found: dict[Latent, float] = {}
        prior = {event: mass for event, mass in self.mixture.total.items() if mass}
        for mass, kind, args, _ in self.alive():
            event = self.mixture.bare((kind, args))
            share = mass / prior[event]
            for latent, weight in self.mixture.update(event).items():
                found[latent] = found.get(latent, 0.0) + share * prior[event] * weight
        total = sum(found.values())
        return {latent: weight / total for latent, weight in found.items()}

    def goals(self) -> dict[Goal, float]:
        """The probability of every goal, given all words so far."""
        found: dict[Goal, float] = {}
        for (goal, _), weight in self.posterior().items():
            found[goal] = found.get(goal, 0.0) + weight
        return found

    def moods(self) -> dict[str, float]:
        """The probability of every class of mood at the end, given all words so far."""
        found = dict.fromkeys(FATES, 0.0)
        for (_, fate), weight in self.posterior().items():
            found[fate] += weight
        return found if self.latents else dict.fromkeys(FATES, 1 / len(FATES))


class IdealReader:
    """The reader that knows the world and draws every conclusion that the text allows.

    Its probability of every next word is exact. Hence no model's expected loss on whole stories of this world, summed
    over all words, is lower, and no model's expected number of right words is higher. On a single word or story, on a
    sample, or on the words of one skill, a model may do better.

    Texts are lists of words, of one story or of several with ``<eos>`` after each; they may break off anywhere.

    Example:
        >>> reader = IdealReader(StoryWorld())
        >>> reader.next_word(["one", "morning"])
        {'in': 0.7..., 'at': 0.2...}
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
        """The events behind every complete sentence of a story (of several, of the last one)."""
        return self.cursor(words).sentences

    def inferences(self, words: Iterable[str]) -> Iterator[tuple[str, dict[Goal, float], dict[str, float]]]:
        """Each word with the probabilities of the goals and of the moods after it: how the reader's belief changes.

        The goals are empty until the protagonist has one.
        """
        cursor = Cursor(self.world)
        for word in words:
            cursor.push(word)
            yield word, cursor.goals(), cursor.moods()

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

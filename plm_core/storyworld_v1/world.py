"""A world: it tells stories from seeds, and knows the probability of every choice that it makes."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from random import Random

from plm_core.storyworld_v1 import chinese, english
from plm_core.storyworld_v1.events import Kind, Limits, Values, basic_middle, basic_opening
from plm_core.storyworld_v1.events_full import rich_middle, rich_opening
from plm_core.storyworld_v1.lexicon import build_lexicons
from plm_core.storyworld_v1.patterns import Choices, Pattern, Step, compile_choices
from plm_core.storyworld_v1.state import State

EOS = "<eos>"
"""The word that ends every story. In text it is the end of the line."""

LIMITS = {
    "small": Limits(people=3, places=3, things=2, sentences=9, attractors=2, end_weight=24),
    "full": Limits(people=4, places=4, things=4, sentences=18, attractors=3, end_weight=20, count=20, rich=True),
}
SPLITS = {"train": 0, "valid": 1, "test": 2}


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: what it tells (``kind``, ``values``), how (``pattern``), and its ``words``."""

    kind: Kind
    values: Values
    pattern: Pattern
    words: list[str]


@dataclass(frozen=True)
class Story:
    """A story, sentence by sentence. Everything else about it follows from its world and its sentences."""

    world: StoryWorld
    seed: int
    sentences: list[Sentence] = field(repr=False)

    @cached_property
    def words(self) -> list[str]:
        """All words, ``<eos>`` at the end."""
        return [word for sentence in self.sentences for word in sentence.words] + [EOS]

    @cached_property
    def text(self) -> str:
        """The story as one line of text, without the line's end, which stands for ``<eos>``."""
        return self.world.write([sentence.words for sentence in self.sentences])

    def replay(self) -> Iterator[tuple[State, Sentence]]:
        """Each sentence with the state before it; the state changes as the iteration goes on."""
        state = State()
        for sentence in self.sentences:
            yield state, sentence
            self.world.advance(state, sentence.kind, sentence.values)

    @cached_property
    def final_state(self) -> State:
        """The state after the last sentence."""
        state = State()
        for sentence in self.sentences:
            self.world.advance(state, sentence.kind, sentence.values)
        return state

    @cached_property
    def sentence_nats(self) -> list[float]:
        """-log p of each sentence given those before it, in nats. ``<eos>`` is certain and adds nothing."""
        return [
            self.world.nats(state, sentence.kind, sentence.values, sentence.pattern)
            for state, sentence in self.replay()
        ]

    @property
    def nats(self) -> float:
        """-log p of the story, in nats."""
        return math.fsum(self.sentence_nats)


def _mix(*numbers: int) -> int:
    """One seed from several numbers, by SplitMix64, so that nearby numbers give unrelated seeds."""
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
    return mixed


class StoryWorld:
    """A seeded world whose stories have an exactly known probability.

    Args:
        size: ``"small"`` (a few hundred word types) or ``"full"`` (several thousand).
        language: ``"en"`` or ``"zh"``. The same seed gives the same story in both, sentence by sentence.
        people: which names occur: ``"all"``, ``"seen"`` (four fifths) or ``"held_out"`` (the rest).
        combinations: which pairs of colour and object occur, likewise.

    Raises:
        ValueError: an unknown size, language or part.

    Example:
        >>> world = StoryWorld("small")
        >>> world.story(0).text.split(".")[0]
        'A man called Felix was in the forest'
    """

    def __init__(self, size: str = "small", language: str = "en", *, people: str = "all", combinations: str = "all"):
        if language not in ("en", "zh"):
            raise ValueError(f"language must be 'en' or 'zh', not {language!r}")
        self.size, self.language, self.people, self.combinations = size, language, people, combinations
        self.lexicons = build_lexicons(size, people, combinations)
        self.limits = LIMITS[size]
        rich = self.limits.rich
        self.opening = basic_opening(self.limits) + (rich_opening() if rich else [])
        self.middle = basic_middle(self.limits) + (rich_middle() if rich else [])
        self._tongue = english if language == "en" else chinese
        self.choices: dict[Kind, Choices] = {
            kind: compile_choices(kind, self._lines(kind), language) for kind in self.opening + self.middle
        }
        self._draw_opening = list(accumulate(kind.weight for kind in self.opening))
        self._draw_middle = list(accumulate(kind.weight for kind in self.middle))
        self.full_stop = self._tongue.FULL_STOP

    def _lines(self, kind: Kind) -> list[tuple[int, str]]:
        lines = self._tongue.PATTERNS.get(kind.name, [])
        return lines + self._tongue.RICH_PATTERNS.get(kind.name, []) if self.limits.rich else lines

    def kinds(self, state: State) -> list[Kind]:
        """The kinds of events among which the next one is chosen, possible or not."""
        return self.middle if state.opened else self.opening

    def advance(self, state: State, kind: Kind, values: Values) -> None:
        """Change the state as an event changes it, and move on by one sentence."""
        state.cause = ("",)
        kind.apply(state, values)
        subject = None
        for index, (name, slot_type) in enumerate(kind.closed):
            if slot_type == "person":
                if name == "p":
                    subject = values[index]
                else:
                    state.mention(values[index])
        if subject is not None:
            state.mention(subject)
        state.asked = kind.name.startswith("ask_")
        state.sentence += 1

    def nats(self, state: State, kind: Kind, values: Values, pattern: Pattern) -> float:
        """-log p of a sentence in a state: of the event's kind, its bindings, its open entries, and the pattern."""
        kinds_weight = sum(other.weight for other in self.kinds(state) if other.bindings(state))
        nats = math.log(kinds_weight / kind.weight) + math.log(len(kind.bindings(state)))
        for (_, lexicon), entry in zip(kind.opens, values[len(kind.closed) :], strict=True):
            nats += math.log(self.lexicons[lexicon].weight(self.language, (), state.used) / entry.weight)
        allowed = self.choices[kind].allowed(state, values)
        return nats + math.log(sum(other.weight for other in allowed) / pattern.weight)

    def story(self, seed: int) -> Story:
        """Tell the story of a seed; the same on every platform, and in both languages the same events."""
        events, telling = Random(_mix(seed)).random, Random(_mix(seed, 1 + (self.language == "zh"))).random
        state, sentences = State(), []
        while not state.closed:
            kind, values = self._draw_event(state, events)
            pattern = self._draw_pattern(self.choices[kind].allowed(state, values), telling)
            spoken = [step if type(step) is str else step.say(state, values) for step in pattern.steps]  # type: ignore[union-attr]
            sentences.append(Sentence(kind, values, pattern, spoken))
            self.advance(state, kind, values)
        return Story(self, seed, sentences)

    def _draw_event(self, state: State, random: Callable[[], float]) -> tuple[Kind, Values]:
        kinds, cumulative = (self.middle, self._draw_middle) if state.opened else (self.opening, self._draw_opening)
        total = cumulative[-1]
        while True:  # drawing again when a kind is impossible gives each possible one its share of the weights
            kind = kinds[bisect_right(cumulative, int(random() * total))]
            bindings = kind.bindings(state)
            if bindings:
                break
        values = bindings[int(random() * len(bindings))]
        for _, lexicon in kind.opens:
            values = (*values, self.lexicons[lexicon].draw(random, state.used))
        return kind, values

    @staticmethod
    def _draw_pattern(allowed: list[Pattern], random: Callable[[], float]) -> Pattern:
        if len(allowed) == 1:
            return allowed[0]
        left = int(random() * sum(pattern.weight for pattern in allowed))
        for pattern in allowed:
            left -= pattern.weight
            if left < 0:
                break
        return pattern

    def stories(self, seed: int = 0, split: str = "train", count: int | None = None) -> Iterator[Story]:
        """Stream stories, without end unless ``count`` is given.

        Args:
            seed: the seed of the corpus; another seed gives other stories.
            split: ``"train"``, ``"valid"`` or ``"test"``: streams of different stories.
            count: number of stories.

        Raises:
            ValueError: an unknown split.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, not {split!r}")
        numbers = itertools.count() if count is None else range(count)
        return (self.story(_mix(seed, SPLITS[split], number)) for number in numbers)

    def tokens(self, seed: int = 0, split: str = "train", *, at_least: int) -> list[str]:
        """The words of the first stories of a stream that together hold at least so many words."""
        words: list[str] = []
        for story in self.stories(seed, split):
            words += story.words
            if len(words) >= at_least:
                break
        return words

    def write(self, sentences: list[list[str]]) -> str:
        """Sentences of words to one line of text."""
        return self._tongue.write(sentences, self._capitalised)

    def split(self, text: str) -> list[str]:
        """Text to words, the inverse of writing: every line is a story, and gets ``<eos>`` at its end."""
        return [word for line in text.splitlines() for word in [*self._tongue.split(line, self._known), EOS]]

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.vocabulary)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of people, in the world's language."""
        return frozenset(self.lexicons["people"].words(self.language, "name"))

    @cached_property
    def _capitalised(self) -> frozenset[str]:
        towns = self.lexicons["towns"].words(self.language, "name") if "towns" in self.lexicons else []
        return self.names.union(towns)

    @cached_property
    def vocabulary(self) -> list[str]:
        """All word types of this size and language, ``<eos>`` first, then in alphabetical order.

        Held-out words are included, so that worlds of one size and language share their numbering.
        """
        lexicons = build_lexicons(self.size)
        found: set[str] = set()
        for choices in self.choices.values():
            for pattern in choices.either:
                for step in pattern.steps:
                    if isinstance(step, Step):
                        found |= step.possible_words(lexicons, self.language, self.limits)
                    else:
                        found.add(step)
        return [EOS, *sorted(found)]

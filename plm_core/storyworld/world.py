"""A world: it tells stories from seeds, and knows the probability of every choice that it makes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import TypeVar

from plm_core.storyworld import chinese, english, happenings
from plm_core.storyworld.events import KINDS, advance
from plm_core.storyworld.goals import FATES, forbidden, prior
from plm_core.storyworld.introduction import Introduction
from plm_core.storyworld.lexicon import Entry, Lexicons
from plm_core.storyworld.patterns import Choices, Pattern, build_tellings
from plm_core.storyworld.plans import Limits, policy, wanting
from plm_core.storyworld.state import Args, Event, Goal, State
from plm_core.storyworld.steps import Step, words_of
from plm_core.storyworld.story import EOS, Latent, Sentence, mix

SPLITS = {"train": 0, "valid": 1, "test": 2}


@dataclass(frozen=True)
class Story:
    """A story, sentence by sentence, with the latents that the teller drew."""

    world: StoryWorld
    seed: int
    sentences: list[Sentence] = field(repr=False)
    goal: Goal
    fate: str

    @cached_property
    def words(self) -> list[str]:
        """All words, ``<eos>`` at the end."""
        return [word for sentence in self.sentences for word in sentence.words] + [EOS]

    @cached_property
    def text(self) -> str:
        """The story as one line of text, without the line's end, which stands for ``<eos>``."""
        return self.world.write([sentence.words for sentence in self.sentences])

    @property
    def told(self) -> bool:
        """Whether the goal is told at the beginning."""
        return not any(sentence.event[0] == "plan" for sentence in self.sentences)

    def replay(self) -> Iterator[tuple[State, Sentence]]:
        """Each sentence with the state before it; the state changes as the iteration goes on."""
        state = State()
        for sentence in self.sentences:
            yield state, sentence
            advance(state, sentence.event)

    def state_after(self, sentences: int) -> State:
        """The state after so many sentences."""
        state = State()
        for sentence in self.sentences[:sentences]:
            advance(state, sentence.event)
        return state

    @cached_property
    def final_state(self) -> State:
        """The state after the last sentence."""
        return self.state_after(len(self.sentences))


class StoryWorld:
    """A seeded world whose texts have an exactly known probability.

    Args:
        lexicon: ``"small"`` or ``"full"``.
        language: ``"en"`` or ``"zh"``. The same seed gives the same events in both, sentence by sentence.
        sentences: the story begins to end after the first number of sentences; after the second only its end is told,
            which takes at most some eight more. By default 12 and 14 for ``small``, 18 and 22 for ``full``.
        people: number of people, 3 to 6; by default 3 for ``small``, 4 for ``full``.
        things: number of things beside the hidden one, 2 to 6; by default 2 for ``small``, 3 for ``full``.
        distractors: probability that a sentence tells of something else than the protagonist's plan.
        hidden_goals: share of the stories whose goal is not told at the beginning.
        revealed_goals: share of those stories which tell the goal at the end.
        obstacles: probability of an obstacle which the protagonist does not see.
        delay: least number of sentences between two actions of the protagonist: the larger, the farther the facts
            from their use.
        names: which names occur: ``"all"``, ``"seen"`` (four fifths) or ``"held_out"`` (the rest).
        combinations: which things lie at which places in the beginning, likewise (two thirds and a third).

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> world = StoryWorld()
        >>> len(world.story(0).sentences) > 8
        True
    """

    def __init__(
        self,
        lexicon: str = "small",
        language: str = "en",
        *,
        sentences: tuple[int, int] | None = None,
        people: int | None = None,
        things: int | None = None,
        distractors: float = 0.35,
        hidden_goals: float = 0.5,
        revealed_goals: float = 0.75,
        obstacles: float = 0.5,
        delay: int = 0,
        names: str = "all",
        combinations: str = "all",
    ):
        if language not in ("en", "zh"):
            raise ValueError(f"language must be 'en' or 'zh', not {language!r}")
        sentences = sentences or ((18, 22) if lexicon == "full" else (12, 14))
        people = people or (4 if lexicon == "full" else 3)
        things = things or (3 if lexicon == "full" else 2)
        if not 3 <= people <= 6:
            raise ValueError(f"people must be 3 to 6, not {people}")
        if not 2 <= things <= 6:
            raise ValueError(f"things must be 2 to 6, not {things}")
        if not 5 <= sentences[0] <= sentences[1]:
            raise ValueError(f"sentences must be two numbers, at least 5, in ascending order, not {sentences}")
        for name, share, most in (
            ("distractors", distractors, 0.9), ("hidden_goals", hidden_goals, 1.0),
            ("revealed_goals", revealed_goals, 1.0), ("obstacles", obstacles, 0.9),
        ):  # fmt: skip
            if not 0 <= share <= most:
                raise ValueError(f"{name} must lie in 0..{most}, not {share}")
        if (lexicon, combinations) == ("small", "held_out") and things > 2:
            raise ValueError(
                "things must be 2 where the combinations of the small lexicon are held out: it has no more"
            )
        if delay < 0:
            raise ValueError(f"delay must be at least 0, not {delay}")
        self.size, self.language, self.people, self.things = lexicon, language, people, things
        self.hidden_goals, self.names_part, self.combinations = hidden_goals, names, combinations
        self.limits = Limits(sentences[0], sentences[1], distractors, obstacles, delay, revealed_goals)
        self.dials = (lexicon, self.limits, people, things, hidden_goals, names, combinations)
        self.lexicons = Lexicons(lexicon, names, combinations)
        self._tongue = english if language == "en" else chinese
        self.full_stop = self._tongue.FULL_STOP
        self.tellings = build_tellings(self.lexicons, language)
        self.introduction = Introduction(self.lexicons, people, things)

    # What happens next.

    def goals(self, state: State) -> list[Goal]:
        """All goals that a protagonist may have after the introduction."""
        return list(prior(state))

    def latents(self, state: State) -> dict[Latent, float]:
        """The probabilities of the latents at the beginning of a story, given what its first sentences told."""
        goals = {state.goal: 1.0} if state.goal else prior(state)
        return {(goal, fate): share / len(FATES) for goal, share in goals.items() for fate in FATES}

    def draw(self, state: State, latent: Latent, random: Callable[[], float]) -> tuple[Event, bool]:
        """Draw the next event given the latent, and say whether it belongs to the plan."""
        goal, fate = latent
        if state.pending is not None and (follows := happenings.consequence(state)):
            return _draw_weighted(follows, random), False
        happening, options = policy(state, goal, fate, self.limits)
        if happening and random() < happening:
            never = forbidden(state, goal)
            while True:
                event = happenings.draw(state, random)
                if event not in never:
                    return event, False
        if len(options) == 1:
            return options[0][1], True
        return _draw_weighted(options, random), True

    def story(self, seed: int) -> Story:
        """Tell the story of a seed; the same on every platform, and in both languages the same events."""
        events, telling = Random(mix(seed)).random, Random(mix(seed, 1)).random
        state, sentences = State(), []
        latent: Latent | None = None
        while not state.closed:
            planned = False
            if not state.opened:
                event = _draw_weighted(self.introduction.next(state), events)
            elif latent is None:
                goals = list(prior(state).items())
                goal = _draw_weighted([(share, goal) for goal, share in goals], events)
                latent = (goal, FATES[int(events() * len(FATES))])
                event = ("plan", (0,)) if events() < self.hidden_goals else wanting(state, goal)
            else:
                event, planned = self.draw(state, latent, events)
            name, args = event
            if KINDS[name].opens:
                event = (name, self._fill(state, event, events))
                args = event[1]
            choices = self.tellings[name].choices(state, args)
            pattern = _draw_pattern(choices, telling)
            words = [step if type(step) is str else step.say(state, args) for step in pattern.steps]  # type: ignore[union-attr]
            sentences.append(Sentence(event, pattern, words, planned))
            advance(state, event)
        assert latent is not None
        return Story(self, seed, sentences, *latent)

    def _fill(self, state: State, event: Event, random: Callable[[], float]) -> Args:
        """Draw the open arguments of an event, in their order."""
        name, args = event
        for index in KINDS[name].opens:
            excluded = (*state.used, *(arg for arg in args if isinstance(arg, Entry)))
            entry = self.introduction.lexicon_of(state, (name, args), index).draw(random, excluded)
            args = (*args[:index], entry, *args[index + 1 :])
        return args

    # Streams, text and vocabulary.

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
        return (self.story(mix(seed, SPLITS[split], number)) for number in numbers)

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
        return self._tongue.write(sentences, self.names)

    def split(self, text: str) -> list[str]:
        """Text to words, the inverse of writing: every line is a story, and gets ``<eos>`` at its end."""
        known = frozenset(self.vocabulary) if not hasattr(self, "_known") else self._known
        self._known: frozenset[str] = known
        return [word for line in text.splitlines() for word in [*self._tongue.split(line, known), EOS]]

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of people, in the world's language."""
        return frozenset(entry.forms[self.language]["name"] for entry in Lexicons(self.size).all_entries()["people"])

    @cached_property
    def vocabulary(self) -> list[str]:
        """All word types of this lexicon and language, ``<eos>`` first, then in alphabetical order.

        Held-out words and kinds are included, so that worlds of one lexicon and language share their numbering.
        """
        lexicons = Lexicons(self.size)
        entries = lexicons.all_entries()
        found: set[str] = set()
        for telling in self.tellings.values():
            for step in telling.steps():
                if isinstance(step, Step):
                    found |= words_of(step, lexicons, self.language, entries)
                else:
                    found.add(step)
        return [EOS, *sorted(found)]


T = TypeVar("T")


def _draw_weighted(options: list[tuple[float, T]], random: Callable[[], float]) -> T:
    left = random() * sum(weight for weight, _ in options)
    for weight, option in options:
        left -= weight
        if left < 0:
            return option
    return options[-1][1]


def _draw_pattern(choices: Choices, random: Callable[[], float]) -> Pattern:
    if len(choices.patterns) == 1:
        random()
        return choices.patterns[0]
    left = random() * choices.total
    for pattern in choices.patterns:
        left -= pattern.weight
        if left < 0:
            break
    return pattern

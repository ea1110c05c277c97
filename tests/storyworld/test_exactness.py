"""Teller and reader agree, probabilities sum to 1, and brute force over the latents gives the same numbers."""

import math
from collections import defaultdict

import pytest

from plm_core.storyworld import IdealReader, StoryWorld
from plm_core.storyworld.events import advance
from plm_core.storyworld.mixture import Mixture, event_nats
from plm_core.storyworld.state import State

WORLDS = {
    "small": {},
    "told": {"hidden_goals": 0.0},
    "hidden": {"hidden_goals": 1.0, "distractors": 0.5},
    "large": {"people": 5, "things": 4, "sentences": (20, 26), "delay": 2},
    "full": {"lexicon": "full"},
}


def mixture_nats(world: StoryWorld, words: list[str]) -> list[float]:
    """-log p of each sentence of a text from the events behind it, without looking at words."""
    sentences = IdealReader(world).parse(words)
    state, latents, found = State(), {}, []
    for sentence in sentences:
        mixture = Mixture(world, state, latents)
        found.append(event_nats(world, state, mixture, sentence))
        latents = mixture.update(mixture.bare(sentence.event)) if latents else {}
        advance(state, sentence.event)
        if state.aim and not latents:
            latents = world.latents(state)
    return found


def joint_nats(world: StoryWorld, words: list[str]) -> float:
    """-log p of a story as the sum over all latents, each of which is followed on its own from beginning to end."""
    sentences = IdealReader(world).parse(words)
    fixed, state, starts = 0.0, State(), {}
    totals: dict = defaultdict(float)
    for sentence in sentences:
        if not starts:
            mixture = Mixture(world, state, {})
            fixed += event_nats(world, state, mixture, sentence)
        else:
            patterns = None
            for latent in starts:
                mixture = Mixture(world, state, {latent: 1.0})
                if mixture.total.get(mixture.bare(sentence.event), 0.0) > 0:
                    totals[latent] += event_nats(world, state, mixture, sentence)
                    patterns = True
                else:
                    totals[latent] = math.inf
            assert patterns
        advance(state, sentence.event)
        if state.aim and not starts:
            starts = world.latents(state)
    best = min(totals[latent] for latent in starts)
    return fixed + best - math.log(sum(share * math.exp(best - totals[latent]) for latent, share in starts.items()))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", WORLDS)
def test_words_and_events_have_the_same_probability(name, language):
    world = StoryWorld(language=language, **WORLDS[name])
    reader = IdealReader(world)
    for story in world.stories(seed=1, count=5):
        nats = reader.surprisals(story.words)
        assert math.isclose(math.fsum(nats), math.fsum(mixture_nats(world, story.words)), abs_tol=1e-8)


@pytest.mark.parametrize("name", ["small", "hidden"])
def test_the_mixture_is_the_sum_over_latents_followed_one_by_one(name):
    world = StoryWorld(**WORLDS[name])
    reader = IdealReader(world)
    for story in world.stories(seed=2, count=4):
        assert math.isclose(math.fsum(reader.surprisals(story.words)), joint_nats(world, story.words), abs_tol=1e-8)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_next_word_probabilities_sum_to_one_and_give_the_surprisal(language):
    world = StoryWorld(language=language)
    for story in world.stories(seed=3, count=4):
        cursor = IdealReader(world).cursor()
        for word in story.words:
            expected = cursor.next_word()
            assert math.isclose(math.fsum(expected.values()), 1.0, abs_tol=1e-9)
            assert math.isclose(cursor.push(word), -math.log(expected[word]), abs_tol=1e-8)


@pytest.mark.parametrize("name", WORLDS)
def test_the_reader_recovers_the_events_and_holds_the_true_latent_possible(name):
    world = StoryWorld(**WORLDS[name])
    for story in world.stories(seed=4, count=6):
        cursor = IdealReader(world).cursor()
        for word in story.words[:-1]:
            cursor.push(word)
            if cursor.latents:
                assert cursor.latents[story.goal, story.fate] > 0
        assert [s.event for s in cursor.sentences] == [s.event for s in story.sentences]
        assert [s.pattern for s in cursor.sentences] == [s.pattern for s in story.sentences]

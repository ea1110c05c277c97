"""Brute force on small worlds: all stories together have probability 1, and no text has two derivations."""

import math
from random import Random

import pytest

from plm_core.storyworld import IdealReader, StoryWorld
from plm_core.storyworld.events import KINDS, advance
from plm_core.storyworld.mixture import Mixture
from plm_core.storyworld.state import State

TINY = {"sentences": (5, 5), "distractors": 0.3, "obstacles": 0.3}


def continuations(world: StoryWorld, state: State, latents: dict, depth: int = 0) -> tuple[float, int]:
    """The probability of all ways in which a story may go on, and their number, event by event."""
    if state.closed:
        return 1.0, 1
    assert depth < 40
    total, count = 0.0, 0
    mixture = Mixture(world, state, latents)
    for event, probability in mixture.total.items():
        after = state.copy()
        advance(after, event)
        inferred = mixture.update(event)
        assert inferred
        whole, ways = continuations(world, after, inferred, depth + 1)
        total, count = total + probability * whole, count + ways
    return total, count


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize("told", [True, False])
def test_all_continuations_of_a_small_world_have_probability_one(seed, told):
    world = StoryWorld(**TINY, hidden_goals=0.0 if told else 1.0)
    story = world.story(seed)
    state = story.state_after(4)
    latents = world.latents(state)
    if not told:  # three goals at a time, so that the tree stays small
        kept = Random(seed).sample(world.goals(state), 3)
        latents = {latent: weight for latent, weight in latents.items() if latent[0] in kept}
        latents = {latent: weight / sum(latents.values()) for latent, weight in latents.items()}
    total, count = continuations(world, state, latents)
    assert count > 20
    assert math.isclose(total, 1.0, abs_tol=1e-9)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", ["small", "full"])
def test_no_sentence_has_two_derivations(size, language):
    world = StoryWorld(size, language)
    for story in world.stories(seed=7, count=12):
        cursor = IdealReader(world).cursor()
        for sentence in story.sentences:
            texts: dict[str, tuple] = {}
            for event in cursor.mixture.total:
                kind, args = event
                if KINDS[kind].opens:
                    continue
                choices = world.tellings[kind].choices(cursor.state, args)
                for pattern in choices.patterns:
                    words = [s if isinstance(s, str) else s.say(cursor.state, args) for s in pattern.steps]
                    text = " ".join(words)
                    assert text not in texts, (event, texts[text], text)
                    texts[text] = event
            for word in sentence.words:
                cursor.push(word)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_sentences_of_a_state_have_probability_one_word_by_word(language):
    """All sentences that may stand at a place are spelt out by asking for the next word again and again."""
    world = StoryWorld(language=language)
    story = world.story(11)
    for shown in (5, 9):
        words = [word for sentence in story.sentences[:shown] for word in sentence.words]
        total, stack = 0.0, [(IdealReader(world).cursor(words), 1.0)]
        while stack:
            cursor, probability = stack.pop()
            for word, share in cursor.next_word().items():
                if word == world.full_stop:
                    total += probability * share
                else:
                    longer = cursor.copy()
                    longer.push(word)
                    stack.append((longer, probability * share))
        assert math.isclose(total, 1.0, abs_tol=1e-9)


def test_a_masked_word_has_the_posterior_of_brute_force():
    world = StoryWorld()
    reader = IdealReader(world)
    words = world.story(3).words
    for position in (4, 60, 61, 90):
        posterior = reader.posterior(words, position)
        weights = {}
        for word in posterior:
            changed = [*words[:position], word, *words[position + 1 :]]
            weights[word] = math.exp(-math.fsum(reader.surprisals(changed)))
        total = sum(weights.values())
        assert math.isclose(sum(posterior.values()), 1.0)
        for word, probability in posterior.items():
            assert math.isclose(probability, weights[word] / total, rel_tol=1e-6)


def test_the_posterior_of_the_goal_is_that_of_each_goal_told_alone():
    """Bayes' rule by hand: the probability of the text under each latent, which is followed on its own."""
    world = StoryWorld(hidden_goals=1.0)
    for story in world.stories(seed=8, count=3):
        words = [word for sentence in story.sentences[:11] for word in sentence.words]
        cursor = IdealReader(world).cursor(words)
        state, likelihood = State(), {}
        for sentence in cursor.sentences:
            for latent in likelihood:
                if likelihood[latent]:
                    alone = Mixture(world, state, {latent: 1.0})
                    likelihood[latent] *= alone.total.get(sentence.event, 0.0)
            advance(state, sentence.event)
            if state.aim and not likelihood:
                likelihood = dict(world.latents(state))
        total = sum(likelihood.values())
        for latent, weight in cursor.posterior().items():
            assert math.isclose(weight, likelihood[latent] / total, rel_tol=1e-8)


def test_the_posterior_changes_word_by_word_within_a_sentence():
    world = StoryWorld(hidden_goals=1.0)
    story = world.story(2)
    cursor = IdealReader(world).cursor()
    for word in story.words[:-1]:
        cursor.push(word)
        goals = cursor.goals()
        if goals:
            assert math.isclose(sum(goals.values()), 1.0)
            assert goals[story.goal] > 0
    assert math.isclose(sum(cursor.moods().values()), 1.0)
    assert cursor.moods()[story.fate] > 1 - 1e-9

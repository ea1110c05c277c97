"""A word has the skill that its surprisal asks for, and the parts of the surprisal are exact."""

import math

import pytest

from plm_core.storyworld import IdealReader, StoryWorld
from plm_core.storyworld.mixture import Mixture, event_nats
from plm_core.storyworld.skill_reading import CERTAIN_NATS, read


@pytest.fixture(scope="module", params=[("small", "en"), ("small", "zh"), ("full", "en"), ("full", "zh")])
def told(request):
    """Stories sentence by sentence: the mixture before each, the sentence, and its words as they are read."""
    world = StoryWorld(*request.param)
    reader, found = IdealReader(world), []
    for story in world.stories(seed=8, count=12):
        words, start = read(reader, story.words), 0
        cursor = reader.cursor()
        for sentence in story.sentences:
            size = len(sentence.words)
            state = cursor.state.copy()
            found.append((Mixture(world, state, dict(cursor.latents)), sentence, words[start : start + size]))
            start += size
            for word in sentence.words:
                cursor.push(word)
    return found


def test_who_and_what_add_up_to_the_events_surprisal_and_how_to_the_rest(told):
    for mixture, sentence, words in told:
        of_event = -math.log(mixture.total[mixture.bare(sentence.event)])
        whole = event_nats(mixture.world, mixture.state, mixture, sentence)
        assert math.fsum(word.who + word.what for word in words) == pytest.approx(of_event, abs=1e-7)
        assert math.fsum(word.how for word in words) == pytest.approx(whole - of_event, abs=1e-7)


def test_the_choice_between_a_name_and_a_pronoun_is_wording_and_who_acts_is_coreference(told):
    coins = actors = 0
    for mixture, _, words in told:
        first = words[0]
        if first.nats <= CERTAIN_NATS or first.sort not in ("people name", "people he"):
            continue
        if len(mixture.total) == 1:  # what happens is certain, so only the coin is not
            assert first.how == pytest.approx(first.nats, abs=1e-9)
            assert first.skill == "wording"
            coins += 1
        elif first.who > 1 and first.who > first.nats / 2 > first.what:
            assert first.skill == "coreference"
            actors += 1
    assert coins > 3
    assert actors > 3


def test_the_label_is_that_of_the_largest_part(told):
    words = [word for _, _, sentence in told for word in sentence if word.nats > CERTAIN_NATS]
    for word in words:
        if word.skill == "coreference":
            assert word.who >= max(word.what, word.how)
        elif word.skill in ("grammar", "places", "possession", "belief", "intention"):
            assert word.what > max(word.who, word.how)
        assert word.skill != "counting", "a number that is not certain is a choice"
    of_coreference = [word for word in words if word.skill == "coreference"]
    assert sum(word.who for word in of_coreference) > 0.7 * sum(word.nats for word in of_coreference)

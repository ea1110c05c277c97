"""The ideal reader: exact, complete, unambiguous."""

import math

import pytest

from plm_core.storyworld_v1 import EOS, IdealReader, NotOfThisWorld


def test_surprisals_sum_to_the_generators_own_log_probability(world):
    reader = IdealReader(world)
    for story in world.stories(3, "test", 40):
        assert math.fsum(reader.surprisals(story.words)) == pytest.approx(story.nats, abs=1e-9)


def test_next_word_probabilities_sum_to_one_and_give_the_surprisal(world):
    cursor = IdealReader(world).cursor()
    for story in world.stories(4, "valid", 2):
        for word in story.words:
            following = cursor.next_word()
            assert math.fsum(following.values()) == pytest.approx(1.0, abs=1e-12)
            assert cursor.push(word) == pytest.approx(-math.log(following[word]), abs=1e-9)


def test_parse_recovers_every_choice(world):
    reader = IdealReader(world)
    for story in world.stories(5, "train", 40):
        found = reader.parse(story.words)
        assert [(s.kind, s.values, s.pattern) for s in found] == [
            (s.kind, s.values, s.pattern) for s in story.sentences
        ]


def test_a_text_of_another_world_is_refused_with_its_position(world):
    words = world.story(1).words
    with pytest.raises(NotOfThisWorld, match="word 5") as caught:
        IdealReader(world).parse([*words[:5], "zebra"])
    assert caught.value.position == 5
    with pytest.raises(NotOfThisWorld):
        IdealReader(world).parse([*words[:-1], words[0]])
    assert words[-1] == EOS

"""The floor: the ideal reader's loss is the entropy, per kind of position as in sum."""

import math

import pytest

from plm_core.storyworld_v1 import IdealReader, NotOfThisWorld, StoryWorld
from plm_core.storyworld_v1.entropy import bits_per_character, entropy_by_kind, entropy_rate, ratio, read_sample


def test_the_ideal_readers_loss_on_fresh_text_is_the_entropy_within_the_intervals(small):
    """Two independent estimates differ by more than 4 joint standard errors once in 16,000 worlds."""
    reader = IdealReader(small)
    losses = [reader.surprisals(story.words) for story in small.stories(11, "valid", 100)]
    fresh = ratio([math.fsum(loss) for loss in losses], [len(loss) for loss in losses])
    rate = entropy_rate(small, 1200)
    assert abs(fresh.mean - rate.mean) < 4 / 1.96 * math.hypot(fresh.half_width, rate.half_width)
    assert rate.half_width < 0.01


def test_intervals_cover(small):
    """Of 40 intervals of 95 %, fewer than 31 cover the mean with a probability below 1 in 2,000."""
    truth = entropy_rate(small, 1500, seed=1).mean
    covered = sum(
        rate.low < truth < rate.high for rate in (entropy_rate(small, 20, seed=100 + seed) for seed in range(40))
    )
    assert covered >= 31


def test_bits_per_character_is_the_same_entropy_in_another_unit(world):
    stories = list(world.stories(0, "test", 50))
    bits = bits_per_character(world, 50)
    assert bits.mean == pytest.approx(
        sum(story.nats for story in stories) / math.log(2) / sum(len(story.text) + 1 for story in stories)
    )


def test_kinds_of_position_add_up(world):
    read = read_sample(world, 15)
    stories = list(world.stories(0, "test", 15))
    assert [word.word for word in read] == [word for story in stories for word in story.words]
    kinds = entropy_by_kind(read)
    assert set(kinds) == {"new", "choice", "sentence", "memory"}
    assert sum(kind.words * kind.nats for kind in kinds.values()) == pytest.approx(sum(s.nats for s in stories))
    assert kinds["memory"].nats == kinds["sentence"].nats == 0
    assert kinds["memory"].distance > 10
    for word in read:
        assert (word.distance > 0) == (word.kind == "memory")
        assert (word.sentences_back > 0) == (word.kind == "memory")


def test_the_evidence_of_a_remembered_word_is_needed():
    """Where the evidence is one word that says the same thing, hiding it leaves the remembered word uncertain."""
    world = StoryWorld("small", "en")
    reader = IdealReader(world)
    tried = 0
    for story in world.stories(21, "test", 12):
        read = reader.read(story.words)
        for position, word in enumerate(read):
            source = position - word.distance
            if word.kind == "memory" and word.tag == "place" and story.words[source] == word.word and tried < 12:
                posterior = reader.posterior(story.words, source)
                assert posterior == {word.word: pytest.approx(1.0)}
                before = reader.posterior(story.words[:position], source)
                assert len(before) >= 1
                tried += 1
    assert tried == 12


def test_posterior_by_the_definition(small):
    """p(word | rest) is proportional to p(text with the word), here summed over the whole vocabulary."""
    reader = IdealReader(small)
    words = small.story(4).words[:60]
    for position in (1, 7, 20, 33, 41):
        weights = {}
        for word in small.vocabulary:
            try:
                text = [*words[:position], word, *words[position + 1 :]]
                weights[word] = math.exp(-math.fsum(reader.surprisals(text)))
            except NotOfThisWorld:
                continue
        total = math.fsum(weights.values())
        expected = {word: weight / total for word, weight in weights.items()}
        assert reader.posterior(words, position) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ValueError, match="position must lie"):
        reader.posterior(words, len(words))


def test_a_ratio_needs_two_stories():
    with pytest.raises(ValueError, match="two stories"):
        ratio([1.0], [2])

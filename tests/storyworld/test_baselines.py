"""The trivial guesses at every word: last mention, first mention and majority."""

import pytest

from plm_core.storyworld import IdealReader, StoryWorld
from plm_core.storyworld.baselines import BASELINES, WordBaselines
from plm_core.storyworld.skill_reading import ReadWord, read


def word(text, skill="places", sort="places noun"):
    return ReadWord(text, 0.1, skill, sort=sort)


@pytest.fixture
def story():
    return [word("barn"), word("hill"), word("in", "wording", ""), word("barn"), word("tom", "naming", "people name")]


def test_last_mention_repeats_the_last_word_of_the_same_sort(story):
    assert WordBaselines([]).guesses(story)["last mention"] == ["", "barn", "", "hill", ""]
    assert WordBaselines([]).hits(story)["last mention"] == [False] * 5


def test_first_mention_repeats_the_first_word_of_the_same_sort(story):
    assert WordBaselines([]).guesses(story)["first mention"] == ["", "barn", "", "barn", ""]
    assert WordBaselines([]).hits(story)["first mention"] == [False, False, False, True, False]


def test_the_majority_is_the_most_frequent_training_word_of_the_skill_and_sort(story):
    train = [
        [word("hill"), word("hill"), word("barn"), word("in", "wording", ""), word("ann", "naming", "people name")]
    ]
    baselines = WordBaselines(train)
    assert baselines.guesses(story)["majority"] == ["hill", "hill", "in", "hill", "ann"]
    assert baselines.hits(story)["majority"] == [False, True, True, False, False]
    assert WordBaselines([]).guesses(story)["majority"] == [""] * 5


def test_words_of_one_sort_in_another_skill_are_mentions_but_not_its_majority():
    train = [[word("hill", "naming"), word("hill", "naming"), word("barn")]]
    found = WordBaselines(train).guesses([word("pier", "naming"), word("barn")])
    assert found["last mention"] == ["", "pier"]
    assert found["majority"] == ["hill", "barn"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_baseline_reaches_the_ceiling_where_facts_must_be_tracked(language):
    world = StoryWorld(language=language)
    reader = IdealReader(world)
    train, test = (
        [read(reader, story.words, accuracy=True) for story in world.stories(0, split, 30)]
        for split in ("train", "test")
    )
    baselines = WordBaselines(train)
    for skill in ("coreference", "places", "belief"):
        words = [word for story in test for word in story if word.skill == skill]
        best = sum(word.best for word in words) / len(words)
        for name in BASELINES:
            hits = [h for s in test for h, w in zip(baselines.hits(s)[name], s, strict=True) if w.skill == skill]
            assert len(hits) == len(words)
            assert sum(hits) / len(hits) < best - 0.1

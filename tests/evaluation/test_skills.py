"""Scores by skill: the ideal reader's excess is zero, a model's is the difference of losses, groups add up."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from plm_core.evaluation.skills import (
    Predictions,
    by_ideal_reader,
    by_model,
    read_ideally,
    score_skills,
    skill_table,
)
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.skills import SKILLS


@pytest.fixture(scope="module")
def world():
    return StoryWorld()


@pytest.fixture(scope="module")
def stories(world):
    return list(world.stories(0, "test", 12))


@pytest.fixture(scope="module")
def readings(stories):
    return read_ideally(stories)


class Uniform(nn.Module):
    """Gives every word the same probability."""

    def __init__(self, size: int):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(size))

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        return self.scale.expand(*ids_BT.shape, -1)


def test_the_ideal_reader_has_no_excess_and_loses_exactly_the_entropy(world, stories, readings):
    scores = score_skills(readings, by_ideal_reader(readings))
    assert all(score.excess == 0 for score in scores)
    words = sum(len(story.words) for story in stories)
    nats = math.fsum(word.nats for reading in readings for word in reading.words)
    assert scores[-1].skill == "all"
    assert scores[-1].entropy == pytest.approx(nats / words)


def test_a_uniform_model_loses_the_logarithm_of_the_vocabulary_on_every_skill(world, stories, readings):
    model = Uniform(len(world.vocabulary))
    for score in score_skills(readings, by_model(model, world.vocabulary, batch_size=5)(stories)):
        assert score.entropy + score.excess == pytest.approx(math.log(len(world.vocabulary)), abs=1e-5)


def test_skills_and_distances_split_the_same_words(readings):
    predictions = by_ideal_reader(readings)
    plain, split = score_skills(readings, predictions), score_skills(readings, predictions, by_distance=True)
    assert {score.skill for score in plain[:-1]} <= set(SKILLS)
    for scores in (plain, split):
        assert sum(score.words for score in scores[:-1]) == scores[-1].words
        assert sum(score.share for score in scores[:-1]) == pytest.approx(1)
    by_skill = {score.skill: score.words for score in plain}
    for skill, words in by_skill.items():
        assert words == sum(score.words for score in split if score.skill.partition(", ")[0] == skill)


def test_accuracy_counts_hits_and_the_ceiling_is_the_probability_of_the_likeliest_word(readings):
    always = [Predictions(np.zeros(len(r.words)), np.ones(len(r.words), dtype=bool)) for r in readings]
    everything = score_skills(readings, always)[-1]
    assert everything.accuracy == 1
    assert everything.ceiling == pytest.approx(np.concatenate([r.best for r in readings]).mean())
    assert everything.excess == pytest.approx(-everything.entropy)


def test_predictions_of_other_stories_are_refused(readings):
    with pytest.raises(ValueError, match="of other stories"):
        score_skills(readings, by_ideal_reader(readings[::-1]))


def test_the_table_shows_every_skill(readings):
    scores = score_skills(readings, by_ideal_reader(readings))
    table = skill_table(scores)
    assert all(score.skill in table for score in scores)

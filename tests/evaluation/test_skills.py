"""Scores by skill: the ideal reader's excess is zero, a model's is the difference of losses, groups add up."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from plm_core.data.tokenizer_training import train_bpe, train_characters, word_tokenizer
from plm_core.evaluation.skill_report import plot_skills, skill_table
from plm_core.evaluation.skills import (
    Predictions,
    by_ideal_reader,
    by_model,
    by_tokens,
    read_ideally,
    score_skills,
    spell,
)
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.baselines import BASELINES, WordBaselines
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
    nats = math.fsum(word.nats for reading in readings for word in reading)
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
    always = [Predictions(np.zeros(len(r)), np.ones(len(r), dtype=bool)) for r in readings]
    everything = score_skills(readings, always)[-1]
    assert everything.accuracy == 1
    assert everything.ceiling == pytest.approx(np.mean([word.best for reading in readings for word in reading]))
    assert everything.excess == pytest.approx(-everything.entropy)


def test_predictions_of_other_stories_are_refused(readings):
    with pytest.raises(ValueError, match="of other stories"):
        score_skills(readings, by_ideal_reader(readings[::-1]))


def test_the_table_and_the_figure_show_every_skill_and_every_baseline(readings, tmp_path):
    scores = score_skills(readings, by_ideal_reader(readings), baselines=WordBaselines(readings))
    table = skill_table(scores)
    assert all(score.skill in table for score in scores)
    assert all(name in table for name in BASELINES)
    figure = plot_skills(scores, tmp_path / "skills.png")
    loss, hits = figure.axes
    assert [label.get_text() for label in loss.get_yticklabels()] == [score.skill for score in scores]
    assert len(hits.lines) == len(BASELINES) + 2
    assert (tmp_path / "skills.png").stat().st_size > 5000


def test_the_majority_is_counted_and_scored_on_the_words_of_each_skill(readings):
    scores = score_skills(readings, by_ideal_reader(readings), baselines=WordBaselines(readings))
    for score in scores:
        words = [w for reading in readings for w in reading if score.skill in (w.skill, "all")]
        best_of_sort = sum(
            max(Counter(w.word for w in words if (w.skill, w.sort) == key).values())
            for key in {(w.skill, w.sort) for w in words}
        )
        assert score.words == len(words)
        assert score.baselines["majority"] == pytest.approx(best_of_sort / len(words))


def words_of(world):
    return word_tokenizer([word for word in world.vocabulary if word != "<eos>"])


def test_tokens_that_are_words_predict_as_words_do(world, stories):
    torch.manual_seed(0)
    tokenizer = words_of(world)
    model = nn.Sequential(nn.Embedding(tokenizer.vocab_size, 8), nn.Linear(8, tokenizer.vocab_size))
    texts = tokenizer.backend.get_vocab()
    names = {number: word for word, number in texts.items()}
    names[tokenizer.bos_id] = "<eos>"  # by_model begins with the word that by_tokens reads as the document's end
    by_id = [names[number] for number in range(tokenizer.vocab_size)]
    model[0].weight.data[tokenizer.eos_id] = model[0].weight.data[tokenizer.bos_id]
    one, other = by_tokens(model, tokenizer)(stories), by_model(model, by_id)(stories)
    for mine, theirs in zip(one, other, strict=True):
        assert mine.nats[:-1] == pytest.approx(theirs.nats[:-1])
        assert (mine.hits[:-1] == theirs.hits[:-1]).all()


@pytest.mark.parametrize("train", [train_bpe, train_characters], ids=["bpe", "characters"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_surprisals_of_a_words_pieces_add_up(train, language):
    stories = list(StoryWorld(language=language).stories(0, "test", 4))
    texts = ["\n".join(" ".join(s.words) for s in story.sentences) for story in stories]
    tokenizer = train(texts, vocab_size=400) if train is train_bpe else train(texts)
    predictions = by_tokens(Uniform(tokenizer.vocab_size), tokenizer)(stories)
    for story, text, found in zip(stories, texts, predictions, strict=True):
        assert len(found.nats) == len(story.words)
        pieces = len(tokenizer.encode(text)) + 1  # and the document's end
        assert found.nats.sum() == pytest.approx(pieces * math.log(tokenizer.vocab_size), rel=1e-5)
        ids, owners = spell(story, tokenizer)
        assert ids == tokenizer.encode(text)
        for number in range(len(story.words) - 1):
            piece = [i for i, owner in zip(ids, owners, strict=True) if owner == number]
            assert tokenizer.decode(piece).strip() == story.words[number]


def test_words_that_the_tokenizer_does_not_know_are_named(world, stories):
    tokenizer = word_tokenizer(["one", "morning"])
    with pytest.raises(ValueError, match="does not know"):
        by_tokens(Uniform(tokenizer.vocab_size), tokenizer)(stories)

"""StoryWorld as a corpus: names of both versions, dials and splits, and one clear message for each mistake."""

import pytest

from plm_core import storyworld_v1
from plm_core.data.corpus_text import OFFLINE
from plm_core.runs import corpus
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import load_texts, train_tokenizer
from plm_core.runs.stories import StoryConfig, has_words_of, named_world, story_text
from plm_core.storyworld import StoryWorld


def run_config(**changes):
    return RunConfig.from_dict({"corpus": "storyworld-small-en", "output": "unused", "max_documents": 30, **changes})


@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_name_is_a_world_and_its_first_version_has_a_name_of_its_own(size, language):
    new, old = (named_world(f"storyworld-{v}{size}-{language}", StoryConfig()) for v in ("", "v1-"))
    assert isinstance(new, StoryWorld)
    assert isinstance(old, storyworld_v1.StoryWorld)
    for world in (new, old):
        assert (world.size, world.language) == (size, language)


def test_the_names_that_are_listed_are_worlds():
    listed = [name for name in OFFLINE if name.startswith("storyworld-")]
    assert len(listed) == 2
    for name in listed:
        named_world(name, StoryConfig())


def test_a_document_is_a_story_with_one_sentence_a_line():
    story = StoryWorld().story(0)
    lines = story_text(story).split("\n")
    assert len(lines) == len(story.sentences)
    assert " ".join(lines).split() == story.words[:-1]


def test_splits_share_no_story():
    texts = load_texts(run_config(max_documents=200))
    train = "".join(part.text for part in texts.train.parts())
    assert story_text(next(texts.world.stories(seed=0, split="train"))) in train
    assert len(texts.valid_stories) == corpus.VALIDATION_STORIES
    assert not any(story_text(story) in train for story in texts.valid_stories)


def test_the_dials_of_a_run_are_those_of_its_world():
    dials = {"sentences": [20, 22], "people": 5, "things": 4, "distractors": 0.2, "hidden_goals": 1.0, "delay": 2}
    world = load_texts(run_config(stories=dials)).world
    expected = StoryWorld(sentences=(20, 22), people=5, things=4, distractors=0.2, hidden_goals=1.0, delay=2)
    assert world.dials == expected.dials


def test_validation_differs_where_it_is_told_to():
    held_out = {"names": "held_out", "combinations": "held_out", "sentences": [24, 28]}
    texts = load_texts(run_config(stories={"names": "seen", "combinations": "seen"}, validation_stories=held_out))
    valid = texts.valid_stories[0].world
    assert texts.world.dials == StoryWorld(names="seen", combinations="seen").dials
    assert valid.dials == StoryWorld(sentences=(24, 28), names="held_out", combinations="held_out").dials
    train_words = {word for part in texts.train.parts() for word in part.text.split()}
    names = {name for story in texts.valid_stories for name in valid.names.intersection(story.words)}
    assert names
    assert not names & train_words
    assert min(len(story.sentences) for story in texts.valid_stories) > 20


def test_worlds_of_other_dials_have_the_same_tokens():
    config = run_config(stories={"names": "seen"}, validation_stories={"names": "held_out", "people": 6, "things": 6})
    texts = load_texts(config)
    tokenizer = train_tokenizer(config, texts)
    assert has_words_of(tokenizer, texts.valid_stories[0].world)
    assert has_words_of(tokenizer, StoryWorld())
    assert not has_words_of(tokenizer, StoryWorld("full"))
    assert not has_words_of(tokenizer, storyworld_v1.StoryWorld("small"))
    assert tokenizer.unk_id not in tokenizer.encode(" ".join(part.text for part in texts.valid.parts()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stories": {"people": 9}}, "people must be 3 to 6, not 9"),
        ({"stories": {"sentences": [9]}}, "expected 2 values"),
        ({"stories": {"names": "hidden"}}, "expected one of 'all', 'seen', 'held_out'"),
        ({"stories": {"delays": 1}}, "did you mean 'delay'"),
        ({"validation_stories": {"things": 1}}, "things must be 2 to 6, not 1"),
        ({"stories": {"things": 3}, "validation_stories": {"combinations": "held_out"}}, "it has no more"),
        ({"corpus": "text8", "stories": {"people": 4}}, "are dials of a StoryWorld, but the corpus is 'text8'"),
        ({"corpus": "storyworld-v1-small-en", "stories": {"people": 4}}, "has no dials"),
        ({"validation": "x.txt", "validation_stories": {"people": 4}}, "exclude each other"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        run_config(**changes)


@pytest.mark.parametrize("name", ["storyworld-huge-en", "storyworld-small-de", "storyworld-v2-small-en", "storyworld-"])
def test_unknown_worlds_are_refused_with_the_names_of_those_there_are(name):
    with pytest.raises(ValueError, match="StoryWorlds are storyworld-"):
        load_texts(run_config(corpus=name))

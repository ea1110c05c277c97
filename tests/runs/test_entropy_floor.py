"""The floor of a run: exact for causal models, a bound in expectation for masked ones."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.data.masking import MaskingConfig
from plm_core.data.tokenizer_training import word_tokenizer
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import Texts, load_texts, train_tokenizer
from plm_core.runs.entropy_floor import chosen_entropy, known_entropy, masked_entropy
from plm_core.storyworld import IdealReader, StoryWorld

ALL_MASKED = MaskingConfig(mask_share=1.0, random_share=0.0)
posteriors = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6).map(
    lambda weights: {f"word {i}": weight / sum(weights) for i, weight in enumerate(weights)}
)


def entropy(distribution):
    return -math.fsum(p * math.log(p) for p in distribution if p)


@pytest.fixture(scope="module")
def stories():
    return list(StoryWorld("small", "en").stories(seed=0, split="valid", count=12))


def causal_floor(stories, tokenizer=None):
    """The floor of a causal run that is validated on the stories."""
    texts = replace(Texts.of([], []), world=stories[0].world, valid_stories=tuple(stories))
    return known_entropy(run_config(), texts, tokenizer or train_tokenizer(run_config(), texts))


def run_config(**changes):
    return RunConfig.from_dict({"corpus": "storyworld-small-en", "output": "unused", "max_documents": 2, **changes})


@given(posteriors, st.integers(6, 500), st.floats(0, 1), st.floats(0, 1))
def test_what_stands_at_a_place_can_only_help(posterior, vocabulary, mask_share, random_share):
    masking = MaskingConfig(mask_share=mask_share, random_share=random_share * (1 - mask_share))
    found = chosen_entropy(posterior, masking, vocabulary=vocabulary)
    hidden = entropy(posterior.values())
    assert masking.mask_share * hidden - 1e-9 <= found <= hidden + 1e-9


@given(posteriors, st.integers(6, 50))
def test_agrees_with_the_table_of_all_words_shown(posterior, vocabulary):
    """H(W | S) = H(W, S) - H(S), from the table of every true word and everything that may be shown for it."""
    shares = MaskingConfig()
    keep = 1 - shares.mask_share - shares.random_share
    names = [*posterior, *(f"other {i}" for i in range(vocabulary - len(posterior)))]
    table = {
        (word, shown): p * (shares.random_share / vocabulary + keep * (word == shown))
        for word, p in posterior.items()
        for shown in names
    } | {(word, "[MASK]"): p * shares.mask_share for word, p in posterior.items()}
    assert math.fsum(table.values()) == pytest.approx(1)
    of_shown = [math.fsum(p for (_, s), p in table.items() if s == shown) for shown in [*names, "[MASK]"]]
    expected = entropy(table.values()) - entropy(of_shown)
    assert chosen_entropy(posterior, shares, vocabulary=vocabulary) == pytest.approx(expected, abs=1e-9)


def test_a_kept_word_leaves_no_uncertainty_and_a_mask_leaves_all():
    coin = {"left": 0.5, "right": 0.5}
    assert chosen_entropy(coin, ALL_MASKED, vocabulary=8) == pytest.approx(math.log(2))
    always_kept = MaskingConfig(mask_share=0.0, random_share=0.0)
    assert chosen_entropy(coin, always_kept, vocabulary=8) == pytest.approx(0)
    always_random = MaskingConfig(mask_share=0.0, random_share=1.0)
    assert chosen_entropy(coin, always_random, vocabulary=8) == pytest.approx(math.log(2))


def test_the_floor_is_a_pure_function_of_its_seed_and_lies_below_the_causal_one(stories):
    entropy = masked_entropy(stories, ALL_MASKED, words_per_story=4, seed=1)
    assert entropy == masked_entropy(stories, ALL_MASKED, words_per_story=4, seed=1)
    assert entropy != masked_entropy(stories, ALL_MASKED, words_per_story=4, seed=2)
    assert entropy.units == 4 * len(stories)
    causal = causal_floor(stories)
    assert 0 < entropy.mean < causal.mean  # words after the gap can only help


@pytest.mark.parametrize("name", ["storyworld-full-zh", "storyworld-v1-small-en"])
def test_the_causal_floor_is_exact_on_the_words_that_are_scored_and_has_an_interval(name):
    config = run_config(corpus=name)
    texts = load_texts(config)
    texts = replace(texts, valid_stories=texts.valid_stories[:20])
    floor = known_entropy(config, texts, train_tokenizer(config, texts))
    assert floor.units == sum(len(story.words) for story in texts.valid_stories)
    assert 0 < floor.half_width < 0.2 * floor.mean
    if name == "storyworld-full-zh":
        nats = [n for s in texts.valid_stories for n in IdealReader(s.world).surprisals(s.words)]
        assert floor.mean == pytest.approx(math.fsum(nats) / len(nats))


def test_there_is_no_floor_in_nats_per_token_where_tokens_are_not_the_words(stories):
    assert causal_floor(stories, word_tokenizer(["the", "a"])) is None


def test_every_word_of_a_story_may_be_sampled(stories):
    few = list(StoryWorld(sentences=(5, 6)).stories(seed=0, split="valid", count=2))
    entropy = masked_entropy(few, ALL_MASKED, words_per_story=10_000)
    assert entropy.units == sum(len(story.words) - 1 for story in few)


def test_the_floor_is_none_where_the_generator_is_unknown(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("one line\nanother line\n\n" * 20, encoding="utf-8")
    for objective in ("causal_lm", "masked_lm"):
        config = run_config(corpus=str(text), objective=objective)
        assert known_entropy(config, load_texts(config), word_tokenizer(["one", "line"])) is None
    full = run_config(corpus="storyworld-v1-full-en", objective="masked_lm")
    texts = load_texts(full)
    assert known_entropy(full, texts, train_tokenizer(full, texts)) is None

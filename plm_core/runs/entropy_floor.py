"""The loss that no model can beat, for runs on text whose generator is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from plm_core import storyworld_v1
from plm_core.data.documents import DEFAULT_RULE
from plm_core.data.masking import MaskingConfig
from plm_core.data.tokenizers import Tokenizer
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import Texts
from plm_core.runs.stories import AnyStory, has_words_of, story_nats
from plm_core.storyworld import EOS, IdealReader, Story
from plm_core.storyworld.entropy import Estimate, ratio

WORDS_PER_STORY = 4


def known_entropy(config: RunConfig, texts: Texts, tokenizer: Tokenizer) -> Estimate | None:
    """The best mean loss on the validation text, in nats per token that the run's objective predicts.

    For a causal model the mean is the exact entropy of the words that it is scored on; the interval says how well it
    estimates the entropy of the world's text. For a masked one both are estimated by :func:`masked_entropy`; the second
    task of a joint objective is left out.

    Args:
        config: the run.
        texts: its documents.
        tokenizer: its tokenizer.

    Returns:
        None where the text has no known generator, its documents are other than the stories, its tokens other than
        words, or its posteriors take too long.
    """
    stories = texts.valid_stories
    if not stories or config.documents != DEFAULT_RULE or not has_words_of(tokenizer, stories[0].world):
        return None
    if not config.is_masked:
        return ratio(story_nats(stories), [len(story.words) for story in stories])
    if not isinstance(stories[0], Story) and stories[0].world.size == "full":
        return None  # the first version's posterior tries thousands of names, which may take seconds a word
    return masked_entropy(stories, config.masking, seed=config.seed)


def masked_entropy(
    stories: Sequence[AnyStory], masking: MaskingConfig, *, words_per_story: int | None = None, seed: int = 0
) -> Estimate:
    """The entropy of a chosen word given *all* other words of its story, in nats per chosen word.

    A model sees less: a part of the story, with other words masked or replaced. Missing context can only increase its
    loss, so in expectation no masked model has a loss below this number, however it was trained.

    Args:
        stories: stories of one world.
        masking: how chosen words are replaced (:func:`chosen_entropy`).
        words_per_story: how many words of each story to sample, without replacement (``WORDS_PER_STORY``).
        seed: seed of the sample.

    Returns:
        The mean with its 95 % interval over stories.

    Raises:
        ValueError: fewer than two stories.
    """
    each = WORDS_PER_STORY if words_per_story is None else words_per_story
    generator = np.random.default_rng(seed)
    totals, counts = [], []
    for story in stories:
        reader = reader_of(story)
        words = [word for word in story.words if word != EOS]
        positions = generator.choice(len(words), size=min(each, len(words)), replace=False)
        ordinary = len(story.world.vocabulary) - 1  # the end of the story is no ordinary word
        entropies = [
            chosen_entropy(reader.posterior(words, position), masking, vocabulary=ordinary)
            for position in positions.tolist()
        ]
        totals.append(math.fsum(entropies))
        counts.append(len(entropies))
    return ratio(totals, counts)


def reader_of(story: AnyStory) -> IdealReader | storyworld_v1.IdealReader:
    """The ideal reader of a story's world."""
    return IdealReader(story.world) if isinstance(story, Story) else storyworld_v1.IdealReader(story.world)


def chosen_entropy(posterior: Mapping[str, float], masking: MaskingConfig, *, vocabulary: int) -> float:
    """The mean uncertainty about a chosen word, in nats, for a reader who sees what the corruption put in its place.

    At ``[MASK]`` the uncertainty is that of the posterior. Any other word at that place is informative: it may be
    the true one, kept, or drawn at random from the vocabulary (Devlin et al. 2019, section 3.1). By Bayes' rule a
    candidate w is shown as s with the weight ``posterior(w) (keep [w = s] + random / vocabulary)``.

    Args:
        posterior: the probability of every word that may stand there, given all others.
        masking: the shares of ``[MASK]`` and of random words; the rest is kept.
        vocabulary: the number of words that random ones are drawn from.

    >>> chosen_entropy({"left": 0.5, "right": 0.5}, MaskingConfig(mask_share=1.0, random_share=0.0), vocabulary=8)
    0.6931471805599453
    >>> chosen_entropy({"left": 0.5, "right": 0.5}, MaskingConfig(mask_share=0.0, random_share=0.0), vocabulary=8)
    0.0
    """
    random = masking.random_share
    keep = max(0.0, 1.0 - masking.mask_share - random)
    entropy = -math.fsum(p * math.log(p) for p in posterior.values() if p)
    total = (masking.mask_share + random * (vocabulary - len(posterior)) / vocabulary) * entropy
    for shown in posterior:
        weights = [p * (random / vocabulary + keep * (word == shown)) for word, p in posterior.items()]
        mass = math.fsum(weights)
        total -= math.fsum(weight * math.log(weight / mass) for weight in weights if weight)
    return total

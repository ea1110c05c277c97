"""What a unit of text costs and what it cannot say, and what a vocabulary built on the test texts hides.

A seed stands for a split of the documents into training, test and fresh texts. Fresh texts are used by nobody: they
show what a test promised too early.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from plm_core.data.corpora import python_documentation
from plm_core.data.tokenizer_training import train_bpe, train_characters, train_wordpiece, train_words
from plm_core.data.tokenizers import Tokenizer
from plm_core.storyworld_v1 import StoryWorld

UNITS: dict[str, Callable[[Sequence[str]], Tokenizer]] = {
    "characters": train_characters,
    "words": train_words,
    "BPE 300": partial(train_bpe, vocab_size=300),
    "BPE 1000": partial(train_bpe, vocab_size=1000),
    "BPE 4000": partial(train_bpe, vocab_size=4000),
    "WordPiece 4000": partial(train_wordpiece, vocab_size=4000, lowercase=False),
}
LANGUAGES = {"en": "English", "zh": "Chinese"}
VARIANTS = [
    *(f"{language}: {unit}" for language in LANGUAGES for unit in UNITS),
    "vocabulary from the training texts",
    "vocabulary from all texts",
]
SEEDS = [0, 1, 2]


def texts_of(language: str) -> list[str]:
    """English prose (Python's documentation) or Chinese stories."""
    if language == "en":
        return [document.text for document in python_documentation()]
    return [story.text for story in StoryWorld("full", "zh").stories(seed=0, split="train", count=500)]


def split(texts: Sequence[str], seed: int) -> tuple[list[str], list[str], list[str]]:
    """Training, test and fresh texts: about 60, 20 and 20 % of the documents."""
    texts = random.Random(seed).sample(list(texts), len(texts))
    first, second = len(texts) * 6 // 10, len(texts) * 8 // 10
    return texts[:first], texts[first:second], texts[second:]


def unknown_share(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """The share of tokens that are [UNK]."""
    tokens = [token for ids in tokenizer.encode_all(texts) for token in ids]
    return tokens.count(tokenizer.unk_id) / len(tokens)


def untrained_share(tokenizer: Tokenizer, training: Sequence[str], texts: Sequence[str]) -> float:
    """The share of tokens whose id never occurs in the training texts: a model has learned nothing about them."""
    trained = {token for ids in tokenizer.encode_all(training) for token in ids}
    tokens = [token for ids in tokenizer.encode_all(texts) for token in ids]
    return sum(token not in trained for token in tokens) / len(tokens)


def characters_per_token(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """How much text one token carries."""
    return sum(map(len, texts)) / sum(map(len, tokenizer.encode_all(texts)))


def run(variant: str, seed: int, preset: str) -> dict[str, float]:
    """Split the texts, build the vocabulary, and look at texts that it has not seen, or has."""
    if variant.startswith("vocabulary"):
        training, test, fresh = split(texts_of("en"), seed)
        seen = training + test if variant.endswith("all texts") else training
        words = train_words(seen)
        return {
            "unknown_test": unknown_share(words, test),
            "unknown_fresh": unknown_share(words, fresh),
            "untrained_test": untrained_share(words, training, test),
            "characters_per_token_test": characters_per_token(train_bpe(seen, vocab_size=4000), test),
            "characters_per_token_fresh": characters_per_token(train_bpe(seen, vocab_size=4000), fresh),
        }
    language, unit = variant.split(": ")
    training, test, _ = split(texts_of(language), seed)
    tokenizer = UNITS[unit](training)
    return {
        "vocab_size": len(tokenizer),
        "characters_per_token": characters_per_token(tokenizer, test),
        "unknown": unknown_share(tokenizer, test),
    }

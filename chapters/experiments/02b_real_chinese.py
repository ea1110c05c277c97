"""Real Chinese: the same manual in two languages, cut into units, and sentences cut into words by hand.

Two corpora are fetched once: Python's tutorial and language reference in English and Chinese, paragraph by paragraph,
and 1,000 sentences of Chinese Wikipedia with the words that linguists see in them.

1. ``en: UNIT`` and ``zh: UNIT``: a vocabulary learned on the training pages of one language; how many tokens, and how
   many bits under an n-gram model, the test pages take. A seed splits the pages, the same way for both languages, so
   the two say the same thing.
2. ``zh by FROM``: the Chinese test pages in the tokens of a byte-level BPE that was learned on English, on Chinese or
   on both, always with 4,000 tokens.
3. ``words by METHOD``: a seed draws 800 sentences, whose words are the dictionary; F1 of the words found in the other
   200. With the complete dictionary, the test sentences' words are known too: what is then still wrong is ambiguous.

Criterion for 3, fixed before the run: one method is better than another if its F1 is higher for all five seeds.
"""

from __future__ import annotations

import importlib
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from plm_core.data import unigram
from plm_core.data.chinese import parallel_documentation, segmented_sentences
from plm_core.data.tokenizer_training import train_bpe

units = importlib.import_module("plm_chapters.experiments.02_text_to_tensors")

LANGUAGES = {"en": "English", "zh": "Chinese"}
UNITS = ["characters", "BPE 300", "BPE 1000", "BPE 4000", "WordPiece 4000", "words"]
FROM = ["English", "Chinese", "both"]
METHODS = ["characters", "longest match", "unigram", "unigram pieces"]
COMPLETE = " with the complete dictionary"
VARIANTS = [
    *(f"{language}: {unit}" for unit in UNITS for language in LANGUAGES),
    *(f"zh by {source}" for source in FROM),
    *(f"words by {method}" for method in METHODS),
    *(f"words by {method}{COMPLETE}" for method in ("longest match", "unigram")),
]
SEEDS = [0, 1, 2, 3, 4]
LONGEST = 8
"""No word of the dictionary is longer, in characters."""


@cache
def pages_of(seed: int) -> dict[str, tuple[list[str], list[str], list[str]]]:
    """Training, validation and test pages of each language; the same pages in both."""
    pages = list(parallel_documentation().values())
    texts = {
        "en": ["\n".join(pair.source for pair in page) for page in pages],
        "zh": ["\n".join(pair.target for pair in page) for page in pages],
    }
    return {language: units.split(texts[language], seed) for language in LANGUAGES}


def longest_match(sentence: str, words: Mapping[str, int]) -> list[str]:
    """Cut a sentence from left to right, each time after the longest word that the dictionary has."""
    found = []
    start = 0
    while start < len(sentence):
        ends = range(min(len(sentence), start + LONGEST), start, -1)
        end = next((end for end in ends if sentence[start:end] in words), start + 1)
        found.append(sentence[start:end])
        start = end
    return found


def log_probabilities(words: Mapping[str, int]) -> dict[str, float]:
    """Each word's share of the training sentences, as a log probability; words never counted have half a count."""
    total = sum(words.values())
    return {word: math.log(max(count, 0.5) / total) for word, count in words.items() if len(word) <= LONGEST}


def spans(words: Sequence[str]) -> set[tuple[int, int]]:
    """From which character to which each word goes."""
    ends = [0]
    for word in words:
        ends.append(ends[-1] + len(word))
    return set(pairwise(ends))


def f1(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """F1 of words: a word is right if it begins and ends where one of the annotators' words does."""
    hits = sum(len(spans(a) & spans(b)) for a, b in zip(found, right, strict=True))
    return 2 * hits / (sum(map(len, found)) + sum(map(len, right)))


def segmentation(method: str, seed: int) -> dict[str, float]:
    """Cut 200 sentences into words with what 800 others say about them."""
    sentences = segmented_sentences("train") + segmented_sentences("validation")
    sentences = random.Random(seed).sample(sentences, len(sentences))
    training, test = sentences[:800], sentences[800:]
    words = Counter(word for sentence in training for word in sentence)
    if method.endswith(COMPLETE):
        words.update({word: 0 for sentence in test for word in sentence})
    match method.removesuffix(COMPLETE):
        case "characters":
            found = [list("".join(sentence)) for sentence in test]
        case "longest match":
            found = [longest_match("".join(sentence), words) for sentence in test]
        case "unigram":
            model = log_probabilities(words)
            found = [unigram.best_split("".join(sentence), model, longest=LONGEST) for sentence in test]
        case "unigram pieces":  # learned from the text alone, without the annotators' words
            model = unigram.train_pieces(Counter("".join(s) for s in training), len(words), num_candidates=12_000)
            found = [unigram.best_split("".join(sentence), model) for sentence in test]
        case _:
            raise ValueError(f"unknown method {method!r}")
    unknown = sum(word not in words for sentence in test for word in sentence) / sum(map(len, test))
    return {"f1": f1(found, test), "unknown": unknown, "words": len(words)}


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One unit in one language, one source of merges, or one way to find words."""
    if variant.startswith("words by "):
        return segmentation(variant.removeprefix("words by "), seed)
    pages = pages_of(seed)
    if variant.startswith("zh by "):
        training = {
            "English": pages["en"][0],
            "Chinese": pages["zh"][0],
            "both": pages["en"][0] + pages["zh"][0],
        }[variant.removeprefix("zh by ")]
        tokenizer = train_bpe(training, vocab_size=4000)
        tokens = {language: sum(map(len, tokenizer.encode_all(pages[language][2]))) for language in LANGUAGES}
        return {"zh_tokens": tokens["zh"], "en_tokens": tokens["en"], "ratio": tokens["zh"] / tokens["en"]}
    language, unit = variant.split(": ")
    training, validation, test = pages[language]
    result = units.measure(units.UNITS[unit](training), training, validation, test)
    return {**result, "characters": sum(map(len, test)), "bytes": units.num_bytes(test)}

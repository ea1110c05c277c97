"""Counts, PPMI and its decomposition on a second real text, with the settings that were chosen for the first.

The text is the validation part of WikiText-2, 60 articles of Wikipedia, in lower case; its 5,000 most frequent words
are known, without tokens that have no letter and without its ``<unk>``. A word counts as right as in
03_word_embeddings, with the same 16 lists; asked are those words of the lists that occur five times or more. Nothing is
tuned here: window, shift, smoothing and power are those that each arm chose on Brown, so all these words are reported.
Five seeds draw four fifths of the articles. Skip-gram is left out: its settings on Brown are not all swept.

Criterion, set before the runs: what was found on Brown is repeated if PPMI and its decomposition each have a higher
share than counts with every one of the five seeds.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import Any

from plm_chapters.experiments import word_texts
from plm_chapters.experiments.word_texts import Text
from plm_chapters.notebook import load_experiment, load_results
from plm_core.data.datasets import wikitext2

brown = load_experiment("03_word_embeddings")
ARMS = ["counts", "PMI", "SVD"]
VARIANTS = [*brown.FLOORS, *ARMS]
SEEDS = [1, 2, 3, 4, 5]
LEAST = 5
"""How often a word of the lists must occur to be asked."""


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """The share of right words of one arm or floor on one draw of articles."""
    text = wikitext_text(seed)
    if variant in brown.FLOORS:
        right = brown.floor(variant, text)
    else:
        stored = {each["variant"]: each for each in load_results("03_word_embeddings", preset)["runs"]}
        settings = stored[f"brown: {variant}"]["settings"]
        right = brown.right_words(brown.vectors("wikitext", variant, text, settings, seed), text).float()
    alone = (text.kinds[:, None] == text.kinds).sum(dim=1) == 1
    return {
        "share": float(right.mean()),
        "ceiling": float((~alone).float().mean()),
        "words": len(right),
        "length": len(text.ids),
    }


@cache
def articles() -> list[list[list[str]]]:
    """The articles as sentences of words.

    Raises:
        ConnectionError: the file is neither here nor to be fetched.
    """
    return [
        [words_of(sentence) for line in article.text.split("\n") for sentence in line.split(" . ")]
        for article in wikitext2("validation")
    ]


def words_of(sentence: str) -> list[str]:
    """The words of a sentence in lower case; tokens without a letter and ``<unk>`` are left out."""
    tokens = sentence.lower().split()
    return [token for token in tokens if token != "<unk>" and any(c.isalpha() for c in token)]


@cache
def wikitext_text(seed: int) -> Text:
    """Four fifths of the articles, drawn by a seed."""
    counts = Counter(word for article in articles() for sentence in article for word in sentence)
    words = sorted(counts, key=lambda word: (-counts[word], word))[: word_texts.VOCABULARY]
    drawn = random.Random(seed).sample(articles(), round(0.8 * len(articles())))
    number = {word: place for place, word in enumerate(words)}
    ids, sentences = word_texts.numbered((sentence for article in drawn for sentence in article), number)
    kinds = {kind: members.split() for kind, members in word_texts.KINDS.items()}
    return word_texts.of_kinds(words, ids, sentences, kinds, LEAST)

"""Real Chinese: the same manual in two languages, cut into units, and sentences cut into words by hand.

Two corpora and a dictionary are fetched once: Python's tutorial and language reference in English and Chinese,
paragraph by paragraph; 1,000 sentences of Chinese Wikipedia with the words that linguists see in them; and the small
dictionary of jieba, 109,750 words with their frequencies.

1. ``en: UNIT`` and ``zh: UNIT``: a vocabulary learned on the training pages of one language; how many tokens, and how
   many bits under an n-gram model, the test pages take. A seed splits the pages, the same way for both languages, so
   the two say the same thing. Everything that is lost by a unit is charged for, as in experiment 02. Chinese words are
   those that the large dictionary gives, by longest match or by the unigram model; words that the training pages do
   not have twice are [UNK] and spelled in characters. Around them, spaces and borders are those of BPE; in "words,
   spaces apart" signs stand alone, and a space between two words goes without saying unless both are Chinese: a sign
   marks every other space, and another one a space that is missing. English is cut as the unit of that name in 02.
2. ``zh by FROM``: the Chinese test pages in the tokens of a byte-level BPE that was learned on English or on both,
   always with 4,000 tokens.
3. ``words by METHOD``: a seed draws 800 sentences, whose words are the dictionary; F1 of the words found in the other
   200. With the complete dictionary, the test sentences' words are known too: what is then still wrong is ambiguous.
   The same with the large dictionary, alone and completed by the test sentences' words. These have no frequency: in
   the unigram model they have half a count, or each of COUNTS.

The units with spaces apart and COUNTS were added when the results of the others were known. Criteria, fixed before the
first run: of two units, the better one has fewer bits on the test pages for all five seeds; of two methods, the better
one has a higher F1 for all five seeds.
"""

from __future__ import annotations

import importlib
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any

from plm_core.data import bpe, unigram
from plm_core.data.chinese import dictionary, parallel_documentation, segmented_sentences
from plm_core.data.tokenizer_training import train_bpe

units = importlib.import_module("plm_chapters.experiments.02_text_to_tensors")

LANGUAGES = {"en": "English", "zh": "Chinese"}
APART = "words, spaces apart"
UNITS = ["characters", "BPE 300", "BPE 4000", "words", APART]
LONGEST_MATCH, PIECES = "words by longest match", "unigram 4000"
"""Units of the Chinese pages alone."""
FROM = ["English", "both"]
METHODS = ["characters", "longest match", "unigram", "unigram pieces"]
COMPLETE, LARGE, BOTH = " with the complete dictionary", " with the large dictionary", " with the large one, completed"
COUNTED = BOTH + " and counted"
COUNTS = [0.5, 1, 3, 10, 100, 1000]
"""Frequencies for the words by which the large dictionary is completed; all its frequencies make 62 million."""
VARIANTS = [
    *(f"{language}: {unit}" for unit in UNITS for language in LANGUAGES),
    *(f"zh: {unit}" for unit in (LONGEST_MATCH, PIECES)),
    *(f"zh by {source}" for source in FROM),
    *(f"words by {method}" for method in METHODS),
    *(f"words by {method}{which}" for which in (COMPLETE, LARGE, BOTH) for method in ("longest match", "unigram")),
    f"words by unigram{COUNTED}",
]
SEEDS = [0, 1, 2, 3, 4]
LONGEST = 8
"""The longest word that is looked up, in characters."""
CHINESE = "\u4e00-\u9fff"
EXTRA = "\u2423"
"""Stands for a space where none is expected."""


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


def log_probabilities(words: Mapping[str, float]) -> dict[str, float]:
    """Each word's share of the training sentences, as a log probability; words never counted have half a count."""
    total = sum(words.values())
    return {word: math.log(max(count, 0.5) / total) for word, count in words.items() if len(word) <= LONGEST}


def run_cutter(method: str, alphabet: frozenset[str]) -> Callable[[str], list[str]]:
    """A function that cuts a run of Chinese characters into words by the large dictionary, and no other run.

    Args:
        method: ``"longest match"`` or ``"unigram"``.
        alphabet: the characters of the texts; those that are not in the dictionary stand alone.
    """
    words = dictionary() | dict.fromkeys(alphabet - set(dictionary()), 0)
    model = log_probabilities(words)

    @cache
    def cut(run: str) -> list[str]:
        if not is_chinese(run):
            return [run]
        return (
            longest_match(run, words) if method == "longest match" else unigram.best_split(run, model, longest=LONGEST)
        )

    return cut


def is_chinese(word: str) -> bool:
    """Whether a word begins with a Chinese character."""
    return re.match(f"[{CHINESE}]", word) is not None


def chinese_words(method: str, alphabet: frozenset[str]) -> Callable[[str], list[str]]:
    """A function that cuts a text into words: Chinese runs by the large dictionary, all else as for BPE."""
    cut = run_cutter(method, alphabet)

    def words_of(text: str) -> list[str]:
        runs = [run for piece in bpe.split_words(text) for run in re.findall(f"[{CHINESE}]+|[^{CHINESE}]+", piece)]
        return [word for run in runs for word in cut(run)]

    return words_of


def space_expected(before: str, word: str) -> bool:
    """Whether a space goes without saying: between two words, of letters or digits, that are not both Chinese."""
    both = (before, word)
    return all(re.match(r"\w", each) for each in both) and not all(map(is_chinese, both))


def chinese_words_apart(alphabet: frozenset[str]) -> Callable[[str], list[str]]:
    """A function that cuts a text into words, as the unigram model finds them, and signs; expected spaces are left out.

    ``JOINT`` stands where an expected space is missing and :data:`EXTRA` where there is one that is not expected. White
    space that is not a single space between two words or signs is kept, character by character.
    """
    assert not {units.JOINT, EXTRA} & alphabet
    cut = run_cutter("unigram", alphabet)

    def words_of(text: str) -> list[str]:
        pieces = [word for run in re.findall(f"[{CHINESE}]+|[^\\W{CHINESE}]+|\\W", text) for word in cut(run)]
        solid = [False, *(not piece.isspace() for piece in pieces), False]
        words: list[str] = []
        before = " "
        for place, piece in enumerate(pieces, start=1):
            if piece == " " and solid[place - 1] and solid[place + 1]:
                continue
            if solid[place] and not before.isspace():
                spaced = not solid[place - 1]
                if spaced != space_expected(before, piece):
                    words.append(EXTRA if spaced else units.JOINT)
            words.append(piece)
            before = piece
        return words

    return words_of


def joined(words: Sequence[str]) -> str:
    """The text that a function of :func:`chinese_words_apart` has cut."""
    text, before, mark = "", " ", ""
    for word in words:
        if word in (units.JOINT, EXTRA):
            mark = word
            continue
        if not (before.isspace() or word.isspace()):
            text += " " if mark == EXTRA or (not mark and space_expected(before, word)) else ""
        text += word
        before, mark = word, ""
    return text


def unit_of(language: str, unit: str, training: Sequence[str]) -> Any:
    """The unit of one language, learned on its training pages."""
    if language == "zh" and unit in ("words", LONGEST_MATCH):
        method = "unigram" if unit == "words" else "longest match"
        return units.word_unit(training, partial(chinese_words, method))
    if language == "zh" and unit == APART:
        return units.word_unit(training, chinese_words_apart)
    return units.unigram_unit(training, 4000) if unit == PIECES else units.UNITS[unit](training)


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


def too_long(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """Of the words found that are not right, the share that are several of the annotators' words in a row."""
    wrong = whole = 0
    for a, b in zip(found, right, strict=True):
        borders = {end for span in spans(b) for end in span}
        for start, end in spans(a) - spans(b):
            wrong += 1
            whole += start in borders and end in borders
    return whole / wrong if wrong else 0.0


def completed(words: Mapping[str, int], sentences: Sequence[Sequence[str]], count: float) -> dict[str, float]:
    """A dictionary with the words of sentences that it does not have, each with the same count."""
    return {word: count for sentence in sentences for word in sentence} | dict(words)


def by_unigram(sentences: Sequence[Sequence[str]], words: Mapping[str, float]) -> list[list[str]]:
    """The sentences cut by the unigram model of a dictionary."""
    model = log_probabilities(words)
    return [unigram.best_split("".join(sentence), model, longest=LONGEST) for sentence in sentences]


def counted(test: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The unigram model with the large dictionary, completed by the test words with each of :data:`COUNTS`."""
    found = [by_unigram(test, completed(dictionary(), test, count)) for count in COUNTS]
    return {"counts": COUNTS, "f1_by_count": [f1(sentences, test) for sentences in found]}


def segmentation(method: str, seed: int) -> dict[str, Any]:
    """Cut 200 sentences into words with what 800 others say about them."""
    sentences = segmented_sentences("train") + segmented_sentences("validation")
    sentences = random.Random(seed).sample(sentences, len(sentences))
    training, test = sentences[:800], sentences[800:]
    if method.endswith(COUNTED):
        return counted(test)
    words = Counter(word for sentence in training for word in sentence)
    if method.endswith((LARGE, BOTH)):
        words = Counter(dictionary())
    if method.endswith((COMPLETE, BOTH)):
        words.update({word: 0 for sentence in test for word in sentence})
    match method.split(" with ")[0]:
        case "characters":
            found = [list("".join(sentence)) for sentence in test]
        case "longest match":
            found = [longest_match("".join(sentence), words) for sentence in test]
        case "unigram":
            found = by_unigram(test, words)
        case "unigram pieces":  # learned from the text alone, without the annotators' words
            model = unigram.train_pieces(Counter("".join(s) for s in training), len(words), num_candidates=12_000)
            found = [unigram.best_split("".join(sentence), model) for sentence in test]
        case _:
            raise ValueError(f"unknown method {method!r}")
    unknown = sum(word not in words for sentence in test for word in sentence) / sum(map(len, test))
    return {"f1": f1(found, test), "unknown": unknown, "words": len(words), "too_long": too_long(found, test)}


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One unit in one language, one source of merges, or one way to find words."""
    if variant.startswith("words by "):
        return segmentation(variant.removeprefix("words by "), seed)
    pages = pages_of(seed)
    if variant.startswith("zh by "):
        both = pages["en"][0] + pages["zh"][0]
        tokenizer = train_bpe(both if variant == "zh by both" else pages["en"][0], vocab_size=4000)
        tokens = {language: sum(map(len, tokenizer.encode_all(pages[language][2]))) for language in LANGUAGES}
        return {"zh_tokens": tokens["zh"], "en_tokens": tokens["en"], "ratio": tokens["zh"] / tokens["en"]}
    language, unit = variant.split(": ")
    training, validation, test = pages[language]
    result = units.measure(unit_of(language, unit, training), training, validation, test)
    return {**result, "characters": sum(map(len, test)), "bytes": units.num_bytes(test)}

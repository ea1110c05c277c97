"""What a unit of text costs, how units compare in bits per byte, and what a vocabulary built on test texts hides.

The texts are Python's documentation, whole pages. A seed stands for a split of the pages into training, validation and
test texts. Every unit builds its vocabulary on the training texts. Its ids are then predicted by the same kind of
model, an n-gram model with Kneser-Ney smoothing, of orders 1 to 8 (as far as its n-grams fit into 63 bits); the order
to report is chosen on the validation texts.

Criterion: a unit is better than another if its bits per byte on the test texts are lower for every seed, paired.
Units that lose text (words and WordPiece drop spaces, words have unknowns) are reported and marked, but not ranked.
"""

from __future__ import annotations

import lzma
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from plm_core.data import bpe, unigram
from plm_core.data.corpora import python_documentation
from plm_core.data.tokenizer_training import train_bpe, train_characters, train_wordpiece, train_words
from plm_core.data.tokenizers import Tokenizer
from plm_core.models.ngram import KneserNey

ORDERS = [1, 2, 3, 4, 5, 6, 7, 8]


@dataclass(frozen=True)
class Unit:
    """A way to turn texts into ids: the size of its vocabulary, the id of unknowns, and a function of a text."""

    vocab_size: int
    unknown: int
    encode: Callable[[str], list[int]]


def unit_of(tokenizer: Tokenizer) -> Unit:
    """A tokenizer as a unit."""
    return Unit(len(tokenizer), tokenizer.unk_id, tokenizer.encode)


def unigram_unit(texts: Sequence[str], vocab_size: int) -> Unit:
    """Pieces of the unigram model, learned on texts that are split into words as for BPE; id 0 is an unknown character.

    The candidates are twice as many as the pieces that remain, to save time; Kudo starts from more.
    """
    counts = Counter(word for text in texts for word in bpe.split_words(text))
    model = unigram.train_pieces(counts, vocab_size, num_candidates=2 * vocab_size)
    ids = {piece: number for number, piece in enumerate(model, start=1)}
    longest = max(map(len, model))
    known: dict[str, list[int]] = {}

    def encode(text: str) -> list[int]:
        for word in set(bpe.split_words(text)) - set(known):
            known[word] = [ids.get(piece, 0) for piece in unigram.best_split(word, model, longest=longest)]
        return [piece for word in bpe.split_words(text) for piece in known[word]]

    return Unit(len(ids) + 1, 0, encode)


UNITS: dict[str, Callable[[Sequence[str]], Unit]] = {
    "characters": lambda texts: unit_of(train_characters(texts)),
    "BPE 300": lambda texts: unit_of(train_bpe(texts, vocab_size=300)),
    "BPE 500": lambda texts: unit_of(train_bpe(texts, vocab_size=500)),
    "BPE 1000": lambda texts: unit_of(train_bpe(texts, vocab_size=1000)),
    "BPE 2000": lambda texts: unit_of(train_bpe(texts, vocab_size=2000)),
    "BPE 4000": lambda texts: unit_of(train_bpe(texts, vocab_size=4000)),
    "unigram 1000": partial(unigram_unit, vocab_size=1000),
    "WordPiece 4000": lambda texts: unit_of(train_wordpiece(texts, vocab_size=4000, lowercase=False)),
    "words": lambda texts: unit_of(train_words(texts)),
}
LOSSLESS = [name for name in UNITS if name not in ("WordPiece 4000", "words")]
HONEST, LEAKY = "vocabulary from the training texts", "vocabulary from training and test texts"
VARIANTS = [*UNITS, "xz", HONEST, LEAKY]
SEEDS = [0, 1, 2, 3, 4]


def split(texts: Sequence[str], seed: int) -> tuple[list[str], list[str], list[str]]:
    """Three parts of about 60, 20 and 20 % of the documents."""
    texts = random.Random(seed).sample(list(texts), len(texts))
    first, second = len(texts) * 6 // 10, len(texts) * 8 // 10
    return texts[:first], texts[first:second], texts[second:]


def num_bytes(texts: Sequence[str]) -> int:
    """The length of texts in UTF-8."""
    return sum(len(text.encode()) for text in texts)


def measure(unit: Unit, training: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    """Length, unknowns, and the loss of n-gram models over a unit's ids, per token and per byte."""
    parts = [[unit.encode(text) for text in texts] for texts in (training, validation, test)]
    tokens = sum(map(len, parts[2]))
    bits: list[list[float]] = [[], []]
    for order in ORDERS:
        if (unit.vocab_size + 1) ** order < 2**63:
            model = KneserNey(unit.vocab_size, order=order).fit(parts[0])
            for row, ids in zip(bits, parts[1:], strict=True):
                row.append(float(sum(model.nats(document).sum() for document in ids)) / math.log(2))
    best = min(range(len(bits[0])), key=lambda place: bits[0][place])
    unknown = sum(ids.count(unit.unknown) for ids in parts[2])
    return {
        "vocab_size": unit.vocab_size,
        "tokens": tokens,
        "characters_per_token": sum(map(len, test)) / tokens,
        "unknown": unknown / tokens,
        "order": ORDERS[best],
        "bits": bits[1][best],
        "perplexity": 2 ** (bits[1][best] / tokens),
        "bits_per_byte": bits[1][best] / num_bytes(test),
        "bits_per_byte_by_order": [value / num_bytes(test) for value in bits[1]],
    }


def spelled_bits(unit: Unit, tokenizer: Tokenizer, training: Sequence[str], test: Sequence[str]) -> float:
    """Bits that it takes to spell the unknown words of the test texts, by a model of the letters of training words."""
    splitter = tokenizer.backend.pre_tokenizer
    normalise = tokenizer.backend.normalizer.normalize_str

    def words_of(texts: Sequence[str]) -> list[str]:
        return [word for text in texts for word, _ in splitter.pre_tokenize_str(normalise(text))]

    known = set(words_of(training))
    letters = {letter: number for number, letter in enumerate(sorted(set("".join(known))), start=2)}

    def spelled(word: str) -> list[int]:
        return [*(letters.get(letter, 1) for letter in word), 0]

    model = KneserNey(len(letters) + 2, order=5).fit([spelled(word) for word in sorted(known)])
    missing = [word for word in words_of(test) if word not in known]
    return float(sum(model.nats(spelled(word)).sum() for word in missing)) / math.log(2)


def compressed_bits(training: Sequence[str], test: Sequence[str]) -> int:
    """What the test texts add, in bits, to the training texts compressed by xz: a baseline that knows no tokens."""
    before, after = (
        len(lzma.compress("\n".join(texts).encode(), preset=9)) for texts in (training, [*training, *test])
    )
    return 8 * (after - before)


def unknown_share(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """The share of tokens that are [UNK]."""
    tokens = [token for ids in tokenizer.encode_all(texts) for token in ids]
    return tokens.count(tokenizer.unk_id) / len(tokens)


def untrained_share(tokenizer: Tokenizer, training: Sequence[str], texts: Sequence[str]) -> float:
    """The share of tokens whose id never occurs in the training texts: a model has learned nothing about them."""
    trained = {token for ids in tokenizer.encode_all(training) for token in ids}
    tokens = [token for ids in tokenizer.encode_all(texts) for token in ids]
    return sum(token not in trained for token in tokens) / len(tokens)


def leak(variant: str, training: list[str], test: list[str], fresh: list[str]) -> dict[str, float]:
    """Unknown and untrained tokens in test texts, and in fresh ones that neither vocabulary has seen.

    A word is in the vocabulary if it occurs at least twice, so [UNK] itself occurs in the training texts.
    """
    seen = training + test if variant == LEAKY else training
    words, pieces = train_words(seen, min_frequency=2), train_bpe(seen, vocab_size=4000)

    def carries(texts: Sequence[str]) -> float:
        return sum(map(len, texts)) / sum(map(len, pieces.encode_all(texts)))

    return {
        "unknown_training": unknown_share(words, training),
        "unknown_test": unknown_share(words, test),
        "unknown_fresh": unknown_share(words, fresh),
        "untrained_test": untrained_share(words, training, test),
        "untrained_fresh": untrained_share(words, training, fresh),
        "characters_per_token_test": carries(test),
        "characters_per_token_fresh": carries(fresh),
    }


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Split the texts, build the vocabulary, and look at texts that it has not seen, or has."""
    training, validation, test = split([document.text for document in python_documentation()], seed)
    if variant in (HONEST, LEAKY):
        return leak(variant, training, validation, test)
    if variant == "xz":
        return {"bits_per_byte": compressed_bits(training, test) / num_bytes(test)}
    unit = UNITS[variant](training)
    result = measure(unit, training, validation, test)
    if variant == "words":
        spelled = spelled_bits(unit, train_words(training), training, test)
        result["bits_per_byte_spelled"] = (result["bits"] + spelled) / num_bytes(test)
    return result

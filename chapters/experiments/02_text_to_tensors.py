"""What a unit of text costs, how units compare in bits per byte, and what a vocabulary built on test texts hides.

The texts are Python's documentation, whole pages. A seed stands for a split of the pages into training, validation and
test texts. Every unit builds its vocabulary on the training texts. Its ids are then predicted by the same kind of
model, an n-gram model with Kneser-Ney smoothing. Its order is raised, along :data:`ORDERS`, until the bits on the
validation texts fall by less than :data:`FLAT`; the order to report is the one with the fewest bits on those texts.

What a unit cannot write is charged for. A word that occurs only once in the training texts, or never, is [UNK] and is
spelled by a second n-gram model, of letters, that has learned from the [UNK] words of the training texts; its order is
chosen in the same way. A character that occurs only once, or never, is written as one sign for all of them, at a price
of 8 bits for each of its bytes.

Words differ in two things, and all four combinations are measured. Spaces: the space before a word belongs to the
word, as in BPE, or it stands "apart": a single space between two words goes without saying, and a sign of its own
stands where there is none. Borders: a word is a run of letters, of digits or of signs, as for GPT-2 and for BPE here
(:data:`GPT2`), or a run of letters, digits and underscores, or one sign (:data:`PLAIN`). In "words" the space belongs
to the word and the borders are those of GPT-2; "words, spaces apart" has neither. The two arms between them were added
when the results of the others were known. Nothing is lost.

Criterion: a unit is better than another if its bits per byte on the test texts are lower for every seed, paired.
WordPiece, which drops spaces and does not spell its unknown words, is reported and marked, but not ranked.
"""

from __future__ import annotations

import lzma
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from plm_core.data import bpe, unigram
from plm_core.data.corpora import python_documentation
from plm_core.data.tokenizer_training import train_bpe, train_characters, train_wordpiece, train_words
from plm_core.data.tokenizers import Tokenizer
from plm_core.models.ngram import KneserNey

ORDERS = [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32]
FLAT = 0.001
"""The order is not raised further where the last step saved less than this share of the bits."""
UNSEEN = "\ufffd"
"""Stands for each character that the training texts do not have twice."""
JOINT = "\u2040"
"""Stands between two words that no space separates."""
GPT2 = r"(?<!\s)'(?:[sdmt]|ll|ve|re)|[^\W\d_]+|\d+|(?:[^\w\s]|_)+|\s"
"""The borders of GPT-2's words, without their spaces: endings such as 's, runs of letters, of digits, of signs."""
PLAIN = r"\w+|\W"
"""Runs of letters, digits and underscores, and single signs."""


@dataclass(frozen=True)
class Unit:
    """A way to turn texts into ids.

    Attributes:
        vocab_size: the number of ids.
        unknown: the id of unknowns.
        encode: gives the ids of a text.
        alphabet: the characters that it can write; None for all.
        num_letters: the number of ids that ``spell`` uses.
        spell: gives the letters of those words of a text that ``encode`` calls unknown; None if it spells none.
    """

    vocab_size: int
    unknown: int
    encode: Callable[[str], list[int]]
    alphabet: frozenset[str] | None = None
    num_letters: int = 0
    spell: Callable[[str], list[tuple[int, ...]]] | None = None

    def read(self, texts: Sequence[str]) -> list[str]:
        """The texts with :data:`UNSEEN` for each character outside the alphabet."""
        return [written(text, self.alphabet) for text in texts] if self.alphabet else list(texts)

    def unseen_bits(self, texts: Sequence[str]) -> int:
        """The price of the characters outside the alphabet."""
        missing = [character for text in texts for character in text if character not in (self.alphabet or text)]
        return 8 * num_bytes(missing)


def alphabet_of(texts: Iterable[str]) -> frozenset[str]:
    """The characters that occur at least twice."""
    return frozenset(character for character, count in Counter("".join(texts)).items() if count > 1)


def written(text: str, alphabet: frozenset[str]) -> str:
    """A text with :data:`UNSEEN` for each character outside an alphabet."""
    return "".join(character if character in alphabet else UNSEEN for character in text)


def unit_of(tokenizer: Tokenizer) -> Unit:
    """A tokenizer as a unit."""
    return Unit(len(tokenizer), tokenizer.unk_id, tokenizer.encode)


def character_unit(texts: Sequence[str]) -> Unit:
    """Single characters."""
    alphabet = alphabet_of(texts)
    tokenizer = train_characters(written(text, alphabet) for text in texts)
    unknown = tokenizer.backend.token_to_id(UNSEEN) or tokenizer.unk_id
    return Unit(len(tokenizer), unknown, tokenizer.encode, alphabet)


def unigram_unit(texts: Sequence[str], vocab_size: int) -> Unit:
    """Pieces of the unigram model, learned on texts that are split into words as for BPE.

    The candidates are twice as many as the pieces that remain, to save time; Kudo starts from more.
    """
    alphabet = alphabet_of(texts)
    counts = Counter(word for text in texts for word in bpe.split_words(written(text, alphabet)))
    model = unigram.train_pieces(counts, vocab_size, num_candidates=2 * vocab_size)
    ids = {piece: number for number, piece in enumerate(model, start=1)}
    longest = max(map(len, model))
    known: dict[str, list[int]] = {}

    def encode(text: str) -> list[int]:
        for word in set(bpe.split_words(text)) - set(known):
            known[word] = [ids.get(piece, 0) for piece in unigram.best_split(word, model, longest=longest)]
        return [piece for word in bpe.split_words(text) for piece in known[word]]

    return Unit(len(ids) + 1, ids.get(UNSEEN, 0), encode, alphabet)


def words_attached(text: str) -> list[str]:
    """Words with the borders of :data:`PLAIN` and the space before them, as in BPE."""
    return re.findall(r" ?\w+| ?[^\w\s]|\s", text)


def words_apart(text: str, borders: str = PLAIN) -> list[str]:
    """Words without spaces; :data:`JOINT` stands between two of them that have no space between them.

    A single space between two words is left out; all other white space is kept, character by character.

    Args:
        text: any text.
        borders: the pattern of a word, of a sign and of one character of white space.
    """
    pieces = re.findall(borders, text)
    solid = [False, *(not piece.isspace() for piece in pieces), False]
    words = []
    for place, piece in enumerate(pieces, start=1):
        if piece == " " and solid[place - 1] and solid[place + 1]:
            continue
        words += [JOINT, piece] if solid[place] and solid[place - 1] else [piece]
    return words


def joined(words: Sequence[str]) -> str:
    """The text that :func:`words_apart` has cut."""
    text = ""
    last = JOINT
    for word in words:
        text += " " if JOINT not in (last, word) and not (last.isspace() or word.isspace()) else ""
        text += "" if word == JOINT else word
        last = word
    return text


def word_unit(
    texts: Sequence[str], split: Callable[[frozenset[str]], Callable[[str], list[str]]] = lambda _: bpe.split_words
) -> Unit:
    """Words that occur at least twice; the others are [UNK], which is id 0, and are spelled.

    Args:
        texts: the training texts.
        split: makes, for an alphabet, a function that cuts a text into words and loses nothing.
    """
    alphabet = alphabet_of(texts)
    words_of = cache(split(alphabet))
    counts = Counter(word for text in texts for word in words_of(written(text, alphabet)))
    ids = {word: number for number, word in enumerate(sorted(w for w, n in counts.items() if n > 1), start=1)}
    letters = {letter: number for number, letter in enumerate(sorted(alphabet | {UNSEEN}), start=1)}

    def encode(text: str) -> list[int]:
        return [ids.get(word, 0) for word in words_of(text)]

    def spell(text: str) -> list[tuple[int, ...]]:  # 0 ends a word
        return [(*(letters[letter] for letter in word), 0) for word in words_of(text) if word not in ids]

    return Unit(len(ids) + 1, 0, encode, alphabet, len(letters) + 1, spell)


UNITS: dict[str, Callable[[Sequence[str]], Unit]] = {
    "characters": character_unit,
    "BPE 300": lambda texts: unit_of(train_bpe(texts, vocab_size=300)),
    "BPE 1000": lambda texts: unit_of(train_bpe(texts, vocab_size=1000)),
    "BPE 2000": lambda texts: unit_of(train_bpe(texts, vocab_size=2000)),
    "BPE 4000": lambda texts: unit_of(train_bpe(texts, vocab_size=4000)),
    "unigram 1000": partial(unigram_unit, vocab_size=1000),
    "WordPiece 4000": lambda texts: unit_of(train_wordpiece(texts, vocab_size=4000, lowercase=False)),
    "words": word_unit,
    "words, spaces apart": partial(word_unit, split=lambda _: words_apart),
    "words, GPT-2 borders, spaces apart": partial(word_unit, split=lambda _: partial(words_apart, borders=GPT2)),
    "words, plain borders": partial(word_unit, split=lambda _: words_attached),
}
LOSSLESS = [name for name in UNITS if name != "WordPiece 4000"]
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


def sweep(vocab_size: int, parts: Sequence[Sequence[Sequence[int]]]) -> list[tuple[int, float, float]]:
    """Orders of n-gram models with their bits on the validation and the test documents.

    Args:
        vocab_size: the number of ids.
        parts: the ids of the training, the validation and the test documents.
    """
    rows: list[tuple[int, float, float]] = []
    for order in ORDERS:
        model = KneserNey(vocab_size, order=order).fit(parts[0])
        low, test = (
            float(sum(count * model.nats(ids).sum() for ids, count in Counter(map(tuple, part)).items())) / math.log(2)
            for part in parts[1:]
        )  # words to be spelled recur: each is scored once
        rows.append((order, low, test))
        if len(rows) > 1 and low > (1 - FLAT) * rows[-2][1]:
            break
    return rows


def measure(unit: Unit, training: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    """Length, unknowns, and the loss of n-gram models over a unit's ids, per token and per byte."""
    texts = [unit.read(part) for part in (training, validation, test)]
    parts = [[unit.encode(text) for text in part] for part in texts]
    tokens = sum(map(len, parts[2]))
    rows = sweep(unit.vocab_size, parts)
    order, _, bits = min(rows, key=lambda row: row[1])
    spelling: dict[str, Any] = {}
    extra = float(unit.unseen_bits(test))
    if unit.spell:
        letters = [[word for text in part for word in unit.spell(text)] for part in texts]
        spelling_order, _, spelled = min(sweep(unit.num_letters, letters), key=lambda row: row[1])
        extra += spelled
        spelling = {"spelling_order": spelling_order}
    return {
        "vocab_size": unit.vocab_size,
        "tokens": tokens,
        "characters_per_token": sum(map(len, test)) / tokens,
        "unknown": sum(ids.count(unit.unknown) for ids in parts[2]) / tokens,
        "unknown_training": sum(ids.count(unit.unknown) for ids in parts[0]) / sum(map(len, parts[0])),
        "order": order,
        "bits": bits + extra,
        "perplexity": 2 ** (bits / tokens),
        "bits_per_byte": (bits + extra) / num_bytes(test),
        "bits_per_byte_of_unknowns": extra / num_bytes(test),
        "orders": [row[0] for row in rows],
        "bits_per_byte_by_order": [(row[2] + extra) / num_bytes(test) for row in rows],
        **spelling,
    }


def compressed_bits(training: Sequence[str], test: Sequence[str]) -> int:
    """What the test texts add, in bits, to the training texts compressed by xz: a baseline that knows no tokens.

    Each test text stands alone behind the training texts, so that xz, like the other models, sees no other test text.
    """
    before, *after = (
        len(lzma.compress("\n".join([*training, *texts]).encode(), preset=9))
        for texts in ([], *([text] for text in test))
    )
    return 8 * sum(size - before for size in after)


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
    return measure(UNITS[variant](training), training, validation, test)

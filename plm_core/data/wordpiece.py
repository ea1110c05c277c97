"""WordPiece in plain Python: the algorithm of the ``tokenizers`` library, written out.

Chapter 02 builds and shows these functions; tests compare them with the library. For real work use
:mod:`plm_core.data.tokenizers`, which is much faster.

Source: Schuster and Nakajima (2012) for the idea; Devlin et al. (2019) for the splitting into words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import pairwise
from string import punctuation
from unicodedata import category

Pair = tuple[str, str]

MAX_LETTERS = 100
"""A longer word is unknown: it is seldom a word, and matching costs time that grows with the square of its length."""

CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
"""The blocks of Chinese characters, from and to; Japanese kana and Korean hangul have spaces or are left whole.
The last block but two begins at U+2B820 in Unicode; the library has the start as it is here."""


def split_words(text: str, *, lowercase: bool = True) -> list[str]:
    """Cut a text at white space, around each punctuation mark, each Chinese character and each line end.

    Control characters are dropped. How much space was around a word is lost; a line end, which BERT drops as white
    space, is kept here as a word, ``"\\n"``.
    """
    words: list[str] = []
    word = ""
    for character in text.replace("\r\n", "\n").replace("\r", "\n"):
        if is_control(character):
            continue
        if character == "\n":
            words += [word, character]
            word = ""
        elif is_space(character):
            words.append(word)
            word = ""
        elif is_chinese(character) or is_punctuation(character):
            words += [word, character]
            word = ""
        else:
            word += character.lower() if lowercase else character
    return [word for word in [*words, word] if word]


def is_space(character: str) -> bool:
    """White space of any width, and line breaks."""
    return character.isspace()


def is_control(character: str) -> bool:
    """A character that shows nothing: control and format characters, private ones and the replacement character."""
    return (category(character) in ("Cc", "Cf", "Co") and character not in "\t\n\r") or character == "\ufffd"


def is_punctuation(character: str) -> bool:
    """A punctuation mark; of ASCII also ``$+<=>^`|~``, which Unicode counts as symbols."""
    return character in punctuation or category(character).startswith("P")


def is_chinese(character: str) -> bool:
    """A Chinese character, which is a word of its own here, as Chinese has no spaces."""
    return any(first <= ord(character) <= last for first, last in CHINESE)


def longest_match(word: str, vocabulary: Container[str], *, unknown: str = "[UNK]") -> list[str]:
    """Cut a word into the longest known pieces, from left to right; pieces inside the word begin with ``##``.

    Returns:
        The pieces, or ``[unknown]`` for the whole word where some part of it has no piece.
    """
    if len(word) > MAX_LETTERS:
        return [unknown]
    pieces = []
    start = 0
    while start < len(word):
        end = len(word)
        prefix = "##" if start else ""
        while end > start and prefix + word[start:end] not in vocabulary:
            end -= 1
        if end == start:
            return [unknown]
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def encode_tokens(text: str, vocabulary: Container[str], *, lowercase: bool = True) -> Iterator[str]:
    """Tokens of a text."""
    for word in split_words(text, lowercase=lowercase):
        yield from longest_match(word, vocabulary)


def encode(text: str, vocabulary: Mapping[str, int], *, lowercase: bool = True) -> list[int]:
    """Token ids of a text."""
    return [vocabulary[token] for token in encode_tokens(text, vocabulary, lowercase=lowercase)]


def to_pieces(word: str) -> list[str]:
    """The letters of a word as the first pieces: all but the first marked by ``##``."""
    return [word[0], *("##" + letter for letter in word[1:])]


def likelihood_gain(pair: int, first: int, second: int, total: int, *, same: bool = False) -> float:
    """How much joining a pair raises the log likelihood of the training text, in nats.

    The likelihood is that of a unigram model, in which each piece has its share of the text as its probability. With
    ``f(n) = n log n`` it is the sum of f over the counts of all pieces, minus f of their total; joining changes three
    counts and the total.

    Args:
        pair, first, second: how often the pair and each of its pieces occur.
        total: the number of pieces in the text.
        same: the two pieces are equal, so that each join takes away two of them.

    Source: Schuster and Nakajima (2012) add the unit that raises most the likelihood that a language model over the
    units gives to the training text; the unigram model is the simplest such model.
    """

    def f(n: int) -> float:
        return n * math.log(n) if n > 0 else 0.0

    before = f(first) if same else f(first) + f(second)
    after = f(first - 2 * pair) if same else f(first - pair) + f(second - pair)
    return f(pair) + after - before - f(total - pair) + f(total)


def association(pair: int, first: int, second: int, total: int, *, same: bool = False) -> float:
    """The ratio ``count(ab) / (count(a) * count(b))``, with which WordPiece is often described.

    It measures how much more often two pieces meet than they would by chance, whether that is often or seldom. The
    arguments are those of :func:`likelihood_gain`; the last two are not used.

    Source: Hugging Face's course (2022), chapter 6, which calls it a guess at what Google's trainer does.
    """
    return pair / (first * second)


def train_pieces(
    word_counts: Mapping[str, int],
    num_merges: int,
    *,
    score: Callable[..., float] = likelihood_gain,
    min_frequency: int = 2,
) -> list[str]:
    """Learn pieces by joining, again and again, the pair with the highest score.

    Of equal pairs the alphabetically first is joined.

    Args:
        word_counts: how often each word occurs.
        num_merges: the most pieces to learn besides the letters.
        score: :func:`likelihood_gain` or :func:`association`.
        min_frequency: pairs rarer than this are not joined, as their ratios are mostly noise.

    Returns:
        The new pieces in the order in which they were learned.
    """
    words = {word: to_pieces(word) for word in word_counts}
    learned: list[str] = []
    while len(learned) < num_merges:
        single, double = count_pieces(words, word_counts)
        total = single.total()
        scores = {
            (a, b): score(count, single[a], single[b], total, same=a == b)
            for (a, b), count in double.items()
            if count >= min_frequency
        }
        if not scores:
            break
        best = min(scores, key=lambda pair: (-scores[pair], pair))
        learned.append(glue_pieces(best))
        words = {word: join_pair(pieces, best) for word, pieces in words.items()}
    return learned


def count_pieces(
    words: Mapping[str, Sequence[str]], word_counts: Mapping[str, int]
) -> tuple[Counter[str], Counter[Pair]]:
    """How often each piece, and each two pieces side by side, occur.

    Args:
        words: the pieces of each word.
        word_counts: how often each word occurs.
    """
    single: Counter[str] = Counter()
    double: Counter[Pair] = Counter()
    for word, pieces in words.items():
        for piece in pieces:
            single[piece] += word_counts[word]
        for pair in pairwise(pieces):
            double[pair] += word_counts[word]
    return single, double


def glue_pieces(pieces: Sequence[str]) -> str:
    """Join neighbouring pieces to one; the inner ``##`` disappear."""
    return pieces[0] + "".join(piece.removeprefix("##") for piece in pieces[1:])


def join_pair(pieces: Sequence[str], pair: Pair) -> list[str]:
    """Replace every occurrence of the pair by one piece, from left to right."""
    joined: list[str] = []
    position = 0
    while position < len(pieces):
        if tuple(pieces[position : position + 2]) == pair:
            joined.append(glue_pieces(pair))
            position += 2
        else:
            joined.append(pieces[position])
            position += 1
    return joined

"""Byte-level byte-pair encoding in plain Python: the algorithm of the ``tokenizers`` library, written out.

Chapter 02 builds and shows these functions; tests compare them with the library. For real work use
:mod:`plm_core.data.tokenizers`, which is much faster.

Source: Sennrich et al. (2016), algorithm 1; on bytes and with this splitting into words: Radford et al. (2019).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from unicodedata import category

Pair = tuple[str, str]

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def split_words(text: str) -> list[str]:
    """Cut a text into words, numbers, runs of punctuation and runs of white space; nothing is lost.

    One space before a word belongs to the word, so that joining the pieces gives the text back.
    """
    pieces = []
    start = 0
    while start < len(text):
        end = _word_end(text, start)
        pieces.append(text[start:end])
        start = end
    return pieces


def _word_end(text: str, start: int) -> int:
    """The position at which the piece that begins at ``start`` ends."""
    for contraction in CONTRACTIONS:
        if text.startswith(contraction, start):
            return start + len(contraction)
    first = start + 1 if text[start] == " " and start + 1 < len(text) else start
    kind = _kind(text[first])
    if kind == "space":
        first = start
    end = first + 1
    while end < len(text) and _kind(text[end]) == kind:
        end += 1
    if kind == "space" and end < len(text) and end - start > 1:
        end -= 1  # the last space goes to the word that follows
    return end


def _kind(character: str) -> str:
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f":  # Python's white space has four more than Unicode's
        return "space"
    return {"L": "letter", "N": "number"}.get(category(character)[0], "other")


def byte_letters() -> dict[int, str]:
    """A visible character for each of the 256 bytes: itself where it has one, else one from U+0100 on.

    A vocabulary can then be stored as text. The space becomes ``Ġ``, the line break ``Ċ``.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in visible}
    hidden = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


LETTERS = byte_letters()
BYTES = {letter: byte for byte, letter in LETTERS.items()}


def to_letters(word: str) -> list[str]:
    """The UTF-8 bytes of a word, one visible character each."""
    return [LETTERS[byte] for byte in word.encode("utf-8")]


def train_merges(word_counts: Mapping[str, int], num_merges: int, *, min_frequency: int = 2) -> list[Pair]:
    """Learn which symbols to join: again and again the pair that stands side by side most often.

    Of pairs equally frequent, the one whose symbols are older comes first.

    Args:
        word_counts: how often each word occurs; pairs never cross the border of a word.
        num_merges: the most merges to learn.
        min_frequency: stop at pairs rarer than this.

    Returns:
        The pairs in the order in which they were joined.
    """
    words = {word: to_letters(word) for word in word_counts}
    age = {letter: index for index, letter in enumerate(sorted(BYTES))}
    merges: list[Pair] = []
    while len(merges) < num_merges:
        pair_counts = count_pairs(words, word_counts)
        if not pair_counts:
            break
        pair = min(pair_counts, key=lambda p: (-pair_counts[p], age[p[0]], age[p[1]]))
        if pair_counts[pair] < min_frequency:
            break
        merges.append(pair)
        age.setdefault(pair[0] + pair[1], len(age))
        words = {word: join_pair(symbols, pair) for word, symbols in words.items()}
    return merges


def count_pairs(words: Mapping[str, Sequence[str]], word_counts: Mapping[str, int]) -> Counter[Pair]:
    """How often each two symbols stand side by side, over all words."""
    pair_counts: Counter[Pair] = Counter()
    for word, symbols in words.items():
        for pair in pairwise(symbols):
            pair_counts[pair] += word_counts[word]
    return pair_counts


def join_pair(symbols: Sequence[str], pair: Pair) -> list[str]:
    """Replace every occurrence of the pair by one symbol, from left to right."""
    joined: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            joined.append(pair[0] + pair[1])
            position += 2
        else:
            joined.append(symbols[position])
            position += 1
    return joined


def apply_merges(symbols: Sequence[str], ranks: Mapping[Pair, int]) -> list[str]:
    """Encode one word: join the pair that was learned first, wherever it stands, until no known pair is left.

    Args:
        symbols: the word's letters.
        ranks: the place of each pair in the list of merges.
    """
    symbols = list(symbols)
    while len(symbols) > 1:
        rank, position = min((ranks.get(pair, len(ranks)), position) for position, pair in enumerate(pairwise(symbols)))
        if rank == len(ranks):
            break
        symbols[position : position + 2] = [symbols[position] + symbols[position + 1]]
    return symbols


def encode(text: str, vocabulary: Mapping[str, int], merges: Sequence[Pair]) -> list[int]:
    """Token ids of a text."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    return [vocabulary[token] for token in encode_tokens(text, ranks)]


def encode_tokens(text: str, ranks: Mapping[Pair, int]) -> Iterator[str]:
    """Tokens of a text, in visible letters."""
    for word in split_words(text):
        yield from apply_merges(to_letters(word), ranks)


def decode(tokens: Sequence[str]) -> str:
    """The text of tokens in visible letters; bytes that are no character become U+FFFD."""
    return bytes(BYTES[letter] for token in tokens for letter in token).decode("utf-8", errors="replace")

"""Cutting a long text into pieces of bounded length: the one rule by which this library cuts text.

A piece ends before white space that follows another character: a line end if there is one in its second half, else a
space. No tokenizer of :mod:`plm_core.data.tokenizer_training` makes a token across such a border, so the tokens of the
pieces, one after another, are the tokens of the text. Where a text has no white space for long (text8's one line has
spaces, Chinese and DNA have none), the piece ends at the bounded length, never inside what people see as one character.
The pieces follow from the text and the bound alone, not from the blocks in which the text was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from unicodedata import category

PIECE_CHARACTERS = 2**16
"""The most characters of a piece, unless the caller gives another bound."""
MAX_RUN = 256
"""Longer stretches without white space are cut before a tokenizer is trained on them: the time that training takes
grows with the square of a word's length."""
_LONG_RUN = re.compile(rf"\S{{{MAX_RUN + 1}}}")
_MOST_MARKS = 32
"""How far back a border is moved in search of one that splits no character."""
_JOINER = "\u200d"


def cut(blocks: Iterable[str], *, characters: int = PIECE_CHARACTERS) -> Iterator[str]:
    """Cut a text into pieces of at most ``characters`` characters.

    Args:
        blocks: the text in parts of any size.
        characters: the bound, at least 2.

    >>> list(cut(["one two thr", "ee"], characters=8))
    ['one two', ' three']
    """
    assert characters >= 2
    rest = ""
    for block in blocks:
        rest += block
        start = 0
        while len(rest) - start > characters:
            end = border(rest, start, characters)
            yield rest[start:end]
            start = end
        rest = rest[start:]
    if rest:
        yield rest


def border(text: str, start: int, characters: int) -> int:
    """The end of the piece that begins at ``start``, at most ``characters`` later; the text continues after it."""
    last = start + characters
    for white_space in ("\n", " "):
        place = text.rfind(white_space, start + (characters + 1) // 2, last + 1)
        while place > start:
            if not text[place - 1].isspace():
                return place
            place = text.rfind(white_space, start + (characters + 1) // 2, place)
    for place in range(last, max(start, last - _MOST_MARKS), -1):
        if _begins_character(text, place):
            return place
    return last


def _begins_character(text: str, place: int) -> bool:
    """Whether a character, as people see it, begins there: no accent, variant or part of a joined sign."""
    character = text[place]
    if character.isascii():
        return True
    number = ord(character)
    joined = character == _JOINER or text[place - 1] == _JOINER
    follows = 0x1160 <= number <= 0x11FF or 0xD7B0 <= number <= 0xD7FF or 0x1F3FB <= number <= 0x1F3FF
    return not (joined or follows or category(character).startswith("M"))


def without_long_runs(texts: Iterable[str]) -> Iterator[str]:
    """Texts for the training of a tokenizer: those with a very long stretch without white space come in pieces."""
    for text in texts:
        if _LONG_RUN.search(text):
            yield from cut([text], characters=MAX_RUN)
        else:
            yield text

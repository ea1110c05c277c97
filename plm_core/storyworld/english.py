"""English words to text, and back."""

from __future__ import annotations

import re
from collections.abc import Collection

FULL_STOP = "."


def write(sentences: list[list[str]], names: Collection[str]) -> str:
    """Words to text: capitals at the start of sentences and names, no space before a mark of punctuation or "'s"."""
    out: list[str] = []
    for sentence in sentences:
        for index, word in enumerate(sentence):
            if word in {".", ",", ":", "'s"}:
                out.append(word)
            else:
                shown = word.capitalize() if not index or word in names else word
                out.append(" " + shown if out else shown)
    return "".join(out)


def split(text: str, vocabulary: Collection[str]) -> list[str]:
    """Text to words: the inverse of :func:`write`, without the division into sentences."""
    return re.findall(r"'s|[a-z-]+|[^a-z'\s-]", text.lower())

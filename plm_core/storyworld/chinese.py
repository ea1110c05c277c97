"""Chinese words to text, and back. Text has no spaces; words are found by the vocabulary."""

from __future__ import annotations

from collections.abc import Collection

FULL_STOP = "。"


def write(sentences: list[list[str]], names: Collection[str]) -> str:
    """Words to text: simply joined."""
    return "".join(word for sentence in sentences for word in sentence)


def split(text: str, vocabulary: Collection[str]) -> list[str]:
    """Text to words: always the longest word of the vocabulary that fits; what fits nowhere stands alone."""
    longest = max(map(len, vocabulary))
    words, start = [], 0
    while start < len(text):
        end = min(start + longest, len(text))
        while end > start + 1 and text[start:end] not in vocabulary:
            end -= 1
        words.append(text[start:end])
        start = end
    return words

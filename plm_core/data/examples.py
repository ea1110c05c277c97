"""Examples with labels, as corpora of tasks hold them: a text with its class, a translation, a tagged sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelledText:
    """A text and the name of its class; ``detail`` names the finer class where the corpus has one."""

    text: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Translation:
    """One sentence in two languages."""

    source: str
    target: str


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence in words, one tag for each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]

"""Span corruption, T5's pretraining task for an encoder-decoder (Raffel et al. 2020, section 3.1.4).

Some spans of a text are cut out. In the source each of them leaves a sentinel, a token of its own; the target lists the
spans, each after its sentinel, and ends with one sentinel more::

    text     Mia put the red cup on the table and left
    source   Mia put <0> on the table <1> left
    target   <0> the red cup <1> and <2>

The choice is a pure function of (seed, epoch, example), as that of masking is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from plm_core.config import Config
from plm_core.data.masking import example_generator

Ids = Sequence[int]


@dataclass(frozen=True)
class SpanCorruptionConfig(Config):
    """How much of a text is cut out, and in how long spans."""

    rate: float = 0.15
    """Share of a text's tokens that is cut out."""
    mean_span_length: float = 3.0
    """Mean number of tokens of a span."""
    dynamic: bool = True
    """Draw new spans in every epoch; otherwise every epoch repeats those of epoch 0."""

    def validate(self) -> None:
        """Refuse a rate outside (0, 1) and spans of less than a token."""
        if not 0 < self.rate < 1:
            raise ValueError(f"SpanCorruptionConfig.rate must lie between 0 and 1, got {self.rate}")
        if not self.mean_span_length >= 1:
            raise ValueError(f"SpanCorruptionConfig.mean_span_length must be at least 1, got {self.mean_span_length}")

    def counts(self, length: int) -> tuple[int, int]:
        """How many tokens of a text of that length are cut out, and in how many spans.

        Both are rounded, as in T5's code: at least one token goes and one stays, and a token stays between two spans.
        """
        tokens = min(max(round(self.rate * length), 1), length - 1)
        spans = min(max(round(tokens / self.mean_span_length), 1), length - tokens + 1)
        return tokens, spans

    def sentinels(self, longest: int) -> int:
        """How many sentinels texts of at most that many tokens need."""
        return 1 + max(self.counts(length)[1] for length in range(2, max(longest, 2) + 1))


class SpanCorruption:
    """Texts as pairs of a source with holes and a target that fills them; a
    :class:`~plm_core.data.sequence_pairs.SequencePairs`.

    Every way to place the spans is equally likely, given how many tokens are cut out in how many spans. (T5's code
    draws the lengths in the same way, but always begins with text that stays and ends with a span.)

    Args:
        texts: token ids of each text, without special tokens.
        sentinel_ids: ids of the sentinels, in the order of their use; ids that no text holds, such as those above the
            tokenizer's vocabulary, with a model whose vocabulary is that much larger.
        config: how much to cut out.
        seed: the seed of all draws.

    Raises:
        ValueError: no text, one of fewer than two tokens, one that holds a sentinel, or too few sentinels.
    """

    def __init__(
        self,
        texts: Sequence[Ids],
        *,
        sentinel_ids: Sequence[int],
        config: SpanCorruptionConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.config = SpanCorruptionConfig() if config is None else config
        self.texts, self.sentinel_ids, self.seed = texts, list(sentinel_ids), seed
        shortest = min(map(len, texts), default=0)
        if shortest < 2:
            raise ValueError(
                f"the shortest of {len(texts)} texts has {shortest} tokens: a text needs at least two, one that is cut "
                "out and one that stays"
            )
        needed = self.config.sentinels(max(map(len, texts)))
        if len(set(self.sentinel_ids)) < needed:
            raise ValueError(
                f"the longest text needs {needed} different sentinels, got {len(set(self.sentinel_ids))}: give more, "
                "or cut the texts into shorter ones"
            )
        special = set(self.sentinel_ids)
        for number, text in enumerate(texts):
            if not special.isdisjoint(int(token) for token in text):
                raise ValueError(f"text {number} holds a sentinel: sentinels must be ids that no text uses")
        self.lengths = [len(text) + 2 * self.config.counts(len(text))[1] + 1 for text in texts]

    def pair(self, example: int, *, epoch: int = 0) -> tuple[list[int], list[int]]:
        """Source and target of one example in one epoch."""
        text = [int(token) for token in self.texts[example]]
        generator = example_generator(self.seed, epoch if self.config.dynamic else 0, example)
        spans = draw_spans(len(text), *self.config.counts(len(text)), generator)
        return corrupt(text, spans, self.sentinel_ids)


def draw_spans(length: int, tokens: int, spans: int, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Draw where spans lie: (start, end) pairs in order, with a token or more between two of them.

    Args:
        length: tokens of the text.
        tokens: tokens of all spans together.
        spans: how many spans.
        generator: source of the draws.
    """
    lengths = composition(tokens, spans, generator)
    kept = length - tokens
    gaps = composition(kept + 2, spans + 1, generator)  # the first and the last may be empty: one more each, and back
    gaps[0], gaps[-1] = gaps[0] - 1, gaps[-1] - 1
    starts = np.cumsum(gaps[:-1]) + np.cumsum([0, *lengths[:-1]])
    return [(int(start), int(start) + span) for start, span in zip(starts, lengths, strict=True)]


def composition(total: int, parts: int, generator: np.random.Generator) -> list[int]:
    """Write a number as a sum of that many positive numbers, every way equally likely."""
    cuts = np.sort(generator.choice(total - 1, size=parts - 1, replace=False)) + 1
    return [int(part) for part in np.diff([0, *cuts, total])]


def corrupt(text: Ids, spans: Sequence[tuple[int, int]], sentinel_ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Cut spans out of a text.

    Args:
        text: token ids.
        spans: (start, end) pairs in order.
        sentinel_ids: one for each span and one more.

    Returns:
        The source and the target.

    >>> corrupt([11, 12, 13, 14, 15], [(1, 3), (4, 5)], [90, 91, 92])
    ([11, 90, 14, 91], [90, 12, 13, 91, 15, 92])
    """
    source: list[int] = []
    target: list[int] = []
    end = 0
    for sentinel, (start, stop) in zip(sentinel_ids, spans, strict=False):
        source += [*text[end:start], sentinel]
        target += [sentinel, *text[start:stop]]
        end = stop
    return source + list(text[end:]), [*target, sentinel_ids[len(spans)]]


def fill_in(source: Ids, target: Ids, sentinel_ids: Sequence[int]) -> list[int]:
    """The text with its holes filled: the inverse of :func:`corrupt`, also for a target that a model has written.

    A sentinel that the target does not hold leaves nothing behind. What the target holds before its first sentinel, or
    after a sentinel that the source does not hold, is left out.

    >>> fill_in([11, 90, 14, 91], [90, 12, 13, 91, 15, 92], [90, 91, 92])
    [11, 12, 13, 14, 15]
    """
    special = set(sentinel_ids)
    filling: dict[int, list[int]] = {}
    current: list[int] = []
    for token in target:
        if token in special:
            current = filling.setdefault(token, [])
        else:
            current.append(token)
    return list(chain.from_iterable(filling.get(token, []) if token in special else [token] for token in source))

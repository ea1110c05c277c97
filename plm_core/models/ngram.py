"""The n-gram model with interpolated, modified Kneser-Ney smoothing: the strongest model that only counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Order:
    """The counts of one order of the model: its n-grams as sorted numbers, their counts, and sums per context."""

    keys: Ints
    counts: Ints
    contexts: Ints
    totals: Ints
    reserved: Floats
    discounts: Floats


def _find(sorted_keys: Ints, wanted: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Where the wanted numbers stand among sorted ones, and which of them are there."""
    place = np.searchsorted(sorted_keys, wanted)
    place = np.minimum(place, len(sorted_keys) - 1)
    return place, sorted_keys[place] == wanted


def modified_discounts(counts: Ints) -> Floats:
    """The discounts D1, D2, D3+ of Chen and Goodman (1999), equation 17, with a 0 before them.

    Where a class of counts is empty, or the formula gives nothing to take away, its discount is Y (absolute
    discounting), and Y itself 1/2 if need be: without a discount, unseen words would have probability 0.
    """
    n1, n2, n3, n4 = (float(np.sum(counts == count)) for count in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2) if n1 and n2 else 0.5
    found = [0.0, y, y, y]
    for k, (low, high) in enumerate(((n1, n2), (n2, n3), (n3, n4)), start=1):
        if low and high and (discount := k - (k + 1) * y * high / low) > 0:
            found[k] = discount
    return np.array(found)


class KneserNey:
    """An n-gram model over token ids, smoothed by interpolated, modified Kneser-Ney.

    The probability of the highest order uses counts; the lower ones use the number of different words seen before
    (continuation counts); below the unigrams lies the uniform distribution, so no token has probability 0.
    Source: Chen and Goodman, An empirical study of smoothing techniques for language modeling (1999), section 4.

    Args:
        vocabulary_size: number of token ids V.
        order: length of the n-grams, context and token together.

    Raises:
        ValueError: an order below 1, or n-grams that do not fit into 63 bits.
    """

    def __init__(self, vocabulary_size: int, *, order: int = 5):
        if order < 1:
            raise ValueError(f"the order must be at least 1, not {order}")
        self.vocabulary_size, self.order, self.base = vocabulary_size, order, vocabulary_size + 1
        if self.base**order >= 2**63:
            raise ValueError(f"{order}-grams over {vocabulary_size} tokens do not fit into 63 bits: lower the order")
        self._orders: list[_Order] = []

    def _grams(self, documents: Sequence[Sequence[int] | npt.NDArray[Any]], length: int) -> Ints:
        """Every token with the ``length - 1`` before it, as one number; before a document stands the id V."""
        parts = []
        for document in documents:
            tokens = np.asarray(document, dtype=np.int64)
            if tokens.size and not (tokens.min() >= 0 and tokens.max() < self.vocabulary_size):
                raise ValueError(f"token ids must lie in 0..{self.vocabulary_size - 1}")
            parts += [np.full(self.order - 1, self.vocabulary_size, dtype=np.int64), tokens]
        stream = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        keys = np.zeros_like(stream)
        for back in range(length - 1, -1, -1):
            shifted = np.roll(stream, back)
            keys = keys * self.base + shifted
        real = np.concatenate(
            [np.repeat([False, True], [self.order - 1, len(document)]) for document in documents]
        )  # fmt: skip
        return keys[real]

    def fit(self, documents: Sequence[Sequence[int] | npt.NDArray[Any]]) -> KneserNey:
        """Count the n-grams of some documents; contexts never reach into the document before.

        Raises:
            ValueError: no tokens, or ids outside the vocabulary.
        """
        if not sum(map(len, documents)):
            raise ValueError("there is nothing to count: the documents hold no tokens")
        keys, counts = np.unique(self._grams(documents, self.order), return_counts=True)
        orders = []
        for length in range(self.order, 0, -1):
            contexts, where = np.unique(keys // self.base, return_inverse=True)
            totals = np.bincount(where, weights=counts).astype(np.int64)
            discounts = modified_discounts(counts)
            reserved = np.bincount(where, weights=discounts[np.minimum(counts, 3)]) / totals
            orders.append(_Order(keys, counts, contexts, totals, reserved, discounts))
            if length > 1:  # continuation counts: how many different words stand before each shorter n-gram
                keys, counts = np.unique(keys % self.base ** (length - 1), return_counts=True)
        self._orders = orders[::-1]
        return self

    def _probabilities(self, grams: Ints) -> Floats:
        if not self._orders:
            raise ValueError("the model has counted nothing yet: call fit first")
        probabilities = np.full(len(grams), 1 / self.vocabulary_size)
        for length, order in enumerate(self._orders, start=1):
            keys = grams % self.base**length
            context, known = _find(order.contexts, keys // self.base)
            place, seen = _find(order.keys, keys)
            counts = np.where(seen, order.counts[place], 0)
            own = (counts - order.discounts[np.minimum(counts, 3)]) / order.totals[context]
            mixed = own + order.reserved[context] * probabilities
            probabilities = np.where(known, mixed, probabilities)
        return probabilities

    def nats(self, document: Sequence[int] | npt.NDArray[Any]) -> Floats:
        """The surprisal of every token of a document, in nats."""
        return -np.log(self._probabilities(self._grams([document], self.order)))

    def next_token(self, context: Sequence[int]) -> Floats:
        """The probability of every token after a document's beginning (of which the last order - 1 tokens count)."""
        history = [self.vocabulary_size] * (self.order - 1) + list(context)
        key = 0
        for token in history[len(history) - (self.order - 1) :]:
            key = key * self.base + token
        return self._probabilities(key * self.base + np.arange(self.vocabulary_size, dtype=np.int64))

"""The n-gram model with interpolated, modified Kneser-Ney smoothing: the strongest of the classical ones."""

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
    """The n-grams of one length, each as ``context * (V + 1) + token``, with their counts and sums per context."""

    keys: Ints
    counts: Ints
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
        order: length of the n-grams, context and token together; there is no upper limit.

    Raises:
        ValueError: an order below 1.
    """

    def __init__(self, vocabulary_size: int, *, order: int = 5):
        if order < 1:
            raise ValueError(f"the order must be at least 1, not {order}")
        self.vocabulary_size, self.order, self.base = vocabulary_size, order, vocabulary_size + 1
        self._orders: list[_Order] = []
        self._contexts: list[Ints] = []

    def _tokens(self, documents: Sequence[Sequence[int] | npt.NDArray[Any]]) -> tuple[list[Ints], Ints]:
        """The tokens that stand 1, 2, ... order - 1 places before each token, and the tokens themselves.

        Before a document stands the id V, so contexts never reach into the document before.
        """
        parts = []
        for document in documents:
            tokens = np.asarray(document, dtype=np.int64)
            if tokens.size and not (tokens.min() >= 0 and tokens.max() < self.vocabulary_size):
                raise ValueError(f"token ids must lie in 0..{self.vocabulary_size - 1}")
            parts += [np.full(self.order - 1, self.vocabulary_size, dtype=np.int64), tokens]
        stream = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        real = np.concatenate(
            [np.repeat([False, True], [self.order - 1, len(document)]) for document in documents]
        )  # fmt: skip
        return [np.roll(stream, back)[real] for back in range(1, self.order)], stream[real]

    def fit(self, documents: Sequence[Sequence[int] | npt.NDArray[Any]]) -> KneserNey:
        """Count the n-grams of some documents; contexts never reach into the document before.

        A context has a number: its place among the contexts of its length, sorted by the number of the context that
        is one token shorter and by the token that it has more. So numbers stay small whatever the order.

        Raises:
            ValueError: no tokens, or ids outside the vocabulary.
        """
        if not sum(map(len, documents)):
            raise ValueError("there is nothing to count: the documents hold no tokens")
        before, tokens = self._tokens(documents)
        context = np.zeros_like(tokens)
        self._contexts = []
        for token_before in before:
            known, context = np.unique(context * self.base + token_before, return_inverse=True)
            self._contexts.append(known)
        keys, counts = np.unique(context * self.base + tokens, return_counts=True)
        orders = []
        for length in range(self.order, 0, -1):
            where = keys // self.base
            totals = np.bincount(where, weights=counts).astype(np.int64)
            discounts = modified_discounts(counts)
            reserved = np.bincount(where, weights=discounts[np.minimum(counts, 3)]) / totals
            orders.append(_Order(keys, counts, totals, reserved, discounts))
            if length > 1:  # continuation counts: how many different tokens stand before each shorter n-gram
                shorter = self._contexts[length - 2][where] // self.base
                keys, counts = np.unique(shorter * self.base + keys % self.base, return_counts=True)
        self._orders = orders[::-1]
        return self

    def _probabilities(self, before: Sequence[Ints], tokens: Ints) -> Floats:
        """The probability of each token, given those 1, 2, ... order - 1 places before it."""
        if not self._orders:
            raise ValueError("the model has counted nothing yet: call fit first")
        probabilities = np.full(len(tokens), 1 / self.vocabulary_size)
        context = np.zeros_like(tokens)
        known = np.ones(len(tokens), dtype=bool)
        for length, order in enumerate(self._orders):
            if length:
                context, found = _find(self._contexts[length - 1], context * self.base + before[length - 1])
                known &= found
            place, seen = _find(order.keys, context * self.base + tokens)
            counts = np.where(seen, order.counts[place], 0)
            own = (counts - order.discounts[np.minimum(counts, 3)]) / order.totals[context]
            mixed = own + order.reserved[context] * probabilities
            probabilities = np.where(known, mixed, probabilities)
        return probabilities

    def nats(self, document: Sequence[int] | npt.NDArray[Any]) -> Floats:
        """The surprisal of every token of a document, in nats."""
        return -np.log(self._probabilities(*self._tokens([document])))

    def next_token(self, context: Sequence[int]) -> Floats:
        """The probability of every token after a document's beginning (of which the last order - 1 tokens count)."""
        history = [self.vocabulary_size] * (self.order - 1) + list(context)
        before = [np.full(self.vocabulary_size, history[-back], dtype=np.int64) for back in range(1, self.order)]
        return self._probabilities(before, np.arange(self.vocabulary_size, dtype=np.int64))

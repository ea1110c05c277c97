"""The order in which examples are seen: the examples of a batch are a pure function of the seed and its number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plm_core.data.packing import length_groups


class Sampler:
    """The examples of each batch: every epoch a new order, every example exactly once per epoch.

    If the examples do not divide evenly into batches, one batch of each epoch is shorter than the others. The order
    follows from the seed and the epoch alone, so the position in the data is one integer, the number of the batch: a
    run that is stopped and resumed sees the batches that it would have seen.

    Args:
        num_examples: examples 0 to ``num_examples - 1``.
        batch_size: examples of a batch.
        seed: decides the order.
        lengths: tokens of each example. If given, the examples of a batch have similar lengths
            (:func:`~plm_core.data.packing.length_groups`), so that padding them wastes little.

    Raises:
        ValueError: no example, or a batch size below 1.

    >>> sampler = Sampler(5, 2, seed=0)
    >>> [sorted(example for step in range(3) for example in sampler.batch(3 * epoch + step)[1]) for epoch in range(2)]
    [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    """

    def __init__(self, num_examples: int, batch_size: int, *, seed: int, lengths: Sequence[int] | None = None) -> None:
        if num_examples < 1 or batch_size < 1:
            raise ValueError(f"need at least one example and a batch_size of 1, got {num_examples} and {batch_size}")
        self.num_examples, self.batch_size, self.seed, self.lengths = num_examples, batch_size, seed, lengths
        self.steps_per_epoch = -(-num_examples // batch_size)
        self._epoch: tuple[int, list[list[int]]] | None = None

    def batch(self, index: int) -> tuple[int, list[int]]:
        """The epoch, from 0, and the examples of the batch with that number, counted from 0 over all epochs."""
        epoch, step = divmod(index, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._batches(epoch)
        return epoch, self._epoch[1][step]

    def in_order(self) -> list[range]:
        """Every example once in batches, in the order of their numbers: for validation."""
        starts = range(0, self.num_examples, self.batch_size)
        return [range(start, min(start + self.batch_size, self.num_examples)) for start in starts]

    def _batches(self, epoch: int) -> list[list[int]]:
        if self.lengths is not None:
            return list(length_groups(self.lengths, self.batch_size, seed=self.seed, epoch=epoch))
        order = np.random.default_rng([self.seed, epoch]).permutation(self.num_examples).tolist()
        return [order[start : start + self.batch_size] for start in range(0, self.num_examples, self.batch_size)]

"""Rows for language modelling that begin with a prefix, which is read in both directions and not predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from plm_core.data.batch import Batch, LazyBatches, real_tokens
from plm_core.data.masking import example_generator


class OrderedSource(Protocol):
    """Training batches by number, and every example once in order."""

    def batch(self, index: int) -> Batch: ...

    def in_order(self) -> Sequence[Batch]: ...


class PrefixBatches:
    """Adds ``prefix_lengths``, (B,), to each batch: drawn uniformly, from no token to all real ones but the last.

    The prefixes are a pure function of the seed and of the batch's number; those of validation are always the same.

    Args:
        source: batches for causal language modelling, such as :class:`~plm_core.data.batches.PaddedBatches`.
        seed: the seed of all draws.

    Source: Raffel et al. (2020), section 3.2.1.
    """

    def __init__(self, source: OrderedSource, *, seed: int) -> None:
        self.source, self.seed = source, seed

    def batch(self, index: int) -> Batch:
        """The batch of that number."""
        return self._with_prefixes(self.source.batch(index), index, epoch=0)

    def in_order(self) -> LazyBatches:
        """Every example once: for validation."""
        batches = self.source.in_order()
        places = [[number] for number in range(len(batches))]
        return LazyBatches(places, lambda place: self._with_prefixes(batches[place[0]], place[0], epoch=1))

    def _with_prefixes(self, batch: Batch, number: int, *, epoch: int) -> Batch:
        uniform_B = torch.from_numpy(example_generator(self.seed, epoch, number).random(len(batch["input_ids"])))
        return {**batch, "prefix_lengths": prefix_lengths(uniform_B, real_tokens(batch).sum(dim=1))}


def prefix_lengths(uniform_B: Tensor, lengths_B: Tensor) -> Tensor:
    """Prefixes for rows of these lengths, (B,): each length from 0 to all tokens but one is equally likely.

    Args:
        uniform_B: for each row a number in [0, 1), fp64.
        lengths_B: real tokens of each row, at least one.
    """
    return torch.minimum((uniform_B * lengths_B).long(), lengths_B - 1)

"""Batches from several sources, mixed by given shares: tasks or corpora side by side instead of one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from plm_core.data.batch import Batch, BatchSource

BLOCK = 1024
"""Number of choices that are drawn together."""
TASK = "task"
"""The entry of a batch that holds the number of its source, a scalar."""


def temperature_shares(sizes: Sequence[float], temperature: float) -> list[float]:
    """Shares proportional to size^(1 / temperature): at 1 as the sizes, above it closer to equal ones.

    Args:
        sizes: examples or tokens of each source, greater than 0.
        temperature: greater than 0.

    Raises:
        ValueError: no size, or numbers that are not positive and finite.

    Source: Raffel et al. (2020), section 3.5.2, "temperature-scaled mixing".

    >>> [round(share, 2) for share in temperature_shares([100, 1], 2)]
    [0.91, 0.09]
    """
    if not len(sizes) or not all(np.isfinite(size) and size > 0 for size in (*sizes, temperature)):
        raise ValueError(f"sizes and temperature must be positive numbers, got {list(sizes)} and {temperature}")
    logits = np.log(np.asarray(sizes, dtype=np.float64)) / temperature
    weights = np.exp(logits - logits.max())
    return (weights / weights.sum()).tolist()


class MixtureBatches:
    """Batches of several sources, each from a source that is drawn by the shares.

    Which source a batch comes from, and which of that source's batches it is, are pure functions of the seed and the
    batch's number. Every source is read in its own order, without gaps.

    Args:
        sources: the sources.
        shares: the probability of each; they are divided by their sum.
        seed: the seed of the draws.
        group: so many batches in a row come from one source. With ``micro_batches`` of the trainer, every step is then
            one task's; a step that mixed tasks would add up their mean losses.

    Raises:
        ValueError: no source, or shares that do not fit.
    """

    def __init__(self, sources: Sequence[BatchSource], shares: Sequence[float], *, seed: int, group: int = 1) -> None:
        if not sources or len(shares) != len(sources) or min(shares) < 0 or not sum(shares) > 0:
            raise ValueError(
                f"a mixture needs a share of at least 0 for each source, and one above 0: got {len(sources)} sources "
                f"and shares {list(shares)}"
            )
        if group < 1:
            raise ValueError(f"group must be at least 1, got {group}")
        self.sources, self.seed, self.group = sources, seed, group
        self.shares = np.asarray(shares, dtype=np.float64) / sum(shares)
        self._before = [np.zeros(len(sources), dtype=np.int64)]  # choices of each source before each block

    def batch(self, index: int) -> Batch:
        """The batch of that number, and ``task``, the number of its source."""
        source, number = self.place(index)
        return tagged(self.sources[source].batch(number), source)

    def place(self, index: int) -> tuple[int, int]:
        """The source of a batch, and its number among that source's batches."""
        choice, inner = divmod(index, self.group)
        block, offset = divmod(choice, BLOCK)
        while len(self._before) <= block:
            counts = np.bincount(self._block(len(self._before) - 1), minlength=len(self.sources))
            self._before.append(self._before[-1] + counts)
        choices = self._block(block)
        source = int(choices[offset])
        earlier = int(self._before[block][source] + (choices[:offset] == source).sum())
        return source, earlier * self.group + inner

    def _block(self, block: int) -> np.ndarray:
        return np.random.default_rng([self.seed, block]).choice(len(self.sources), size=BLOCK, p=self.shares)


def tagged(batch: Batch, task: int) -> Batch:
    """The batch with the number of its source as the entry ``task``."""
    return {**batch, TASK: torch.tensor(task)}


def all_tagged(batches: Sequence[Iterable[Batch]]) -> list[Batch]:
    """The validation batches of several sources in one list, each with the number of its source."""
    return [tagged(batch, task) for task, each in enumerate(batches) for batch in each]

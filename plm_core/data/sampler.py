"""The order in which examples are seen: a pure function of (seed, epoch, step), with a position to save."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


class Sampler:
    """Yields batches of example numbers without end: every epoch a new order, every example once per epoch.

    The order follows from the seed and the epoch alone, so the position is two integers: a run that is stopped, saved
    and resumed sees the batches that it would have seen. With several ranks each gets its part of every global batch.

    Args:
        num_examples: examples 0 to ``num_examples - 1``.
        batch_size: examples of one batch of one rank.
        seed: decides the order.
        shuffle: False keeps the order of the numbers in every epoch.
        drop_last: leave out what does not fill a batch at the end of an epoch. Needed with several ranks, which must
            all take the same number of steps.
        rank, world_size: which of how many processes this one is.

    Raises:
        ValueError: sizes that make no batch.

    >>> sampler = Sampler(5, 2, seed=0, drop_last=False)
    >>> [sorted(e for step in range(3) for e in sampler.batch(epoch, step)) for epoch in range(2)]
    [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool = True,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"need batch_size >= 1 and 0 <= rank < world_size, got {batch_size}, {rank}, {world_size}")
        if world_size > 1 and not drop_last:
            raise ValueError("several ranks need drop_last=True: all must take the same number of steps")
        self.num_examples, self.batch_size, self.seed = num_examples, batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.rank, self.world_size = rank, world_size
        whole = batch_size * world_size
        self.steps_per_epoch = num_examples // whole if drop_last else -(-num_examples // whole)
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"{num_examples} examples make no batch of {batch_size} x {world_size} ranks: lower batch_size, "
                f"or set drop_last=False"
            )
        self.epoch = 0
        self.step = 0
        self._order: tuple[int, np.ndarray] | None = None

    def batch(self, epoch: int, step: int) -> list[int]:
        """The examples of one batch; looking does not move the position."""
        assert 0 <= step < self.steps_per_epoch
        start = (step * self.world_size + self.rank) * self.batch_size
        return self._epoch_order(epoch)[start : start + self.batch_size].tolist()

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.num_examples)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.num_examples))
        return self._order[1]

    def __iter__(self) -> Iterator[list[int]]:
        """Batches from the present position on, over the ends of epochs, without end."""
        while True:
            batch = self.batch(self.epoch, self.step)
            self.step += 1
            if self.step == self.steps_per_epoch:
                self.epoch, self.step = self.epoch + 1, 0
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The position, and what must be equal for it to mean the same."""
        return {"epoch": self.epoch, "step": self.step} | self._identity()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position.

        Raises:
            ValueError: the position was saved with other data, batch size, ranks or seed.
        """
        for name, value in self._identity().items():
            if state[name] != value:
                raise ValueError(
                    f"the saved position belongs to {name}={state[name]}, this sampler has {name}={value}: resume with "
                    f"the same data and settings, or start a new run"
                )
        self.epoch, self.step = int(state["epoch"]), int(state["step"])

    def _identity(self) -> dict[str, int]:
        return {
            "num_examples": self.num_examples,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
            "seed": self.seed,
            "shuffle": int(self.shuffle),
            "drop_last": int(self.drop_last),
        }

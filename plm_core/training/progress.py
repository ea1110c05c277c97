"""The progress of a run, and the sums whose averages go into its next log record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from plm_core.data.batch import Batch, real_tokens
from plm_core.distributed import Processes


def clock() -> float:
    """A monotonic clock, in seconds; only differences of its readings mean anything."""
    return perf_counter()


@dataclass
class Progress:
    """How far a run has come: what resuming needs besides weights, optimiser and random generators."""

    step: int = 0
    """Successful optimiser steps so far."""
    micro_batch_groups: int = 0
    """Groups of micro-batches used so far; more than ``step`` if steps were skipped."""
    tokens: int = 0
    """Real tokens seen so far."""
    best_loss: float = math.inf
    """Lowest validation loss so far, in nats."""
    best_step: int = 0
    """The step it was measured after."""
    evaluations_without_gain: int = 0
    """Evaluations since then."""

    def is_best(self, loss: float) -> bool:
        """Note a validation loss of the present step; whether it is the lowest so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.evaluations_without_gain = loss, self.step, 0
            return True
        self.evaluations_without_gain += 1
        return False


@dataclass
class Running:
    """Sums since the last log record; tensors stay on the device until they are read."""

    totals: dict[str, Tensor] = field(default_factory=dict)
    """Sums by name."""
    counts: dict[str, int] = field(default_factory=dict)
    """For each sum the number of its terms."""
    tokens: int = 0
    """Real tokens."""
    untimed: int = 0
    """How many of the tokens were seen before ``started``, by the run that this one continues."""
    started: float = field(default_factory=clock)
    """When training began or continued, by :func:`clock`."""
    paused: float = 0.0
    """Seconds since ``started`` that were not spent on training, but on evaluation or saving."""

    def start(self) -> None:
        """Start the clock; the time that the sums so far have taken is not known."""
        self.started, self.paused, self.untimed = clock(), 0.0, self.tokens

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock for the block. A GPU must have finished its work before the block begins."""
        begun = clock()
        try:
            yield
        finally:
            self.paused += clock() - begun

    def seconds(self) -> float:
        """Seconds of training since ``started``."""
        return clock() - self.started - self.paused

    def add(self, key: str, value: Tensor, count: int) -> None:
        """Add a sum and the number of its terms."""
        if key not in self.totals:
            self.totals[key] = torch.zeros((), device=value.device)
        self.totals[key] = self.totals[key] + value.detach()
        self.counts[key] = self.counts.get(key, 0) + count

    def add_step(self, sums: Sequence[tuple[str, Tensor, int]], group: Sequence[Batch]) -> None:
        """Add the sums of a step, by name and with the numbers of their terms, and the real tokens of its batches."""
        for key, value, count in sums:
            self.add(key, value, count)
        self.tokens += sum(int(real_tokens(batch).sum()) for batch in group)

    def summed(self, processes: Processes) -> Running:
        """The sums over all processes, which must hold the same names."""
        if processes.size == 1:
            return self
        names = sorted(self.totals)
        totals = processes.sum(torch.stack([self.totals[name] for name in names]))
        counts = processes.sum_counts({**self.counts, "tokens": self.tokens, "untimed": self.untimed})
        tokens, untimed = counts.pop("tokens"), counts.pop("untimed")
        return Running(dict(zip(names, totals, strict=True)), counts, tokens, untimed, self.started, self.paused)

    def means(self) -> dict[str, float]:
        """Every sum divided by its count."""
        return {key: float(total) / max(1, self.counts[key]) for key, total in self.totals.items()}

    def state_dict(self) -> dict[str, Any]:
        """The sums, so that a resumed run logs what the uninterrupted one would have logged."""
        totals = {key: total.cpu() for key, total in self.totals.items()}
        return {"totals": totals, "counts": dict(self.counts), "tokens": self.tokens}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str) -> None:
        """Put back what :meth:`state_dict` returned."""
        self.totals = {key: total.to(device) for key, total in state["totals"].items()}
        self.counts, self.tokens = dict(state["counts"]), state["tokens"]

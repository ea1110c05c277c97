"""One harness for every model: how good, how large, how fast.

Times are taken in turns, one call of each candidate after the other, so that a busy moment of the machine slows all of
them; after warm-up calls that are not counted; with a fixed number of threads. What is reported is the median and the
quartiles, and comparisons are ratios taken round by round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over the counted rounds."""

    seconds: tuple[float, ...]
    """In the order of the rounds."""

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between them lies the middle half."""
        first, _, third = statistics.quantiles(self.seconds, n=4)
        return first, third

    def speedup_over(self, other: Timing) -> float:
        """How many times faster this one is: the median of the ratios, taken round by round."""
        return statistics.median(b / a for a, b in zip(self.seconds, other.seconds, strict=True))


def time_in_turns(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int = 20, warmup: int = 3, threads: int | None = None
) -> dict[str, Timing]:
    """Time several calls against each other.

    Args:
        candidates: by name a call without arguments that has finished its work when it returns (synchronise a GPU).
        rounds: counted calls of each.
        warmup: calls of each before, which are not counted.
        threads: torch's number of threads meanwhile; unchanged by default. Other engines are told when they are made.

    Raises:
        ValueError: fewer than two rounds, or no warm-up.
    """
    if rounds < 2 or warmup < 1:
        raise ValueError(f"a spread needs at least 2 rounds and 1 warm-up call, got {rounds} and {warmup}")
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    with torch.no_grad(), fixed_threads(threads):
        for _ in range(warmup):
            for call in candidates.values():
                call()
        for _ in range(rounds):
            for name, call in candidates.items():
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


@contextmanager
def fixed_threads(threads: int | None) -> Iterator[None]:
    """Set torch's number of threads for a while; None leaves it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Row:
    """One model in the comparison."""

    name: str
    parameters: int
    """Numbers that it stores, integers included."""
    bytes: int
    """Of its file."""
    latency: Timing
    """One sequence."""
    throughput: float
    """Tokens per second at the large batch."""
    quality: Mapping[str, float] = field(default_factory=dict)
    """By task; the caller says which way is better."""


def stored_numbers(model: nn.Module) -> int:
    """How many numbers a model stores in parameters and buffers, each tensor once; two 4-bit ones in a byte are one."""
    return sum({id(t): t.numel() for t in model.state_dict(keep_vars=True).values()}.values())


def file_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder.

    Raises:
        FileNotFoundError: neither.
    """
    if path.is_file():
        return path.stat().st_size
    if not path.is_dir():
        raise FileNotFoundError(f"nothing at {path} to measure")
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def table(rows: Sequence[Row], reference: str) -> str:
    """The rows as text, sizes and times relative to one of them.

    Raises:
        ValueError: a reference that is none of the rows.
    """
    by_name = {row.name: row for row in rows}
    if reference not in by_name:
        raise ValueError(f"no row is called {reference!r}: there are {', '.join(by_name)}")
    base = by_name[reference]
    tasks = list(dict.fromkeys(task for row in rows for task in row.quality))
    lines = [["model", "bytes", "of reference", "latency ms", "faster by", "tokens/s", *tasks]]
    for row in rows:
        low, high = row.latency.quartiles
        lines.append(
            [
                row.name,
                f"{row.bytes:,}",
                f"{row.bytes / base.bytes:.2f}",
                f"{row.latency.median * 1e3:.2f} ({low * 1e3:.2f} to {high * 1e3:.2f})",
                f"{row.latency.speedup_over(base.latency):.2f}",
                f"{row.throughput:,.0f}",
                *(f"{row.quality[task]:.3f}" if task in row.quality else "" for task in tasks),
            ]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)

"""One harness for every model: quality, size, memory and speed.

A :class:`Candidate` is a model with its task; :func:`measure` makes a :class:`Row` of each, :func:`table` and
:func:`plot` show the rows.

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
from functools import partial
from importlib import resources
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import nn

from plm_core.data.batch import real_tokens
from plm_core.evaluation.memory import peak_memory
from plm_core.runtime import check_threads

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ROUNDS = 10_000

Inputs = Mapping[str, Any]
"""Keyword arguments of a forward pass; ``input_ids`` is always among them."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over the counted rounds."""

    seconds: tuple[float, ...]
    """Seconds of each round, in order."""

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile of the seconds."""
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, third

    def speedup_over(self, other: Timing) -> float:
        """How many times faster this call is than the other: the median of the ratios, taken round by round."""
        return statistics.median(b / a for a, b in zip(self.seconds, other.seconds, strict=True))


def time_in_turns(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int = 20, warmup: int = 3, threads: int | None = None
) -> dict[str, Timing]:
    """Time several calls against each other.

    Args:
        candidates: by name a call without arguments that has finished its work when it returns (synchronise a GPU).
        rounds: counted calls of each.
        warmup: calls of each before, which are not counted.
        threads: torch's number of threads meanwhile; unchanged by default. Other engines fix theirs when they are made.

    Raises:
        ValueError: fewer than two rounds, or no warm-up.
    """
    if rounds < 2 or warmup < 1:
        raise ValueError(f"a spread needs at least 2 rounds and 1 warm-up call, got {rounds} and {warmup}")
    if rounds > MAX_ROUNDS:
        raise ValueError(f"at most {MAX_ROUNDS:,} rounds are timed, got {rounds}")
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
    torch.set_num_threads(check_threads(threads) or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@runtime_checkable
class HasThreads(Protocol):
    """A model whose engine fixed its number of threads when it was opened."""

    threads: int


@dataclass(frozen=True)
class Candidate:
    """A model, and the task that it is measured on."""

    model: nn.Module
    """A model that is called with keyword arguments."""
    file: Path
    """The file or folder that would be deployed."""
    one: Inputs
    """A batch of one sequence: for latency."""
    many: Inputs
    """A large batch: for throughput and memory."""
    quality: Callable[[nn.Module], Mapping[str, float]]
    """A function from the model to its quality by task; whether higher or lower is better is up to the caller."""
    parameters: int | None = None
    """How many numbers the model stores; None: they are counted."""


@dataclass(frozen=True)
class Row:
    """One model in the comparison."""

    name: str
    parameters: int
    """How many numbers it stores, integers included."""
    bytes: int
    """Size of its file, in bytes."""
    latency: Timing
    """Seconds for one sequence."""
    batch: Timing
    """Seconds for the large batch."""
    tokens: int
    """Real tokens of the large batch."""
    quality: Mapping[str, float] = field(default_factory=dict)
    """Quality by task."""
    memory: int | None = None
    """Bytes to hold the model and run the large batch: :func:`~plm_core.evaluation.memory.peak_memory`."""

    @property
    def throughput(self) -> float:
        """Tokens per second at the large batch."""
        return self.tokens / self.batch.median

    @property
    def throughput_quartiles(self) -> tuple[float, float]:
        """The first and the third quartile of the throughput."""
        low, high = self.batch.quartiles
        return self.tokens / high, self.tokens / low


def measure(
    candidates: Mapping[str, Candidate], *, rounds: int = 20, threads: int | None = None, memory: bool = True
) -> list[Row]:
    """Measure models side by side: quality, size, memory, latency and throughput.

    Args:
        candidates: by name.
        rounds: counted calls of each on one sequence; a quarter of that on the large batch.
        threads: torch's number of threads; unchanged by default.
        memory: whether to measure memory, which starts a process for each candidate.

    Raises:
        ValueError: no candidate, fewer than two rounds, or an engine that was opened with other threads.
        FileNotFoundError: a candidate without its file.
    """
    if not candidates:
        raise ValueError("name at least one model to measure")
    num_threads = check_threads(threads) or torch.get_num_threads()
    for name, candidate in candidates.items():
        if isinstance(candidate.model, HasThreads) and candidate.model.threads != num_threads:
            raise ValueError(
                f"{name} was opened with {candidate.model.threads} threads, the others run with {num_threads}: "
                f"open it with threads={num_threads}"
            )
        candidate.model.eval()
    sizes = {name: file_bytes(candidate.file) for name, candidate in candidates.items()}
    with fixed_threads(threads):
        quality = {name: dict(candidate.quality(candidate.model)) for name, candidate in candidates.items()}
    ones = {name: partial(candidate.model, **candidate.one) for name, candidate in candidates.items()}
    manies = {name: partial(candidate.model, **candidate.many) for name, candidate in candidates.items()}
    latency = time_in_turns(ones, rounds=rounds, threads=threads)
    batch = time_in_turns(manies, rounds=max(2, rounds // 4), warmup=1, threads=threads)
    return [
        Row(
            name,
            stored_numbers(candidate.model) if candidate.parameters is None else candidate.parameters,
            sizes[name],
            latency[name],
            batch[name],
            int(real_tokens(candidate.many).sum()),
            quality[name],
            peak_memory(candidate.model, candidate.many, threads=num_threads) if memory else None,
        )
        for name, candidate in candidates.items()
    ]


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
    titles = ["model", "parameters", "bytes", "of reference", "peak MiB", "latency ms", "faster by", "tokens/s"]
    lines = [[*titles, *tasks]]
    for row in rows:
        low, high = (f"{1e3 * seconds:.2f}" for seconds in row.latency.quartiles)
        slow, fast = (f"{rate:,.0f}" for rate in row.throughput_quartiles)
        lines.append(
            [
                row.name,
                f"{row.parameters:,}",
                f"{row.bytes:,}",
                f"{row.bytes / base.bytes:.2f}",
                "" if row.memory is None else f"{row.memory / 2**20:.0f}",
                f"{row.latency.median * 1e3:.2f} ({low} to {high})",
                f"{row.latency.speedup_over(base.latency):.2f}",
                f"{row.throughput:,.0f} ({slow} to {fast})",
                *(f"{row.quality[task]:.3f}" if task in row.quality else "" for task in tasks),
            ]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    texts = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(text.rstrip() for text in texts)


def plot(rows: Sequence[Row], path: Path | str | None = None, *, task: str | None = None) -> Figure:
    """Draw quality against bytes, and against latency with its quartiles: a point for each model.

    Args:
        rows: of :func:`measure`.
        path: where to save the figure; None only returns it.
        task: which quality; the first that all rows have by default.

    Raises:
        ValueError: no row, or a task that a row was not measured on.
    """
    shared = [name for name in (rows[0].quality if rows else {}) if all(name in row.quality for row in rows)]
    if not shared or (task is not None and task not in shared):
        raise ValueError(f"no quality {task or ''} that all rows have: there is nothing to plot".replace("  ", " "))
    task = task or shared[0]
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    with resources.as_file(resources.files("plm_core") / "figures.mplstyle") as style, plt.style.context(style):
        figure, panels = plt.subplots(1, 2, sharey=True)
        for row, marker in zip(rows, cycle("os^Dv<>P")):
            low, high = row.latency.quartiles
            middle, height = 1e3 * row.latency.median, row.quality[task]
            spread = [[max(0.0, middle - 1e3 * low)], [max(0.0, 1e3 * high - middle)]]
            panels[0].plot(row.bytes / 2**20, height, marker, label=row.name)
            panels[1].errorbar(middle, height, xerr=spread, fmt=marker, capsize=3)
        panels[0].set(xscale="log", xlabel="file (MiB)", ylabel=task)
        panels[1].set(xscale="log", xlabel="latency of one sequence (ms)")
        for panel in panels:
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter(NullFormatter())
        figure.legend(loc="outside lower center", ncols=min(3, len(rows)))
        if path is not None:
            figure.savefig(path)
            plt.close(figure)
    return figure

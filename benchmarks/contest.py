"""Two sides in two processes, taking turns: a few steps of one, a few of the other, again and again.

A slow moment of the machine hits neighbours in time, so each round gives a ratio of its own, and the spread of the
ratios says what they are worth. Each side has a process to itself, so that its peak memory is its own.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch

from plm_core.runtime import peak_memory_mib


@dataclass(frozen=True)
class Turn:
    """What one side did in one turn."""

    seconds: float
    tokens: int
    """Real tokens, padding not counted; generated ones in generation."""
    steps: int
    cpu_seconds: float
    """Processor time of all threads: what is left of a time when other programs take theirs in between."""

    @property
    def tokens_per_second(self) -> float:
        """The rate of the turn."""
        return self.tokens / self.seconds

    @property
    def tokens_per_cpu_second(self) -> float:
        """The rate of the turn by processor time."""
        return self.tokens / self.cpu_seconds


class Orders:
    """The child's end of the line: asks how many steps to take, reports what they took."""

    def __init__(self, line: Connection, device: str) -> None:
        self.line, self.device = line, torch.device(device)
        self._begun = self._cpu_begun = 0.0
        self._baseline = peak_memory_mib()
        self._steps = 0

    def built(self, **facts: Any) -> None:
        """Tell the parent that data and model are there, with what it wants to know about them."""
        self.line.send(facts)

    def next(self) -> int:
        """Wait for the next order: a number of steps, 0 for the end. The clock starts when it comes."""
        self._steps = self.line.recv()
        self._begun, self._cpu_begun = time.perf_counter(), time.process_time()
        return self._steps

    def done(self, tokens: int) -> None:
        """Stop the clock and report."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds, cpu_seconds = time.perf_counter() - self._begun, time.process_time() - self._cpu_begun
        self.line.send(Turn(seconds, tokens, self._steps, cpu_seconds))

    def memory_baseline(self) -> None:
        """Peak memory is reported as what comes on top of the peak so far."""
        self._baseline = 0.0 if self.device.type == "cuda" else peak_memory_mib()

    def end(self) -> None:
        """Report peak memory in MiB."""
        self.line.send(peak_memory_mib(self.device) - self._baseline)


class Side(Protocol):
    """A function that builds one side and then follows orders; it runs in a process of its own."""

    def __call__(self, orders: Orders, job: Any) -> None: ...


@dataclass
class Contestant:
    """The parent's view of one side."""

    name: str
    line: Connection
    facts: dict[str, Any]
    turns: list[Turn]
    peak_mib: float = 0.0

    def run(self, steps: int) -> Turn:
        """Order a turn and wait for its end."""
        self.line.send(steps)
        return receive(self.line)

    @property
    def rates(self) -> list[float]:
        """Tokens per second of each turn."""
        return [turn.tokens_per_second for turn in self.turns]


def serve(side: Side, line: Connection, job: Any, device: str, threads: int) -> None:
    """The body of a child process."""
    torch.set_num_threads(threads)
    try:
        side(Orders(line, device), job)
    except (ValueError, OSError) as error:  # a mistake of the user, such as a switch that this machine cannot follow
        line.send(error)


def receive(line: Connection) -> Any:
    """What the child says next; if it has failed, its error is raised here."""
    answer = line.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextmanager
def started(name: str, side: Side, job: Any, *, device: str, threads: int) -> Iterator[Contestant]:
    """A side in its own process, built and waiting; its threads sleep while they wait, on every side alike.

    Threads that spin measure the neighbours: on a machine with other work, every small operation then waits for a
    thread that is not running.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # the child inherits it
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(side, theirs, job, device, threads), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Contestant(name, ours, receive(ours), [])
    finally:
        ours.close()
        process.join(timeout=10)
        if process.is_alive():
            process.kill()


def take_turns(sides: Sequence[Contestant], *, rounds: int, steps: int, progress: Callable[[str], None]) -> None:
    """One turn each to warm up, then the rounds; the order of the sides changes from round to round.

    Args:
        sides: the contestants; ``turns`` and ``peak_mib`` are filled.
        rounds: number of measured rounds.
        steps: steps of a turn.
        progress: is told each round's rates.
    """
    for side in sides:
        side.run(max(1, steps // 2))
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            side.turns.append(side.run(steps))
        shown = (f"{s.name} {s.rates[-1]:,.0f} ({s.turns[-1].tokens_per_cpu_second:,.0f} by CPU time)" for s in sides)
        progress(f"round {number + 1}, tokens/s: " + ", ".join(shown))
    for side in sides:
        side.line.send(0)
        side.peak_mib = receive(side.line)


def ratios(ours: Contestant, theirs: Contestant) -> dict[str, float]:
    """How many times as fast ours is, round by round: median, least and most; and the ratio of peak memory."""
    by_round = [mine / other for mine, other in zip(ours.rates, theirs.rates, strict=True)]
    by_cpu = [a.tokens_per_cpu_second / b.tokens_per_cpu_second for a, b in zip(ours.turns, theirs.turns, strict=True)]
    return {
        "speed": round(statistics.median(by_round), 3),
        "speed_least": round(min(by_round), 3),
        "speed_most": round(max(by_round), 3),
        "speed_by_cpu_time": round(statistics.median(by_cpu), 3),
        "peak_memory": round(ours.peak_mib / theirs.peak_mib, 3) if theirs.peak_mib else 0.0,
    }


def require_equal_losses(sides: Sequence[Contestant], *, tolerance: float = 1e-4) -> None:
    """Refuse to compare sides that do not compute the same.

    Raises:
        ValueError: losses or gradient norms, on the same weights and batches with dropout off, differ by more.
    """
    for quantity in ("losses", "gradient_norms"):
        first = sides[0].facts[quantity]
        for side in sides[1:]:
            worst = max(abs(a - b) for a, b in zip(first, side.facts[quantity], strict=True))
            if not worst <= tolerance * max(1.0, *map(abs, first)):
                raise ValueError(
                    f"{sides[0].name} and {side.name} do not compute the same: {quantity} {first} and "
                    f"{side.facts[quantity]} on the same weights and batches"
                )

"""Ctrl-C and SIGTERM, deferred until the step under way has ended and the state is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal and has saved its state.

    Attributes:
        number: the signal, SIGINT or SIGTERM; a program that leaves because of it has the exit code 128 + number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


@contextmanager
def deferred_interrupt(*, insist: bool = True) -> Iterator[Callable[[], int | None]]:
    """Record the first SIGINT or SIGTERM instead of acting on it.

    Only the main thread receives signals; in another thread nothing is deferred and nothing recorded.

    Args:
        insist: whether a second signal acts at once. Under torchrun it must not: a Ctrl-C reaches every process twice,
            from the terminal and from torchrun, which kills those that take longer than half a minute.

    Yields:
        A function that returns the number of the signal that was received, or None.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    seen: list[int] = []
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        if seen and insist:
            signal.signal(number, previous[number])
            signal.raise_signal(number)
        seen.append(number)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: seen[0] if seen else None
    finally:
        for number in SIGNALS:
            signal.signal(number, previous[number])

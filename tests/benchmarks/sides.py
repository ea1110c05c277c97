"""Sides of a contest as the tests start them, in processes of their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.contest import Orders, Side
from tests import forked

FORKED = SimpleNamespace(get_context=lambda method: forked.server())
"""In the place of ``multiprocessing``: each side has a process of its own, without a spawned one's imports."""


def traced(side: Side, orders: Orders, job: Any) -> None:
    """A side in whose process ``torch.compile`` traces and differentiates graphs, and generates no code from them."""
    compile_with = torch.compile

    def without_code(model: Any = None, **options: Any) -> Any:
        return compile_with(model, **options | {"backend": "aot_eager"})

    torch.compile = without_code  # type: ignore[assignment]
    side(orders, job)

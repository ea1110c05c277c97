"""What counting reaches on the text of 07e: a Kneser-Ney model of the whole training text, on the same test windows."""

from __future__ import annotations

import importlib
from typing import Any

real_text = importlib.import_module("plm_chapters.experiments.07e_real_text")

VARIANTS = ["characters"]
SEEDS = [0]
ORDERS = [1, 2, 3]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """The loss of each of ORDERS on test text, in nats a character."""
    return {"test": [real_text.counting(order) for order in ORDERS]}

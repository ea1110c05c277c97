"""Kneser-Ney on the tenth of tinyshakespeare that nanoGPT validates on, read on end.

The figures of ``07e_real_text`` are of windows without a context before them. nanoGPT's published loss is on running
text, its last tenth, so the counts that it is compared with here read the same text, each letter after all those before
it. Nothing is drawn at random; the orders are those around the best of ``07e_real_text``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plm_core.data.datasets import Split, tinyshakespeare
from plm_core.models.ngram import KneserNey

ORDERS = [6, 7, 8]
VARIANTS = [f"counts of {order} letters" for order in ORDERS]
SEEDS = [0]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """The mean loss of one order on the running text, in nats a letter."""
    parts: tuple[Split, ...] = ("train", "validation", "test")
    plays = [tinyshakespeare(part) for part in parts]
    number_of = {letter: number for number, letter in enumerate(sorted(set("".join(plays))))}
    first_N, last_N = (np.array([number_of[letter] for letter in text]) for text in (plays[0], plays[1] + plays[2]))
    counter = KneserNey(len(number_of), order=ORDERS[VARIANTS.index(variant)]).fit([first_N])
    return {"nats": float(counter.nats(last_N).mean()), "letters": len(last_N)}

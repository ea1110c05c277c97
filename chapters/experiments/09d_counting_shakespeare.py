"""What counting reaches on the text of experiment 09b: tinyshakespeare, in characters, on its last tenth.

The order is the one with the lowest loss on the last tenth of the *training* text, by counts of the rest; then all the
training text is counted. Nothing is chosen on the text that is scored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from plm_core.data.datasets import tinyshakespeare
from plm_core.data.tokenizer_training import train_characters
from plm_core.models.ngram import KneserNey

VARIANTS = ["counting"]
SEEDS = [0]
ORDERS = [3, 4, 5, 6, 7, 8, 9]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Nats per character of a Kneser-Ney model: at each order on held-out training text, then at the best one."""
    train_text = tinyshakespeare("train")
    tokenizer = train_characters([train_text])
    ids = np.array(tokenizer.encode(train_text))
    test_ids = np.array(tokenizer.encode(tinyshakespeare("validation") + tinyshakespeare("test")))
    cut = len(ids) * 9 // 10
    held_out = {
        order: float(KneserNey(len(tokenizer), order=order).fit([ids[:cut]]).nats(ids[cut:]).mean()) for order in ORDERS
    }
    best = min(held_out, key=lambda order: held_out[order])
    nats = float(KneserNey(len(tokenizer), order=best).fit([ids]).nats(test_ids).mean())
    return {
        "held_out": {str(order): value for order, value in held_out.items()},
        "order": best,
        "nats_per_character": nats,
        "bits_per_character": nats / math.log(2),
        "characters": len(test_ids),
    }

"""How many 4-grams Shakespeare repeats in each passage of 16b_shakespeare, with and without the speakers' names.

A speaker's name is a line between an empty line and a colon. Pieces that hold a part of one are left out of the second
count. Nothing is trained or chosen.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from plm_chapters.experiments import story_generation as stories
from plm_chapters.notebook import load_experiment
from plm_core.data.datasets import tinyshakespeare
from plm_core.data.tokenizer_training import train_bpe

VARIANTS = ["passages"]
SEEDS = [0]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """The share of repeated 4-grams of each passage, in both ways."""
    main = load_experiment("16b_shakespeare")
    pieces = train_bpe([tinyshakespeare("train")], vocab_size=main.VOCABULARY)
    held_out = np.array(pieces.encode(tinyshakespeare("validation") + tinyshakespeare("test")))
    found: dict[str, list[float]] = {"as it stands": [], "without the speakers' names": []}
    for before, own in zip(*main.passages(held_out), strict=True):
        texts = [pieces.decode([token]) for token in (*before, *own)]
        whole, ends_at = "".join(texts), np.cumsum([len(text) for text in texts])
        named = np.zeros(len(whole), bool)
        for name in re.finditer(r"\n\n[A-Z][A-Za-z ']+:\n", whole):
            named[name.start() : name.end()] = True
        ending = zip(own, texts[len(before) :], ends_at[len(before) :], strict=True)
        spoken = [str(token) for token, text, end in ending if not named[end - len(text) : end].any()]
        found["as it stands"].append(stories.repeated([str(token) for token in own]))
        found["without the speakers' names"].append(stories.repeated(spoken))
    return found

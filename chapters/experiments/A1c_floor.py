"""Is StoryWorld's floor reached? A 5-gram, an LSTM and Transformers of three sizes after the same number of words.

The criterion, set before the runs: a Transformer of at most 5 M parameters reaches a mean excess over the ideal reader
of at most 0.02 nats a word on 300 test stories, in each of three seeds. A seed decides the training stories, their
order and the initial weights. The learning rates are those of the stored sweep (A1b_rates).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plm_chapters.experiments import storyworld_models as models
from plm_chapters.experiments.A1b_rates import NETWORKS, best_rate
from plm_core.storyworld import StoryWorld

IN_CHINESE = "Transformer, 0.8 M, in Chinese"
VARIANTS = ["5-gram", *NETWORKS, IN_CHINESE]
SEEDS = [0, 1, 2]

TOKENS = {"laptop": 20_000_000, "gpu": 100_000_000}
TEST_STORIES, VALID_STORIES = 300, 150


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Train one model and score it by skill; the run goes on from its last checkpoint."""
    network = variant.removesuffix(", in Chinese")
    world = StoryWorld(lexicon="small", language="zh" if variant == IN_CHINESE else "en")
    return models.result_of(
        network,
        world,
        seed,
        tokens=TOKENS[preset],
        rate=0.0 if network == "5-gram" else best_rate(network, preset),
        folder=folder,
        test=TEST_STORIES,
        valid=VALID_STORIES,
    )

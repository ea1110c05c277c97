"""The learning rate of every kind of network that reads StoryWorld: each has its own sweep, on validation stories.

The criterion is the mean excess over the ideal reader on validation stories after a short run; :func:`best_rate` takes
the rate with the least. A best rate at the edge of the sweep is an error: the sweep has to grow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plm_chapters.experiments import storyworld_models as models
from plm_chapters.notebook import load_results
from plm_core.evaluation.skills import by_model, read_ideally
from plm_core.storyworld import StoryWorld

NETWORKS = ["LSTM", *(f"Transformer, {size}" for size in models.TRANSFORMERS)]
RATES = [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2]
VARIANTS = [f"{network}: {rate:g}" for network in NETWORKS for rate in RATES]
SEEDS = [100]

TOKENS = {"laptop": 1_500_000, "gpu": 3_000_000}
VALID_STORIES = 150


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Train one network at one rate and score it on validation stories."""
    network, rate = variant.split(": ")
    world = StoryWorld(lexicon="small", language="en")
    documents = models.training_documents(world, seed, TOKENS[preset])
    model = models.make_model(network, len(world.vocabulary), seed)
    models.train(model, documents, rate=float(rate), seed=seed, folder=folder, points=4)
    stories = list(world.stories(0, "valid", VALID_STORIES))
    return {"skills": models.scores(read_ideally(stories), by_model(model, world.vocabulary)(stories))}


def best_rate(network: str, preset: str = "laptop") -> float:
    """The rate with the least excess in the stored sweep.

    Raises:
        ValueError: the best rate lies at the edge of the sweep.
    """
    excess = {
        float(each["variant"].split(": ")[1]): each["skills"]["all"]["excess"]
        for each in load_results("A1b_rates", preset)["runs"]
        if each["variant"].startswith(network + ": ")
    }
    best = min(excess, key=excess.__getitem__)
    if best in (min(excess), max(excess)):
        raise ValueError(f"the best rate of {network}, {best:g}, lies at the edge of its sweep: widen RATES")
    return best

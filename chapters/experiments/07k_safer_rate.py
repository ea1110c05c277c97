"""Post-norm on real text at the rate below its best one, where all seeds may learn.

Model, text, steps, seeds and scores are those of 07e. There, at the best rate of its sweep, one of eight seeds of
"post, scaled" and two of "post" hardly learned at all, so that no comparison with them decided anything. Criterion, set
after that was seen and before these runs: post-norm is behind at its safer rate if all seeds end below 3 nats and the
99 % interval of the difference to "pre, scaled" at its own best rate, paired by seed, lies above zero; and scaling
helps post-norm if the interval of "post" minus "post, scaled" does, both at the safer rate.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from plm_core.runtime import setup

real_text = importlib.import_module("plm_chapters.experiments.07e_real_text")

VARIANTS = ["post, scaled", "post"]
SEEDS = [0]
RATE = 4e-3


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """The test loss of each seed of 07e, in nats a character."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    models = [real_text.train(variant, each, RATE) for each in real_text.MODEL_SEEDS]
    return {"rate": RATE, "test": [real_text.evaluate(model, "test") for model in models]}

"""StoryWorld's sentences from English to Chinese, trained four times as long: how near to the ceiling?

The arm "encoder-decoder" of 08_encoder_decoder, with the same pairs, LONGER times its steps, and three rates or more
with a seed of its own, for all of these steps, by the loss on unseen validation sentences; then three other seeds at
the best rate.

Criterion, set before the run: the share of exact matches on unseen test sentences, averaged over seeds, is above 95 %
of the ceiling, the share of these sentences that say all that their translation needs.
"""

from __future__ import annotations

from typing import Any

import torch

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.notebook import load_experiment, load_results
from plm_core.runtime import setup

translation = load_experiment("08_encoder_decoder")

VARIANTS = ["encoder-decoder"]
SEEDS = [0]
"""The seeds of the weights are inside a run."""
LONGER = 4


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rates of the long training, then train with each of the seeds of the short one."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    short = {each["variant"]: each for each in load_results("08_encoder_decoder", preset)["runs"]}[variant]
    steps = LONGER * translation.STEPS

    def loss(rate: float) -> float:
        return translation.fit(variant, rate=rate, seed=100, steps=steps)[1][-1][1]

    swept = sweep(loss, [short["rate"] / 4, short["rate"] / 2, short["rate"]], factor=2, further=2)
    rate = best_rate(swept)
    trained = [translation.fit(variant, rate=rate, seed=each, steps=steps) for each in translation.MODEL_SEEDS]
    return {
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "curve": [curve for _, curve, _ in trained],
        "seconds of training": [seconds for _, _, seconds in trained],
        "scores": [translation.scores(variant, model) for model, _, _ in trained],
        "unseen": len(translation.unseen("test")),
        "undecided": sum(map(translation.is_undecided, translation.unseen("test"))),
    }

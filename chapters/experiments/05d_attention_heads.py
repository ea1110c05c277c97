"""One head against two, with the same parameters, on a question that holds two names, in order.

The rate of each is the best of five or more that ``05a_attention_rates`` tried for all 1,600 steps, on a seed that is
used for nothing else. The criterion, set before these runs: the arms are compared after 400 steps and after 1600. The
step 400 was found by looking at earlier runs with the seeds 0 to 2; the seeds here are others. One arm is ahead at a
step if the interval of the paired differences, seed by seed, does not hold zero: 97.5 % (Student), for there are two
comparisons. An earlier version ran the same seeds with both arms at rate 0.003, from a coarser and shorter sweep.
"""

from __future__ import annotations

from typing import Any

from plm_chapters.experiments import phone_book
from plm_chapters.notebook import load_results
from plm_core.runtime import setup

VARIANTS: list[str] = phone_book.HEADS
SEEDS = [3, 4, 5, 6]
COMPARED_AT = (400, 1600)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one arm at its best rate."""
    rt = setup(seed=seed, preset=preset)
    sweep = next(run["accuracy"] for run in load_results("05a_attention_rates")["runs"] if run["variant"] == variant)
    rate = float(max(sweep, key=lambda rate: sweep[rate]))
    model, history = phone_book.train(variant, rt, rate=rate)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    final = phone_book.accuracy(model, rt, examples=8192)
    return {"rate": rate, **history, "final_accuracy": final, "parameters": parameters}

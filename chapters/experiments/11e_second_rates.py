"""The second stage at a rate of its own, where it ended worse than one from initial weights.

11_curriculum found that C ends worse after a stage of M or of R, and M after a stage of R, than from initial weights.
The rates of its second stages had been swept in orders of three stages, together with those of the third, and not for
every pair. So it remained open whether the earlier stage or the rate did the harm.

Here each of these pairs has a sweep: the first stage at the rate of 11a_stage_rates, the second at five rates or more,
with a seed of its own, by the loss of its objective on validation stories. With the best rate the pair is trained once
for each of the seeds TRAINED, whose stories and initial weights are those of 11_curriculum.

Criterion, set before the run: a pair does harm if the loss of its second objective on test stories is above that of
one stage from initial weights, trained by 11_curriculum at a rate swept in the same way, with every one of the seeds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments import stage_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.notebook import load_results
from plm_core.evaluation.validation import validate
from plm_core.models.pair_head import BertWithPairs
from plm_core.runtime import setup

VARIANTS = ["RM", "RC", "MC"]
SEEDS = [100]
TRAINED = [0, 1, 2]
FACTORS = [0.125, 0.25, 0.5, 1.0, 2.0]
"""Of the rate of the second objective from initial weights, to begin with."""


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep the rate of the second stage, and train with the best one."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    rate_of = {each["variant"]: each["rate"] for each in load_results("11a_stage_rates", preset)["runs"]}
    texts, before, after = runs.storyworld(), variant[0], variant[1]

    def trained(seed: int, rate: float) -> BertWithPairs:
        first = texts.stage(before, 0, rate=rate_of[before], seed=seed)
        begun = folder / f"{before}, seed {seed}"
        runs.run_stages(texts.build(seed), [first], begun, seed=seed)
        second = texts.stage(after, 1, rate=rate, seed=seed)
        return runs.run_stages(
            texts.build(seed), [first, second], folder / f"{rate:.6f}, seed {seed}", seed=seed, begun=begun
        )

    def measure(rate: float) -> float:
        model = trained(seed, rate)
        return validate(model, runs.OBJECTIVES[after](), texts.held_out(after, "valid"))["loss"]

    swept = sweep(measure, [rate_of[after] * factor for factor in FACTORS], factor=2, further=3)
    rate = best_rate(swept)
    return {
        "rate": rate,
        "sweep": {f"{each:.3g}": swept[each] for each in sorted(swept)},
        "losses": {str(each): texts.losses(trained(each, rate))[after] for each in TRAINED},
    }

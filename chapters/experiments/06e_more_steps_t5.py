"""T5's bias with ``max_distance`` 24 with twice the training: the scheme that misses a criterion of 06 most narrowly.

With 2,000 steps its accuracy on near questions at 128 events lay 6 points below that at 32, with an interval from 8 to
4; to *carry over*, all of the interval must lie above -5. Task, tests, rate, seeds, criteria and correction are those
of the experiments 06b and 06d.
"""

from __future__ import annotations

import torch

from plm_chapters.experiments.position_recall import (
    MODEL_SEEDS,
    STEPS,
    build,
    score_everywhere,
    score_rule_everywhere,
    train,
)
from plm_core.runtime import Preset

RATES = {"t5_near": 6.4e-2}
"""The learning rate that the sweep of 06b chose."""

VARIANTS = list(RATES)
SEEDS = [0]


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Train five models side by side for twice the steps and test them. All presets are alike."""
    torch.set_num_threads(1)
    models = build(variant, MODEL_SEEDS)
    losses = train(models, [RATES[variant]] * len(models), seeds=MODEL_SEEDS, steps=2 * STEPS)
    return {
        "steps": 2 * STEPS,
        "rate": RATES[variant],
        "model_seeds": MODEL_SEEDS,
        "losses": [[round(loss, 4) for loss in row] for row in losses.view(-1, 20, len(models)).mean(1).T.tolist()],
        "test": score_everywhere(models, MODEL_SEEDS),
        "majority": score_rule_everywhere(MODEL_SEEDS),
    }

"""The recall task of the experiment 06 with twice the training, and truncation that keeps the true positions.

Two questions that 06 and 06b leave open. Task, model, tests and learning rates are theirs: a rate is the one that the
scheme's sweep chose there, and it is not swept again.

1. ``rope``, ``none``, ``transformer_xl`` and ``alibi`` are trained for 4,000 steps instead of 2,000, five seeds each.
   Does a scheme meet a criterion of 06 that it did not meet with 2,000 steps, or fail one that it met?
2. Truncation cuts the stream to its last 32 events and so changes the positions of those, too. ``learned`` and
   ``sinusoidal`` are trained for 2,000 steps as in 06 and 06b, with the same seeds, and read the last 32 events at
   their positions in the whole stream. The other schemes add nothing to the input and see distances only: for them
   both truncations are the same computation.

Criteria, fixed before the runs: those of 06, with the same correction for 36 comparisons. Question 1 repeats 16
of them, four for each scheme. In question 2 a scheme *gains* if the interval of its accuracy on all questions with
whole streams minus that with truncated streams at their true positions lies above zero. With RoPE, single pairs of
columns are tested again as in 06.
"""

from __future__ import annotations

import torch

from plm_chapters.experiments.position_recall import (
    LENGTHS,
    MODEL_SEEDS,
    STEPS,
    build,
    score,
    score_everywhere,
    score_rule_everywhere,
    train,
)
from plm_chapters.experiments.position_runs import score_pairs
from plm_core.runtime import Preset

RATES = {
    "rope": 1.6e-2,
    "none": 4e-3,
    "transformer_xl": 1.6e-2,
    "alibi": 1.6e-2,
    "learned": 8e-3,
    "sinusoidal": 1.6e-2,
}
"""The learning rate of each scheme: what the sweeps of 06 and 06b chose."""

VARIANTS = list(RATES)
SEEDS = [0]


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Train five models side by side and test them. All presets are alike."""
    torch.set_num_threads(1)
    absolute = variant in ("learned", "sinusoidal")
    steps = STEPS if absolute else 2 * STEPS
    models = build(variant, MODEL_SEEDS)
    losses = train(models, [RATES[variant]] * len(models), seeds=MODEL_SEEDS, steps=steps)
    result: dict[str, object] = {
        "steps": steps,
        "rate": RATES[variant],
        "model_seeds": MODEL_SEEDS,
        "losses": [[round(loss, 4) for loss in row] for row in losses.view(-1, 20, len(models)).mean(1).T.tolist()],
        "test": score_everywhere(models, MODEL_SEEDS),
        "majority": score_rule_everywhere(MODEL_SEEDS),
    }
    if absolute:
        result["kept"] = score(models, LENGTHS[-1], seeds=MODEL_SEEDS, truncate=True, keep_positions=True)
    if variant == "rope":
        result["pairs"] = score_pairs(models, MODEL_SEEDS)
    return result

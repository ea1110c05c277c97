"""Five more position schemes on the recall task of the experiment 06: those whose parameters are learned.

They are learned positions, Shaw's vectors, T5's bias with its usual buckets and with the last bucket inside the
trained length, and the relative positions of Transformer-XL. Task, steps, tests and criteria are those of the
experiment 06.
"""

from __future__ import annotations

from plm_chapters.experiments.position_runs import run_scheme
from plm_core.runtime import Preset

VARIANTS = ["transformer_xl", "learned", "shaw", "t5", "t5_near"]
SEEDS = [0]


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Sweep, train five models, test them; see :func:`run_scheme`. All presets are alike."""
    return run_scheme(variant)

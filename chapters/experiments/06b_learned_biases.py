"""One more position scheme on the recall task of the experiment 06, with a learned relative bias: Transformer-XL.

Task, steps and criteria are those of the experiment 06.
"""

from __future__ import annotations

from plm_chapters.experiments.position_recall import run_scheme
from plm_core.runtime import Preset

VARIANTS = ["transformer_xl"]
SEEDS = [0]


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Sweep, train five models, test them; see :func:`run_scheme`. All presets are alike."""
    return run_scheme(variant, seed)

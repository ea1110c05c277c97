"""The learning rate of each way to pretrain a small BERT, for 10_masked_language_modelling.

Each arm is trained for STEPS steps with a seed of its own, at five rates or more. The shorter training may prefer a
larger rate than the longer one would. The rate is chosen on validation stories by what the arm is asked, the second
task included; of the masked words only those count at which [MASK] stands, as in a gap.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from plm_chapters.experiments.masked_stories import load, rows_of
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.batches import MaskedPairBatches
from plm_core.data.masking import MaskingConfig
from plm_core.evaluation.validation import validate
from plm_core.runtime import setup

arms = importlib.import_module("plm_chapters.experiments.10_masked_language_modelling")

VARIANTS = [variant for variant in arms.VARIANTS if variant != "untrained"]
SEEDS = [100]
STEPS = 600
RATES = [1.25e-3, 2.5e-3, 5e-3, 1e-2, 2e-2]
GAPS = MaskingConfig(mask_share=1.0, random_share=0.0)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rate of an arm."""
    rt = setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    data = load(rt)
    objective, source = arms.batches_of(variant, data.valid, rt)
    masker = arms.make_masker(data.tokenizer, GAPS, seed=seed)
    if isinstance(source, MaskedPairBatches):
        source.masker = masker
        asked = source.in_order()
    else:
        asked = arms.masked(rows_of(data.valid), data.tokenizer, GAPS, rt).in_order()

    def measure(rate: float) -> float:
        model, _ = arms.pretrain(variant, rt, rate=rate, steps=STEPS)
        return validate(model, objective, asked, device=rt.device)["loss"]

    swept = sweep(measure, RATES, factor=2, further=2)
    return {"rate": best_rate(swept), "sweep": {f"{rate:.3g}": loss for rate, loss in sorted(swept.items())}}

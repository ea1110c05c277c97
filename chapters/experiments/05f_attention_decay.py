"""The comparison of ``05e_attention_size`` with a learning rate that falls to zero, chosen for the end of training.

There the rate is constant and chosen for the whole learning curve, and the accuracy after the last step is compared.
Trials of the table at three rates showed that this costs it accuracy. So both arms are trained once more, on pages of
32 cards and for as many steps, with a rate that falls linearly to zero. It is chosen by the accuracy after the last
step, averaged over four seeds of their own, because at high rates some seeds do not leave chance; of rates that are
equally good, the lowest.

The criterion, set before these runs: the accuracy of *softmax* minus that of *no softmax* on test pages, six seeds, 95
% interval (Student).
"""

from __future__ import annotations

import statistics
from typing import Any

import torch
import torch.nn.functional as F

from plm_chapters.experiments import phone_book
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.runtime import Runtime, seed_everything, setup

VARIANTS: list[str] = phone_book.SIZES
SEEDS = [0]
"""The seeds of training are inside a run."""
RATES = [1e-3 * 2 ** (i / 2) for i in range(1, 7)]
SWEEP_SEEDS, TEST_SEEDS = (100, 101, 102, 103), range(6)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Choose the rate of one arm, and train and measure it at that rate."""
    scores: dict[float, list[float]] = {}

    def loss(rate: float) -> float:
        scores[rate] = [measured(variant, setup(seed=each, preset=preset), rate, 4096) for each in SWEEP_SEEDS]
        return -statistics.mean(scores[rate])

    best = best_rate(sweep(loss, RATES, factor=2**0.5, further=2))
    return {
        "sweep": {f"{rate:.3g}": scores[rate] for rate in sorted(scores)},
        "rate": best,
        "final_accuracy": [measured(variant, setup(seed=each, preset=preset), best, 8192) for each in TEST_SEEDS],
    }


def measured(variant: str, rt: Runtime, rate: float, examples: int) -> float:
    """Train a variant with a rate that falls to zero; the share of right answers on pages that it has not seen."""
    seed_everything(rt.seed)
    model = phone_book.build(variant).to(rt.device)
    generator = torch.Generator().manual_seed(rt.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = phone_book.STEPS[variant]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        *page, answer_B1 = (each.to(rt.device) for each in phone_book.draw_pages(64, model.pairs, generator))
        loss = F.cross_entropy(model(*page)[0][:, 0], answer_B1[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return phone_book.accuracy(model, rt, examples=examples)

"""Readers of the phone book, each trained at the best of several rates."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Literal

from plm_chapters.experiments import phone_book
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.runtime import setup


def tuned(
    variant: str,
    preset: str,
    *,
    rates: Sequence[float],
    seeds: Sequence[int],
    sweep_seeds: Sequence[int] = (100,),
    by: Literal["final", "curve"] = "final",
) -> dict[str, Any]:
    """Choose the rate of a variant on pages and initial weights of their own, and train it at that rate.

    Args:
        variant: one of :data:`phone_book.VARIANTS`.
        preset: ``"laptop"`` or ``"gpu"``; both do the same.
        rates: the rates of the sweep, rising. If the best is at an edge, the sweep goes on by the same ratio, to at
            most two more.
        seeds: of the runs at the best rate.
        sweep_seeds: of the sweep.
        by: what the rate is chosen for: the accuracy after the last step, or its mean over the learning curve, which
            is higher the sooner a model learns.

    Returns:
        The ``sweep`` (scores by rate), the ``rate``, the number of ``parameters``, and the ``runs``: for each seed the
        ``steps`` and ``accuracy`` of its learning curve and the ``final_accuracy`` on pages that neither training nor
        the choice has seen.
    """
    scores: dict[float, list[float]] = {}

    def loss(rate: float) -> float:
        scores[rate] = []
        for seed in sweep_seeds:
            rt = setup(seed=seed, preset=preset)
            model, history = phone_book.train(variant, rt, rate=rate)
            mean = statistics.mean(history["accuracy"])
            scores[rate].append(mean if by == "curve" else phone_book.accuracy(model, rt, examples=4096))
        return -statistics.mean(scores[rate])

    best = best_rate(sweep(loss, rates, factor=rates[1] / rates[0], further=2))
    runs = []
    for seed in seeds:
        rt = setup(seed=seed, preset=preset)
        model, history = phone_book.train(variant, rt, rate=best)
        runs.append({"seed": seed, **history, "final_accuracy": phone_book.accuracy(model, rt, examples=8192)})
    parameters = sum(parameter.numel() for parameter in phone_book.build(variant).parameters())
    return {
        "sweep": {f"{rate:.3g}": scores[rate] for rate in sorted(scores)},
        "rate": best,
        "parameters": parameters,
        "runs": runs,
    }

"""A run of the experiments on the recall task: a scheme's sweep, five seeds, all tests, and RoPE with other angles."""

from __future__ import annotations

import math

import torch

from plm_chapters.experiments.position_recall import (
    HEADS,
    HIDDEN,
    LENGTH,
    LENGTHS,
    MODEL_SEEDS,
    Recall,
    Score,
    build,
    score,
    score_everywhere,
    score_rule_everywhere,
    train,
)
from plm_chapters.experiments.rope_stretching import FACTORS, REPAIRS, ScaledRope
from plm_core.models.counting import num_parameters
from plm_core.models.positions import Rope

RATES = [2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2]
SWEEP_STEPS, SWEEP_SEED = 600, 100


def run_scheme(variant: str) -> dict[str, object]:
    """Sweep the rate, train five models side by side, test them; with RoPE, test them again with other angles."""
    torch.set_num_threads(1)  # at this size more threads only wait for each other
    swept = sweep(variant)
    rate = min(swept, key=swept.__getitem__)
    models = build(variant, MODEL_SEEDS)
    losses = train(models, [rate] * len(models), seeds=MODEL_SEEDS)
    result: dict[str, object] = {
        "parameters": num_parameters(models[0]),
        "rate": rate,
        "sweep": {f"{each:g}": loss for each, loss in sorted(swept.items())},
        "model_seeds": MODEL_SEEDS,
        "losses": [[round(loss, 4) for loss in row] for row in losses.view(-1, 20, len(models)).mean(1).T.tolist()],
        "test": score_everywhere(models, MODEL_SEEDS),
        "majority": score_rule_everywhere(MODEL_SEEDS),
    }
    if variant == "rope":
        result["repairs"] = score_repairs(models)
        result["pairs"] = score_pairs(models, MODEL_SEEDS)
    return result


def with_angles(model: Recall, scheme: Rope) -> Recall:
    """A copy of a model trained with RoPE that turns queries and keys by another scheme's angles."""
    other = Recall(scheme)
    other.load_state_dict(model.state_dict())
    return other.to(next(model.parameters()).device)


def stretched(repair: str, factor: float = LENGTHS[-1] / LENGTH) -> ScaledRope:
    """The angles of the task's heads after a repair; the default factor is that of the lengths."""
    return ScaledRope(HIDDEN // HEADS, repair, factor, trained_length=LENGTH)


def score_repairs(models: list[Recall]) -> dict[str, dict[str, dict[str, Score]]]:
    """Every repair at every factor, on streams of the trained length and on the longest; by ``"repair factor"``."""
    found = {}
    for repair in REPAIRS[1:]:
        for factor in FACTORS:
            copies = [with_angles(model, stretched(repair, factor)) for model in models]
            found[f"{repair} {factor}"] = {
                f"{length}": score(copies, length, seeds=MODEL_SEEDS) for length in (LENGTHS[0], LENGTHS[-1])
            }
    return found


def score_pairs(models: list[Recall], seeds: list[int]) -> dict[str, list[dict[str, Score]]]:
    """The longest streams with the angles of ``only`` one pair interpolated, or of ``all but`` one pair."""
    plain, slow = stretched("as trained").omega, stretched("interpolated").omega
    found: dict[str, list[dict[str, Score]]] = {"only": [], "all but": []}
    for which, (one, others) in {"only": (slow, plain), "all but": (plain, slow)}.items():
        for pair in range(len(plain)):
            scheme = stretched("as trained")
            scheme.omega = [*others[:pair], one[pair], *others[pair + 1 :]]
            found[which].append(score([with_angles(model, scheme) for model in models], LENGTHS[-1], seeds=seeds))
    return found


def sweep(variant: str) -> dict[float, float]:
    """The final loss of each learning rate, with fewer steps; the best is never at the edge."""
    found: dict[float, float] = {}
    wanted = list(RATES)
    while wanted:
        seeds = [SWEEP_SEED] * len(wanted)
        losses = train(build(variant, seeds), wanted, seeds=seeds, steps=SWEEP_STEPS)
        found |= dict(zip(wanted, losses[-50:].mean(0).nan_to_num(math.inf).tolist(), strict=True))
        best = min(found, key=found.__getitem__)
        wanted = [best / 2] if best == min(found) else [best * 2] if best == max(found) else []
    return {rate: round(loss, 4) for rate, loss in found.items()}

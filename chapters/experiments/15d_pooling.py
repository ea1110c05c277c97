"""What stands for a text in a frozen network: the first state, the pooler, or the mean of all states.

Logistic regression on the frozen vectors of 160 labelled texts, with five seeds of labels. The penalty is chosen for
each kind of vector, of six, by the accuracy on 200 validation texts averaged over the seeds; scored on 500 test texts.
The pooler is a layer on the first state that this model's publishers left in its file.

Criterion, set before the run: "mean" minus each of the two others, on each of two tasks, paired by seed: four intervals
of 1 - 0.05 / 4 (Student's t); a difference counts if its interval does not contain zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from plm_chapters.experiments import fine_tuning_runs as runs
from plm_core.models.heads import pool_states, sequence_classifier
from plm_core.runtime import setup

VARIANTS = ["TREC", "polarity"]
SEEDS = [0]
"""The seeds of the labels are inside."""
KINDS = ["first", "pooler", "mean"]
COUNT = 160


@torch.no_grad()
def vectors(texts: runs.Texts) -> dict[str, Tensor]:
    """The three kinds of vectors of each text, (N, D) each."""
    model = source_model()
    found: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
    for batch in runs.batches(texts, size=50).in_order():
        x_BTD = model.encoder(batch["input_ids"], attention_mask=batch["attention_mask"])
        found["first"].append(x_BTD[:, 0])
        found["pooler"].append(model.pooler(x_BTD))
        found["mean"].append(pool_states(x_BTD, batch["attention_mask"], "mean"))
    return {kind: torch.cat(each).double() for kind, each in found.items()}


def source_model() -> Any:
    """The pretrained network with its pooler, in evaluation mode."""
    return sequence_classifier(runs.source()[0], 2, pooling="pooler").eval()


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Compare the kinds of vectors on one task."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    classes = len(runs.classes(variant))
    labelled = {each: runs.labelled(variant, COUNT, each) for each in runs.MODEL_SEEDS}
    of_labelled = {each: vectors(texts) for each, texts in labelled.items()}
    parts = {split: runs.part(variant, split) for split in ("validation", "test")}
    of_part = {split: vectors(texts) for split, texts in parts.items()}

    def accuracy(kind: str, each: int, strength: float, split: str) -> float:
        model = runs.VectorRegression(of_labelled[each][kind], labelled[each][1], classes, strength)
        return float((model.predict(of_part[split][kind]) == torch.tensor(parts[split][1])).double().mean())

    found: dict[str, Any] = {"majority": runs.majority(variant)}
    for kind in KINDS:
        tried = {
            strength: float(np.mean([accuracy(kind, each, strength, "validation") for each in runs.MODEL_SEEDS]))
            for strength in runs.STRENGTHS
        }
        best = max(tried, key=tried.__getitem__)
        found[kind] = {
            "strength": best,
            "validation": {f"{strength:g}": value for strength, value in tried.items()},
            "accuracy": [accuracy(kind, each, best, "test") for each in runs.MODEL_SEEDS],
        }
    return found

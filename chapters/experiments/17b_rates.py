"""Before the comparison of 17_evaluation: the learning rates of its two arms, the bag of words, and a leak.

"rates plain", "rates mended": each arm trained with seed 100, which is used for nothing else, at five or more learning
rates; the rate with the lowest mean cross-entropy on the validation sentences, all of them unchanged reviews, is the
arm's. If it is the lowest or the highest that was tried, the sweep goes on, by at most two rates.

"words": the bag of words, trained on the sentences of "plain", at the strength that is best on validation sentences.

"leak": the bag of words again, with half of the test sentences and their labels added to its training, either as they
are or reworded (up to three pairs of letters swapped and up to three letters dropped in each). Scored on the half that
leaked and on the half that did not. Criterion, set before the run: the leak raises the score if the accuracy on the
leaked half rises by more than on the other half, with p < 0.05 by a permutation of which sentences leaked (two tests,
Holm). Beside it, what the check for shared 8-grams finds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from plm_chapters.experiments.film_reviews import (
    Labelled,
    dropped,
    examine,
    fine_tuned,
    labels,
    positive_logits,
    sentences,
    training_set,
)
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.evaluation.bag_of_words import BagOfWords, words_of
from plm_core.evaluation.contamination import overlaps
from plm_core.evaluation.robustness import typos

VARIANTS = ["rates plain", "rates mended", "words", "leak"]
SEEDS = [0]
SWEEP_SEED = 100
RATES = [5e-5, 1e-4, 2e-4, 4e-4, 8e-4]
STRENGTHS = [0.3, 1.0, 3.0, 10.0, 30.0]
DRAWS = 10_000


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One sweep, or one group of bags of words."""
    torch.set_num_threads(1)
    if variant == "words":
        bag, strengths = bag_of(training_set("plain", seed))
        return {"labels": labels(), "logits": examine(bag), "strengths": strengths}
    if variant == "leak":
        return leak()
    arm = variant.removeprefix("rates ")

    def loss(rate: float) -> float:
        model = fine_tuned(training_set(arm, SWEEP_SEED), rate=rate, seed=SWEEP_SEED)
        return cross_entropy(positive_logits(model), sentences("valid"))

    losses = sweep(loss, RATES, factor=2.0, further=2)
    return {"losses": {f"{rate:g}": value for rate, value in sorted(losses.items())}, "best": best_rate(losses)}


def cross_entropy(logits: Any, examples: Labelled) -> float:
    """Mean cross-entropy in nats."""
    found = torch.tensor(logits([text for text, _ in examples]))
    return float(F.binary_cross_entropy_with_logits(found, torch.tensor([float(label) for _, label in examples])))


def bag_of(examples: Labelled) -> tuple[Any, dict[str, float]]:
    """The logits of the best bag of words on some examples, and the validation losses of all."""
    bags = {}
    for strength in STRENGTHS:
        bag = BagOfWords([text for text, _ in examples], [label for _, label in examples], 2, strength=strength)
        bags[strength] = lambda texts, bag=bag: (bag.logits(texts)[:, 1] - bag.logits(texts)[:, 0]).tolist()
    losses = {strength: cross_entropy(bag, sentences("valid")) for strength, bag in bags.items()}
    return bags[best_rate(losses)], {f"{strength:g}": loss for strength, loss in losses.items()}


def leak() -> dict[str, Any]:
    """Scores with and without test sentences in training, on those that leaked and on the others."""
    test, train = sentences("test"), training_set("plain", 0)
    leaked_N = np.random.default_rng(0).permutation(len(test)) < len(test) // 2
    leaked = [each for each, inside in zip(test, leaked_N, strict=True) if inside]
    swap, drop = typos(3, seed=3), dropped(3, seed=3)
    changed = [(drop(swap(text) or text) or text, label) for text, label in leaked]
    ways = {"nothing": train, "as they are": train + leaked, "reworded": train + changed}
    right, found = {}, {}
    for name, examples in ways.items():
        bag, _ = bag_of(examples)
        values = np.array(bag([text for text, _ in test]))
        right[name] = (values > 0) == np.array([label for _, label in test])
        shared = overlaps([words_of(text) for text, _ in test], [words_of(text) for text, _ in examples], n=8)
        flagged_N = np.array([each.found > 0 for each in shared])
        found[name] = {
            "leaked half": float(right[name][leaked_N].mean()),
            "other half": float(right[name][~leaked_N].mean()),
            "8-grams of leaked half": float(flagged_N[leaked_N].mean()),
            "8-grams of other half": float(flagged_N[~leaked_N].mean()),
            "too short for one": float(np.mean([each.ngrams == 0 for each in shared])),
        }
    for name in ("as they are", "reworded"):
        rise_N = right[name].astype(float) - right["nothing"]
        gap = rise_N[leaked_N].mean() - rise_N[~leaked_N].mean()
        generator, as_large = np.random.default_rng(1), 0
        for _ in range(DRAWS):
            drawn_N = generator.permutation(leaked_N)
            as_large += abs(rise_N[drawn_N].mean() - rise_N[~drawn_N].mean()) >= abs(gap) - 1e-12
        found[name] |= {"extra rise": float(gap), "p": float((1 + as_large) / (1 + DRAWS))}
    return found

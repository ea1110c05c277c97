"""MiniLM fine-tuned on short sentences of film reviews, plainly and mended, and its answers to thousands of texts.

"plain" is trained once through 1,280 review sentences (40 batches of 32); the upper three of six layers and the head
learn. "mended" sees as many texts: a quarter of them is templates with and without "not", and half of the others have
three pairs of letters swapped. Rates: 17b_rates, chosen for each arm. The two arms share sentences and, seed by seed,
the head's initial weights. What is stored is the logit of "positive" minus that of "negative" for every text, from
which the chapter computes everything.

Criterion, set before the runs. Five seeds; the differences mended minus plain are paired by seed, and an effect is
claimed if its interval (Student's t, four degrees of freedom) excludes zero. Five comparisons are made, and each
interval has 99 %, which makes 95 % together (Bonferroni): accuracy on the unchanged test, the share of answers that
change with swapped letters (trained with), with dropped letters (not trained with), the error rate on negated templates
of the trained form with new words, and on other forms of negation with these words. All else is description.
"""

from __future__ import annotations

from typing import Any

import torch

from plm_chapters.experiments.film_reviews import examine, fine_tuned, positive_logits, training_set
from plm_chapters.notebook import load_results

VARIANTS = ["plain", "mended"]
SEEDS = [0, 1, 2, 3, 4]


def rate_of(arm: str) -> float:
    """The arm's rate by its sweep."""
    runs = {each["variant"]: each for each in load_results("17b_rates")["runs"]}
    return runs[f"rates {arm}"]["best"]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one model and write down its answers."""
    torch.set_num_threads(1)
    model = fine_tuned(training_set(variant, seed), rate=rate_of(variant), seed=seed)
    return {"rate": rate_of(variant), "logits": examine(positive_logits(model))}

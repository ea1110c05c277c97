"""How far a linear rule comes at next-sentence and at sentence-order prediction, without any network.

Logistic regression (scikit-learn) on which words the first and the second segment have, on every pair of a word of the
first with a word of the second, and on which words follow each other within either segment. It is fitted on as many
pairs as the heads of 10_masked_language_modelling are trained on, drawn as for seed 0 there; the strength of the
penalty is chosen on the validation pairs, and what is reported is measured on the test pairs, both those of that
experiment.

Added after the heads had been seen: the only rule for order until then counted words in 2,000 pairs.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import scipy.sparse  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from plm_chapters.experiments.masked_stories import CONTEXT, load
from plm_core.data.sentence_pairs import SentencePair, SentencePairs, Task
from plm_core.runtime import setup

arms = importlib.import_module("plm_chapters.experiments.10_masked_language_modelling")

VARIANTS: list[Task] = ["next_sentence", "sentence_order"]
SEEDS = [0]
STRENGTHS = [0.001, 0.003, 0.01, 0.03, 0.1]
"""Inverse strengths of the penalty, scikit-learn's C."""


def features(pairs: list[SentencePair], size: int) -> scipy.sparse.csr_matrix:
    """One row for each pair: 1 where a word, a pair of words or a run of two words occurs."""
    columns, ends = [], [0]
    for pair in pairs:
        first, second = np.unique(pair.first), np.unique(pair.second)
        runs = [np.asarray(side)[:-1] * size + np.asarray(side)[1:] for side in (pair.first, pair.second)]
        groups = [(first[:, None] * size + second).ravel(), *runs]
        shifted = [group + number * size**2 for number, group in enumerate(groups)]
        found = np.unique(np.concatenate([*shifted, 3 * size**2 + first, 3 * size**2 + size + second]))
        columns.append(found)
        ends.append(ends[-1] + len(found))
    shape = len(pairs), 3 * size**2 + 2 * size
    return scipy.sparse.csr_matrix((np.ones(ends[-1], np.float32), np.concatenate(columns), ends), shape=shape)


def run(variant: Task, seed: int, preset: str) -> dict[str, Any]:
    """The accuracy of the rule on validation pairs at each strength, and on test pairs at the best."""
    rt = setup(seed=seed, preset=preset)
    data = load(rt)
    source = SentencePairs(data.train, max_tokens=CONTEXT - 3, task=variant, seed=seed)
    wanted = arms.STEPS * 16
    train = [source.pair(number % len(source), epoch=number // len(source)) for number in range(wanted)]
    parts = {
        "train": train,
        "valid": arms.make_pairs(data.valid, variant, most=arms.PAIRS["valid"]),
        "test": arms.make_pairs(arms.test_documents(rt), variant, most=arms.PAIRS["test"]),
    }
    x = {name: features(pairs, data.tokenizer.vocab_size) for name, pairs in parts.items()}
    y = {name: np.array([pair.label for pair in pairs]) for name, pairs in parts.items()}
    valid, test = {}, {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, solver="liblinear").fit(x["train"], y["train"])
        valid[strength] = float(model.score(x["valid"], y["valid"]))
        test[strength] = float(model.score(x["test"], y["test"]))
    best = max(valid, key=lambda each: valid[each])
    sizes = {name: len(pairs) for name, pairs in parts.items()}
    return {"strength": best, "valid": valid, "accuracy": test[best], "pairs": sizes}

"""Do changed copies of the labelled texts help, where labels are few? Words that change places or are left out.

TREC's questions, with the network, texts, seeds and recipe of :mod:`~plm_chapters.experiments.fine_tuning_runs`. Of the
four operations of Wei and Zou (2019) the two that need no dictionary: a copy has, with equal probability, pairs of
words that change places, one for each 1 / SHARE words of the text, or each word left out with probability SHARE; marks
stay. The labelled texts and as many copies as make TEXTS in all are trained on in place of the labelled texts alone.

- "fine-tuned": all weights, 40 steps of 16 texts, so that each of the TEXTS, not all of which differ, is read once,
  where without copies each of 160 labelled texts is read four times, and each of 40 thirteen or fourteen times. SHARE
  of three and then the learning rate are
  chosen with 160 labels by the loss on 200 validation texts with seed 0, as for "full" of 15_fine_tuning.
- "words and pairs": the regression of 15e_rivals. SHARE and penalty are chosen together for each number of labels, as
  there by the accuracy on 200 validation texts averaged over the seeds.

Criterion, set before the run: each arm with copies minus the same arm without (15_fine_tuning, "TREC, full", and
15e_rivals, "TREC, words and pairs"), with 40 and with 160 labels: four differences of test accuracy, paired by seed,
with intervals of 1 - 0.05 / 4 (Student's t); a difference counts if its interval does not contain zero.
"""

from __future__ import annotations

import importlib
import math
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_chapters.experiments import fine_tuning_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.evaluation.bag_of_words import BagOfWords
from plm_core.runtime import setup
from plm_core.training.gradients import DivergedError

TASK = "TREC"
VARIANTS = ["words and pairs", "fine-tuned"]
SEEDS = [0]
"""The seeds of the runs are inside."""
COUNTS = [40, 160]
TEXTS = runs.STEPS * runs.BATCH
"""Texts with their copies: one for each place in the batches of a run."""
SHARES = [0.05, 0.1, 0.2]
FIRST_RATE = 3e-4
"""The rate at which the share is chosen: that of "full" without copies."""
RATES = [3e-5, 1e-4, 3e-4, 1e-3, 3e-3]


def changed(text: str, share: float, draw: random.Random) -> str:
    """A copy of a text with words swapped or left out."""
    words = text.split()
    places = [place for place, word in enumerate(words) if any(sign.isalnum() for sign in word)]
    if draw.random() < 0.5:
        for _ in range(max(1, round(share * len(places)))) if len(places) > 1 else ():
            one, other = draw.sample(places, 2)
            words[one], words[other] = words[other], words[one]
        return " ".join(words)
    gone = {place for place in places if draw.random() < share}
    if len(gone) == len(places):
        gone.discard(draw.choice(places))
    return " ".join(word for place, word in enumerate(words) if place not in gone)


def with_copies(texts: runs.Texts, share: float, seed: int) -> runs.Texts:
    """Texts and their changed copies, equally many of each text, TEXTS in all."""
    draw = random.Random(f"copies {seed}")
    many = TEXTS // len(texts[0])
    made = [[text, *(changed(text, share, draw) for _ in range(many - 1))] for text in texts[0]]
    return [copy for copies in made for copy in copies], [number for number in texts[1] for _ in range(many)]


def measure(count: int, share: float, rate: float, seed: int, on: str) -> dict[str, float]:
    """Fine-tune on so many labelled texts and their copies, and score on a part."""
    model = runs.new_model(len(runs.classes(TASK)), seed=seed)
    texts = with_copies(runs.labelled(TASK, count, seed), share, seed)
    try:
        told = runs.train(model, texts, rate=rate, seed=seed)
    except DivergedError:
        return {"loss": math.inf, "accuracy": math.nan}
    return runs.score(model, runs.part(TASK, on)) | told


def fine_tuned(folder: Path) -> dict[str, Any]:
    """Choose share and rate, then train with each seed."""
    kept = importlib.import_module("plm_chapters.experiments.15_fine_tuning").Kept(folder)

    def at(count: int, share: float, rate: float, seed: int, on: str) -> dict[str, float]:
        name = f"{count} {share} {rate:.2g} {seed} {on}"
        return dict(kept.get(name, partial(measure, count, share, rate, seed, on)))

    by_share = {each: at(runs.SWEPT_AT, each, FIRST_RATE, 0, "validation")["loss"] for each in SHARES}
    share = min(by_share, key=by_share.__getitem__)
    swept = sweep(
        lambda rate: at(runs.SWEPT_AT, share, rate, 0, "validation")["loss"], RATES, factor=10**0.5, further=3
    )
    rate = best_rate(swept)
    tested = {count: [at(count, share, rate, each, "test") for each in runs.MODEL_SEEDS] for count in COUNTS}
    return {
        "share": share,
        "shares": {str(each): loss for each, loss in by_share.items()},
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "accuracy": {str(count): [each["accuracy"] for each in found] for count, found in tested.items()},
        "loss": {str(count): [each["loss"] for each in found] for count, found in tested.items()},
    }


def words_and_pairs() -> dict[str, Any]:
    """Choose share and penalty for each number of labels, then score on the test texts."""
    found: dict[str, Any] = {"accuracy": {}, "chosen": {}, "validation": {}}
    for count in COUNTS:
        tried = {
            (share, strength): float(
                np.mean([accuracy(count, seed, share, strength, "validation") for seed in runs.MODEL_SEEDS])
            )
            for share in SHARES
            for strength in runs.STRENGTHS
        }
        share, strength = max(tried, key=tried.__getitem__)
        found["chosen"][str(count)] = {"share": share, "strength": strength}
        found["validation"][str(count)] = {f"{one} {other:g}": value for (one, other), value in tried.items()}
        found["accuracy"][str(count)] = [accuracy(count, seed, share, strength, "test") for seed in runs.MODEL_SEEDS]
    return found


def accuracy(count: int, seed: int, share: float, strength: float, on: str) -> float:
    """The accuracy of a regression on words and pairs, fitted to labelled texts and their copies."""
    texts, numbers = with_copies(runs.labelled(TASK, count, seed), share, seed)
    tested, true = runs.part(TASK, on)
    model = BagOfWords(list(map(runs.with_pairs, texts)), numbers, len(runs.classes(TASK)), strength=strength)
    told = model.predict(list(map(runs.with_pairs, tested)))
    return sum(one == other for one, other in zip(told, true, strict=True)) / len(true)


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Run one arm with all its seeds."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    told = {"texts": TEXTS, "counts": COUNTS}
    return told | (words_and_pairs() if variant == "words and pairs" else fine_tuned(folder))

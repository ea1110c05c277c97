"""Pretraining in stages on real text: the planned comparisons of 11_curriculum once more, on the Brown corpus.

The trunk, the steps, the batches and the objectives are those of 11_curriculum; the texts are rows of LENGTH tokens of
Brown (1961; lower case, without punctuation), each read once, with a BPE vocabulary of VOCABULARY learned on the
training documents. Training, validation and test rows come from different documents.

Arms: C or M alone for all steps, the three objectives side by side in equal shares, and the four orders that end with C
or with M. Orders with the same beginning share it.

The learning rates are those that 11a_stage_rates and 11b_later_rates found on StoryWorld; they are not swept again, in
any arm. How much that may matter is checked with seed 0: C alone, M alone, and the later stages of RMC and of RCM at
half and at twice the rate, by the loss on validation rows. Where the best of these was at an edge, the check goes on by
factors of two; this was added after the first three had been seen.

Measured on test rows: the loss of each objective; and how often a linear classifier on the frozen trunk tells from
which kind of text a row comes (press, other prose that informs, learned prose, fiction), from 64 or 256 labelled rows.
The labelled rows come from half of the test documents, the rows it is judged on from the other half. Rows of one
document are alike, so that these shares are less certain than their number of rows suggests.

Criterion, set before the run: (a) the loss of C, averaged over the two orders that end with C, and (b) the loss of M,
averaged over the two that end with M, each against the single objective and against the mixture, paired by seed: four
comparisons, the interval of each (Student's t over three seeds) at 98.75 %.
"""

from __future__ import annotations

import random
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_chapters.experiments import stage_runs as runs
from plm_chapters.experiments.sweeps import sweep
from plm_chapters.experiments.word_texts import brown_documents
from plm_chapters.notebook import load_results
from plm_core.data.tokenizer_training import train_bpe
from plm_core.evaluation.probes import fit_linear_probe
from plm_core.evaluation.validation import validate
from plm_core.models.ngram import KneserNey
from plm_core.runtime import setup

ORDERS = ["RMC", "MRC", "CRM", "RCM"]
CHECKED = {"C": "RMC", "M": "RCM"}
FACTORS = [0.5, 1.0, 2.0]
VARIANTS = ["Brown"]
SEEDS = [0, 1, 2]
VOCABULARY, LENGTH = 2000, 126
VALIDATED, TESTED, SCORED = 20, 80, 160
"""Documents for validation and for tests, and rows on which losses are measured."""
LABELS = (64, 256)
ALL = runs.STAGES * runs.STAGE_STEPS
KINDS = {"press": range(88), "informing": range(88, 294), "learned": range(294, 374), "fiction": range(374, 500)}
"""Brown's documents by number, in the order of its letters a to r; the few of humour (r) count as fiction."""


@cache
def documents() -> dict[str, list[int]]:
    """The numbers of the documents of each part, drawn once."""
    order = random.Random(0).sample(range(500), 500)
    ends = VALIDATED, VALIDATED + TESTED
    return {"valid": order[: ends[0]], "test": order[ends[0] : ends[1]], "train": order[ends[1] :]}


def text_of(number: int) -> str:
    """A document as one line of words."""
    return " ".join(word for line in brown_documents()[number] for word, _ in line)


def cut(ids: list[int]) -> list[list[int]]:
    """Rows of LENGTH tokens; what is left at the end is dropped."""
    return [ids[first : first + LENGTH] for first in range(0, len(ids) - LENGTH + 1, LENGTH)]


@cache
def texts() -> runs.Texts:
    """Brown as rows of tokens, framed by special tokens like StoryWorld's stories."""
    tokenizer = train_bpe([text_of(number) for number in documents()["train"]], vocab_size=VOCABULARY)
    assert tokenizer.pad_id == runs.storyworld().tokenizer.pad_id  # the classifier's batches are padded with that one

    def rows(part: str) -> list[list[int]]:
        found = []
        for number in documents()[part]:
            found += cut(tokenizer.encode(text_of(number)))
        return found

    every = rows("train")
    needed = runs.STAGES * runs.STAGE_STEPS * runs.BATCH

    def training(seed: int, stage: int, stages: int) -> list[list[int]]:
        order = random.Random(seed).sample(range(len(every)), min(needed, len(every)))
        size = len(order) // runs.STAGES
        return [every[number] for number in order[stage * size : (stage + stages) * size]]

    def some(part: str) -> list[list[int]]:
        return random.Random(1).sample(rows(part), SCORED)

    return runs.Texts(tokenizer, training, valid=some("valid"), test=some("test"))


@cache
def labelled_rows(half: int) -> tuple[list[list[int]], torch.Tensor]:
    """Rows of one half of the test documents and the numbers of their kinds, in an order drawn once."""
    found = []
    for number in documents()["test"][half::2]:
        kind = next(place for place, members in enumerate(KINDS.values()) if number in members)
        found += [(row, kind) for row in cut(texts().tokenizer.encode(text_of(number)))]
    random.Random(half).shuffle(found)
    return texts().framed([row for row, _ in found]), torch.tensor([kind for _, kind in found])


def word_counts(rows: list[list[int]]) -> torch.Tensor:
    """How often each token stands in each row, (N, V)."""
    size = len(texts().tokenizer)
    return torch.stack([torch.bincount(torch.tensor(row), minlength=size) for row in rows]).float()


def rivals() -> dict[str, Any]:
    """What counting reaches: C by n-grams, kinds of text by a linear classifier on counted tokens, and the majority."""
    seen = texts().framed(texts().training(0, 0, runs.STAGES))
    scored = texts().framed(texts().test)
    counted = {}
    for order in (1, 2, 3, 4):
        model = KneserNey(len(texts().tokenizer), order=order).fit(seen)
        counted[str(order)] = float(np.concatenate([model.nats(row)[1:] for row in scored]).mean())
    (train, labels), (test, truth) = labelled_rows(0), labelled_rows(1)
    bag = {
        str(count): fit_linear_probe(word_counts(train[:count]), labels[:count]).accuracy(word_counts(test), truth)
        for count in LABELS
    }
    majority = int(truth.bincount().max()) / len(truth)
    return {"C by counting": counted, "kinds by counting": bag, "majority": majority, "rows": len(truth)}


def measure(model: Any) -> dict[str, Any]:
    """The losses of all objectives, and the classifier of kinds on states of readers of both sides."""
    (train, labels), (test, truth) = labelled_rows(0), labelled_rows(1)
    features, seen = (runs.pooled(model, rows, causal=False) for rows in (train[: max(LABELS)], test))
    found = {str(count): fit_linear_probe(features[:count], labels[:count]).accuracy(seen, truth) for count in LABELS}
    return {"losses": texts().losses(model), "probe": found}


def rates(preset: str) -> dict[str, float]:
    """StoryWorld's learning rates, by objective and length, and those of later stages."""
    found = {each["variant"]: each["rate"] for each in load_results("11a_stage_rates", preset)["runs"]}
    factors = {each["variant"]: each["factor"] for each in load_results("11b_later_rates", preset)["runs"]}
    return found | {f"{name} later": found[name] * factor for name, factor in factors.items()}


def stages_of(order: str, rate_of: dict[str, float], seed: int, factor: float = 1.0) -> list[Any]:
    """The stages of an order, or of its beginning; the rates of all but the first times a factor."""
    return [
        texts().stage(each, place, rate=rate_of[f"{each} later"] * factor if place else rate_of[each], seed=seed)
        for place, each in enumerate(order)
    ]


def stages(rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """All arms of a seed."""
    found: dict[str, Any] = {"": measure(texts().build(seed))}
    for name in "CM":
        stage = texts().stage(name, 0, rate=rate_of[f"{name} long"], seed=seed, steps=ALL)
        model = runs.run_stages(texts().build(seed), [stage], folder / f"{name} alone", seed=seed)
        found[f"{name} alone"] = measure(model)
    shares = dict.fromkeys("CMR", 1 / 3)
    mixed = texts().mixed(shares, 0, rate=rate_of["mixture long"], seed=seed, steps=ALL)
    found["mixture"] = measure(runs.run_stages(texts().build(seed), [mixed], folder / "mixture", seed=seed))
    for length in range(1, runs.STAGES + 1):
        for begun in sorted({order[:length] for order in ORDERS}):
            before = folder / begun[:-1] if length > 1 else None
            line = stages_of(begun, rate_of, seed)
            found[begun] = measure(runs.run_stages(texts().build(seed), line, folder / begun, seed=seed, begun=before))
    return found


def checked_rates(rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """Validation losses at multiples of the rates."""
    found: dict[str, Any] = {}
    for name, order in CHECKED.items():
        runs.run_stages(texts().build(seed), stages_of(order[0], rate_of, seed), folder / order[0], seed=seed)
        for arm in (f"{name} alone", order):
            swept = sweep(partial(checked_loss, arm, name, rate_of, seed, folder), FACTORS, factor=2, further=2)
            found[arm] = {f"{factor:g}": loss for factor, loss in sorted(swept.items())}
    return found


def checked_loss(arm: str, name: str, rate_of: dict[str, float], seed: int, folder: Path, factor: float) -> float:
    """The validation loss of an objective after one stage of it alone, or at the end of an order, at a factor."""
    if arm in ORDERS:
        line, begun = stages_of(arm, rate_of, seed, factor), folder / arm[0]
    else:
        line = [texts().stage(name, 0, rate=rate_of[f"{name} long"] * factor, seed=seed, steps=ALL)]
        begun = None
    where = folder / f"{arm.removesuffix(' alone')} {factor}"
    model = runs.run_stages(texts().build(seed), line, where, seed=seed, begun=begun)
    return validate(model, runs.OBJECTIVES[name](), texts().held_out(name, "valid"))["loss"]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Train and measure the arms of a seed; the first one checks the rates, too."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    rate_of = rates(preset)
    found = {"arms": stages(rate_of, seed, folder), "steps": ALL}
    if seed == SEEDS[0]:
        found |= {"rivals": rivals(), "checked": checked_rates(rate_of, seed, folder / "checked")}
    return found

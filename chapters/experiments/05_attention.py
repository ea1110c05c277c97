"""Looking things up: attention against memories of fixed size, on phone books of 12 cards.

The variants differ in how the page is read, and so in what is kept of it before the question is known. Each runs at
the best of its sweep, which ``05a_attention_rates`` made on other pages and initial weights; of each summary of fixed
size, digest and recurrent unit, the width that did better there is trained, for four times the steps of the others. The
criterion, set before the runs: one variant beats another if the 95 % interval (Student) of the paired differences, seed
by seed, does not hold zero. Variants with different steps are not compared.

In an earlier version the answering network alone had to bring question and summary together, where outer products and
attention multiply with the query; digest and recurrent unit then stayed near chance. Now the question weighs them too.
"""

from __future__ import annotations

from typing import Any

from plm_chapters.experiments import phone_book
from plm_chapters.notebook import load_results
from plm_core.runtime import Runtime, setup

SUMMARIES = ["digest 512", "recurrent 128"]
"""Of each kind the width that did better in the sweep."""
VARIANTS: list[str] = phone_book.MEMORIES + SUMMARIES
SEEDS = [0, 1, 2]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train a variant at its best rate and measure it on pages that neither training nor the choice has seen."""
    rt = setup(seed=seed, preset=preset)
    rate = best_rate(variant)
    model, history = phone_book.train(variant, rt, rate=rate)
    return {"rate": rate, **history, **measure(variant, model, rt)}


def best_rate(variant: str) -> float:
    """The rate at which a variant was most often right in the stored sweep."""
    runs = load_results("05a_attention_rates")["runs"]
    sweep: dict[str, float] = next(run["accuracy"] for run in runs if run["variant"] == variant)
    return float(max(sweep, key=lambda rate: sweep[rate]))


def measure(variant: str, model: phone_book.Reader, rt: Runtime) -> dict[str, Any]:
    """Share of right answers on test pages, also of other sizes, and what the model holds."""
    accuracy = phone_book.accuracy
    return {
        "final_accuracy": accuracy(model, rt, examples=8192),
        "accuracy_by_pairs": {str(n): accuracy(model, rt, pairs=n, examples=2048) for n in (2, 4, 8, 16, 32)},
        "numbers_kept": numbers_kept(variant),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def numbers_kept(variant: str) -> int:
    """How many numbers a variant keeps of a page of 12 cards before it knows the question."""
    kind, _, width = variant.rpartition(" ")
    if variant.endswith("attention"):
        return 2 * phone_book.WIDTH * phone_book.PAIRS  # a key and a value for each card
    if kind == "outer product":
        return int(width) * phone_book.WIDTH
    return int(width) if width.isdigit() else phone_book.WIDTH

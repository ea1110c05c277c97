"""Softmax and size of the memory, each for itself, on phone books of 32 cards.

Attention differs from a table of outer products in two things: its memory grows with the page, and a softmax picks a
card. The arms separate them. All are trained on the pages on which they are tested: 32 cards, that is every name and
every room. Numbers kept before the question is known, D = 32:

- *softmax, 32 cards*: a key and a value for each card, 2048 numbers;
- *softmax, 16 cards*: the same for the latest 16 cards only, 1024 numbers;
- *no softmax*: the weights are the scores themselves. With the keys and values of all cards this is 2048 numbers; the
  sum of the outer products, 1024 numbers, gives the same answers;
- *elu table 64*: linear attention with features elu + 1, 2048 numbers (and 64 for the sums);
- *sharp table 32*: the same with a softmax over the features, which may become a row for each name, 1024 numbers.

The rate of each is chosen from five by accuracy on pages and initial weights of their own; three seeds are trained at
that rate. The criterion, set before the runs: three paired differences of the accuracy after the last of 500 steps,
each with its 98.3 % interval (Student, Bonferroni for three): *softmax, 32 cards* minus *no softmax* (the same cards at
hand, with and without softmax); *softmax, 16 cards* minus *no softmax* (1024 numbers each); *softmax, 32 cards* minus
*elu table 64* (2048 each). The *sharp table* is shown and not tested.
"""

from __future__ import annotations

from typing import Any

from plm_chapters.experiments import phone_book

VARIANTS: list[str] = phone_book.SIZES
SEEDS = [0]
"""The seeds of training are inside a run."""
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep and train one arm; see :func:`phone_book.tuned`."""
    return phone_book.tuned(variant, preset, rates=RATES, seeds=range(3))

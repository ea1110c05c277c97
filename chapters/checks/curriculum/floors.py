"""Checks of the exercise on the floor of relative positions: what a model without positions can at best reach."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from plm_chapters.checks.feedback import Check, Draw, expect_close, expect_tensor
from plm_core.data.token_pairs import TokenPairConfig
from plm_core.objectives.relative_position import lowest_loss

without_positions = Check("floor: what a model without positions can reach")

FloorFunction = Callable[[list[list[int]], int], Any]
Rows = list[list[int]]


def _floor(
    rows: Rows,
    k: int,
    *,
    knows: str = "bag",
    weigh: str = "row",
    ordered: bool = True,
    clip: bool = True,
    conditional: bool = True,
) -> float:
    """The conditional entropy of the labels, in nats, counted pair by pair, or what a known mistake makes of it."""
    mass: dict[tuple[Any, int], float] = defaultdict(float)
    pooled: Counter[int] = Counter()
    for number, row in enumerate(rows):
        pairs = [(i, j) for i in range(len(row)) for j in range(len(row)) if i != j]
        label_of = {(i, j): max(-k, min(k, j - i)) if clip else j - i for i, j in pairs}
        in_row = Counter(label_of.values())
        pooled.update(in_row)
        known = {"bag": sorted(row), "set": sorted(set(row)), "nothing": [], "row": [number]}[knows]
        for i, j in pairs:
            label = label_of[i, j]
            tokens = (row[i], row[j]) if ordered else (min(row[i], row[j]), max(row[i], row[j]))
            weight = 1 / (len(rows) * len(in_row) * in_row[label]) if weigh == "row" else 1.0
            mass[(*known, -1, *tokens), label] += weight
    if weigh == "corpus":
        mass = {(key, label): each / (len(pooled) * pooled[label]) for (key, label), each in mass.items()}
    whole, of_key = sum(mass.values()), defaultdict[Any, float](float)
    for (key, _), each in mass.items():
        of_key[key] += each
    if not conditional:
        return -sum(each / whole * math.log(each / whole) for each in mass.values())
    return -sum(each / whole * math.log(each / of_key[key]) for (key, _), each in mass.items())


BITS = "these are bits: take the natural logarithm."
PAIRS = (
    "all pairs are counted alike, so that near distances, of which there are more, count more: first a label is drawn, "
    "all equally likely, then one of its pairs."
)
UNORDERED = "the two tokens are taken in any order: the model knows which is the first and which the second."
JOINT = "this is the entropy of tokens and label together: take away that of the tokens."
UNCLIPPED = "the distances are not clipped: from k on, all have one label in each direction."
WORDS_ONLY = "only the two tokens are known here: the model reads the whole row, all but its order."
BY_HEART = "each row is known by its number: two rows of the same tokens look alike to a model without positions."
SETS = "the rows are told apart by which tokens they have: the model also sees how often each occurs."
CORPUS = "labels are drawn over the whole corpus: first a row is drawn, all equally likely, then a label."


def _variants(rows: Rows, k: int) -> dict[str, float]:
    """What each known mistake gives."""
    return {
        BITS: _floor(rows, k) / math.log(2),
        PAIRS: _floor(rows, k, weigh="pair"),
        UNORDERED: _floor(rows, k, ordered=False),
        JOINT: _floor(rows, k, conditional=False),
        UNCLIPPED: _floor(rows, k, clip=False),
        WORDS_ONLY: _floor(rows, k, knows="nothing"),
        BY_HEART: _floor(rows, k, knows="row"),
        SETS: _floor(rows, k, knows="set"),
        CORPUS: _floor(rows, k, weigh="corpus"),
    }


def _expect_floor(function: FloorFunction, rows: Rows, k: int, message: str) -> None:
    found = function([list(row) for row in rows], k)
    right = lowest_loss(rows, TokenPairConfig(max_distance=k), special_ids=[], sees="texts")
    mistakes = {name: torch.tensor(wrong) for name, wrong in _variants(rows, k).items() if abs(wrong - right) > 1e-3}
    expect_close(
        expect_tensor(found, (), what="floor(rows, k)"),
        torch.tensor(right),
        what=f"floor of {len(rows)} {'row' if len(rows) == 1 else 'rows'} with k = {k}",
        message=message,
        mistakes=mistakes,
    )


def _revealing(make: Callable[[], tuple[Rows, int]], shown: Sequence[str]) -> tuple[Rows, int]:
    """Rows on which these mistakes show, each with a value of its own."""
    while True:
        rows, k = make()
        variants = _variants(rows, k)
        values = sorted([_floor(rows, k), *(variants[each] for each in shown)])
        if all(right - left > 2e-3 for left, right in itertools.pairwise(values)):
            return rows, k


def _row(draw: Draw, length: int, words: int) -> list[int]:
    return torch.randint(words, (length,), generator=draw.generator).tolist()


@without_positions.stage("words that say nothing, words that say all")
def _(function: FloorFunction, draw: Draw) -> None:
    k, row = draw.integer(2, 4), [draw.integer(0, 9)] * draw.integer(4, 8)
    _expect_floor(function, [row], 1, "A row of one word, repeated, says nothing: left or right, the floor is ln 2.")
    distinct = draw.sizes(k + 3, 0, 20)
    _expect_floor(function, [distinct], k, "Where every word occurs once, in one row, the words say all: it is 0.")


@without_positions.stage("one row: every label equally often")
def _(function: FloorFunction, draw: Draw) -> None:
    shown = [BITS, PAIRS, UNORDERED, JOINT, UNCLIPPED]
    rows, k = _revealing(lambda: ([_row(draw, draw.integer(7, 9), 3)], draw.integer(2, 3)), shown)
    _expect_floor(function, rows, k, "A label is drawn first, all 2k equally likely, then a pair that has it.")


@without_positions.stage("rows with the same tokens")
def _(function: FloorFunction, draw: Draw) -> None:
    def make() -> tuple[Rows, int]:
        row = _row(draw, 6, 4)
        orders = [torch.randperm(6, generator=draw.generator).tolist() for _ in range(2)]
        return [row, *([row[place] for place in order] for order in orders)], 2

    _expect_floor(function, *_revealing(make, [PAIRS, BY_HEART]), "Without positions, such rows cannot be told apart.")


@without_positions.stage("a corpus")
def _(function: FloorFunction, draw: Draw) -> None:
    def make() -> tuple[Rows, int]:
        rows = [_row(draw, length, 3) for length in draw.sizes(3, 5, 9)]
        return [*rows, rows[0][::-1], sorted(rows[1]), [*rows[0], rows[0][0]]], 3

    rows, k = _revealing(make, [PAIRS, BY_HEART, WORDS_ONLY, SETS, CORPUS])
    _expect_floor(function, rows, k, "The model knows the two tokens and which tokens the row has, how often each.")

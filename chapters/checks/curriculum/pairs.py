"""Checks of the exercises on pairs of tokens: how far apart they are, which sees which, and what a pair gives away."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.data.labels import IGNORE, next_token_labels
from plm_core.data.token_pairs import TokenPairConfig, distance_labels
from plm_core.objectives.prefix_lm import with_prefix_mask
from plm_core.objectives.relative_position import lowest_loss

# --- 1: labels of pairs ---------------------------------------------------------------------------------------------

distances = Check("pair_labels: how far apart, and in which direction")

LabelFunction = Callable[[Tensor, int, int], Any]


def _labels(function: LabelFunction, pairs_P2: Tensor, width: int, k: int) -> Tensor:
    """What the student's function returns, as integers."""
    found = function(pairs_P2.clone(), width, k)
    if isinstance(found, list | tuple):
        found = torch.as_tensor(found)
    hints = {"one label for each pair, not one for each of its tokens": tuple(pairs_P2.shape)}
    found = expect_tensor(found, (len(pairs_P2),), what="the labels", hints=hints)
    if found.is_floating_point() or found.dtype == torch.bool:
        raise CheckFailed(f"labels are numbers of classes, so integers, and not {found.dtype}")
    return found


def _clipped(distance_P: Tensor, k: int) -> Tensor:
    return torch.from_numpy(distance_labels(distance_P.numpy(), k))


def _pairs_at(distance_P: Tensor, width: int, draw: Draw, *, rows: int = 3) -> Tensor:
    """Pairs of places with these distances, each within one row of a batch."""
    pairs = []
    for distance in distance_P.tolist():
        first = draw.integer(max(0, -distance), width - 1 - max(0, distance))
        start = draw.integer(0, rows - 1) * width
        pairs.append((start + first, start + first + distance))
    return torch.tensor(pairs)


def _expect_labels(found: Tensor, right: Tensor, message: str, mistakes: Mapping[str, Tensor]) -> None:
    expect_close(
        found.float(),
        right.float(),
        what="the labels",
        message=message,
        mistakes={mistake: wrong.float() for mistake, wrong in mistakes.items()},
    )


@distances.stage("shape and type")
def _(function: LabelFunction, draw: Draw) -> None:
    _labels(function, torch.tensor([[4, 6], [2, 1], [13, 14], [3, 8], [0, 5]]), 9, 6)


@distances.stage("direction")
def _(function: LabelFunction, draw: Draw) -> None:
    k = draw.integer(3, 6)
    near = torch.tensor([*range(-k, 0), *range(1, k + 1)])
    distance_P = near[torch.randperm(2 * k, generator=draw.generator)]
    found = _labels(function, _pairs_at(distance_P, 3 * k, draw), 3 * k, k)
    _expect_labels(
        found,
        _clipped(distance_P, k),
        "The distance j - i from -k to -1 has the labels 0 to k - 1, from 1 to k the labels k to 2k - 1.",
        {
            "the direction is the wrong way round: the distance is j - i, second place minus first.": (
                _clipped(-distance_P, k)
            ),
            "the direction is lost: a pair and its reverse have different labels.": distance_P.abs() - 1,
            "no pair has the distance 0, so it gets no label: for j > i, subtract one more.": distance_P + k,
            "the nearest distance to the left has the label k - 1, the farthest has 0.": (
                torch.where(distance_P < 0, -distance_P - 1, distance_P + k - 1)
            ),
        },
    )


@distances.stage("clip")
def _(function: LabelFunction, draw: Draw) -> None:
    k = draw.integer(2, 5)
    far = [each * side for each in range(1, 4 * k) for side in (1, -1)]
    distance_P = torch.tensor(far)
    found = _labels(function, _pairs_at(distance_P, 5 * k, draw), 5 * k, k)
    endless_P = distance_P + k - (distance_P > 0).long()
    _expect_labels(
        found,
        _clipped(distance_P, k),
        "All distances of k and more have one label in each direction.",
        {
            "far distances are not clipped: from k on, all have the label of k.": endless_P,
            "far distances begin again at the other end: clip them, and take no remainder.": endless_P % (2 * k),
            "distances are clipped one too early: k itself is still to be told from k - 1.": (
                distance_P.clamp(-(k - 1), k - 1) + k - (distance_P > 0).long()
            ),
        },
    )


@distances.stage("two rows")
def _(function: LabelFunction, draw: Draw) -> None:
    k, width, rows = draw.integer(2, 4), draw.integer(6, 9), 4
    places = torch.randint(rows * width, (60, 2), generator=draw.generator)
    edges = torch.tensor([[row * width, row * width - 1] for row in range(1, rows)])
    same = torch.tensor([[2, 2 + width], [3 + width, 3]])
    pairs_P2 = torch.cat([places, edges, edges.flip(1), same])
    pairs_P2 = pairs_P2[pairs_P2[:, 0] != pairs_P2[:, 1]]
    row_P2, distance_P = pairs_P2 // width, pairs_P2[:, 1] - pairs_P2[:, 0]
    other_P, label_P = row_P2[:, 0] != row_P2[:, 1], _clipped(distance_P, k)
    columns_P = pairs_P2[:, 1] % width - pairs_P2[:, 0] % width
    columns_P = columns_P.clamp(-k, k) + k - (columns_P > 0).long()
    _expect_labels(
        _labels(function, pairs_P2, width, k),
        torch.where(other_P, 2 * k, label_P),
        "A pair of two rows has the label 2k, whatever the places are.",
        {
            "the rows are ignored: the last token of a row and the first of the next are no neighbours.": label_P,
            "the rows are ignored: the place within the row says nothing about a token of another row.": (
                torch.where(other_P, columns_P, label_P)
            ),
            "the labels begin with 0, so the one after 2k - 1 is 2k, not 2k + 1.": (
                torch.where(other_P, 2 * k + 1, label_P)
            ),
            "a pair of two rows is scored too: its label is 2k, a class of its own.": (
                torch.where(other_P, IGNORE, label_P)
            ),
            "a pair of two rows has a label of its own: it must not share one with far distances.": (
                torch.where(other_P, 2 * k - 1, label_P)
            ),
        },
    )


# --- 3: the mask of a prefix ----------------------------------------------------------------------------------------

reading = Check("prefix_mask: what is seen, and what is scored")

MaskFunction = Callable[[Tensor, Tensor], Any]


def _masks(function: MaskFunction, prefix_B: Tensor, real_BT: Tensor) -> tuple[Tensor, Tensor]:
    """What the student's function returns: the mask and the scored places, both bool."""
    found = function(prefix_B.clone(), real_BT.clone())
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise CheckFailed("prefix_mask should return two things: the mask (B, T, T), and the scored places (B, T)")
    batch, width = real_BT.shape
    hints = {"each row has a prefix of its own, so it needs a mask of its own": (width, width)}
    mask_BTT = expect_tensor(found[0], (batch, width, width), what="the mask", hints=hints)
    scored_BT = expect_tensor(found[1], (batch, width), what="the scored places")
    for what, value in (("the mask", mask_BTT), ("the scored places", scored_BT)):
        if value.dtype != torch.bool:
            raise CheckFailed(f"{what} should be bool, True where a token is seen or scored, and not {value.dtype}")
    return mask_BTT, scored_BT


def _read(prefix_B: Tensor, real_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The truth, by the objective of the library."""
    ids_BT = torch.arange(real_BT.shape[1]).expand_as(real_BT)
    labels_BT = next_token_labels(ids_BT, attention_mask=real_BT)
    batch = {"input_ids": ids_BT, "attention_mask": real_BT, "labels": labels_BT, "prefix_lengths": prefix_B}
    prepared = with_prefix_mask(batch)
    return prepared["attention_mask"], prepared["labels"] != IGNORE


def _case(draw: Draw, *, padded: bool) -> tuple[Tensor, Tensor]:
    """Prefixes, (B,), the first of them 0, and real tokens, (B, T); every row has tokens after its prefix."""
    rows, width = draw.integer(4, 5), draw.integer(7, 9)
    length_B = torch.tensor([width, *[draw.integer(5, width - 1) if padded else width for _ in range(rows - 1)]])
    prefix_B = torch.tensor([0, *[draw.integer(2, 3) for _ in range(rows - 1)]])
    if padded:
        prefix_B[0], prefix_B[1] = 2, 0
    return prefix_B, torch.arange(width) < length_B[:, None]


def _expect_mask(found: Tensor, right: Tensor, message: str, mistakes: Mapping[str, Tensor], what: str) -> None:
    expect_close(
        found.float(),
        right.float(),
        what=what,
        message=message,
        mistakes={mistake: wrong.float() for mistake, wrong in mistakes.items()},
    )


def _causal(width: int) -> Tensor:
    return torch.ones(width, width, dtype=torch.bool).tril()


@reading.stage("shapes and types")
def _(function: MaskFunction, draw: Draw) -> None:
    _masks(function, *_case(draw, padded=True))


@reading.stage("without a prefix it is causal")
def _(function: MaskFunction, draw: Draw) -> None:
    _, real_BT = _case(draw, padded=False)
    prefix_B = torch.zeros(len(real_BT), dtype=torch.long)
    causal_TT = _causal(real_BT.shape[1])
    _expect_mask(
        _masks(function, prefix_B, real_BT)[0],
        causal_TT.expand(len(real_BT), -1, -1),
        "Entry [b, i, j] is True where token i may see token j: here, where j <= i.",
        {
            "the mask is the wrong way round: rows are the tokens that see, columns those that are seen.": (
                causal_TT.T.expand(len(real_BT), -1, -1)
            ),
            "a token sees itself, too.": causal_TT.tril(-1).expand(len(real_BT), -1, -1),
        },
        "the mask",
    )


@reading.stage("both ways inside the prefix")
def _(function: MaskFunction, draw: Draw) -> None:
    prefix_B, real_BT = _case(draw, padded=False)
    causal_TT, inside_BT = _causal(real_BT.shape[1]), torch.arange(real_BT.shape[1]) < prefix_B[:, None]
    longer_BT = torch.arange(real_BT.shape[1]) <= prefix_B[:, None]
    _expect_mask(
        _masks(function, prefix_B, real_BT)[0],
        _read(prefix_B, real_BT)[0],
        "All tokens may see all of the prefix; of the tokens after it, each sees those up to itself.",
        {
            "the prefix is read from left to right only: its tokens also see the later ones of the prefix.": (
                causal_TT.expand(len(real_BT), -1, -1)
            ),
            "the tokens of the prefix see the whole row, also what is to be predicted.": (
                causal_TT | inside_BT[:, :, None]
            ),
            "the prefix is one token too long: its places are those below its length.": (
                causal_TT | longer_BT[:, None, :]
            ),
            "the tokens after the prefix no longer see it.": (
                torch.where(inside_BT[:, :, None], inside_BT[:, None, :], causal_TT & ~inside_BT[:, None, :])
            ),
        },
        "the mask",
    )


@reading.stage("padding")
def _(function: MaskFunction, draw: Draw) -> None:
    prefix_B, real_BT = _case(draw, padded=True)
    open_BTT = _read(prefix_B, torch.ones_like(real_BT))[0]
    _expect_mask(
        _masks(function, prefix_B, real_BT)[0],
        _read(prefix_B, real_BT)[0],
        "Padding is not seen, and sees nothing.",
        {
            "padding is not hidden at all.": open_BTT,
            "padding still sees: its rows of the mask are all False.": open_BTT & real_BT[:, None, :],
            "padding is still seen: its columns of the mask are all False.": open_BTT & real_BT[:, :, None],
        },
        "the mask",
    )


@reading.stage("what is scored")
def _(function: MaskFunction, draw: Draw) -> None:
    prefix_B, real_BT = _case(draw, padded=True)
    places_T = torch.arange(real_BT.shape[1])
    next_BT = real_BT.roll(-1, dims=1) & (places_T < real_BT.shape[1] - 1)
    after_BT = places_T >= prefix_B[:, None]
    last_BT = places_T >= prefix_B[:, None] - 1
    _expect_mask(
        _masks(function, prefix_B, real_BT)[1],
        _read(prefix_B, real_BT)[1],
        "A place is scored if the next token is real and the place does not see it.",
        {
            "places inside the prefix are scored, and they see the token that they should predict.": next_BT,
            "the last token of the prefix predicts, too: it does not see the first token after the prefix.": (
                next_BT & after_BT
            ),
            "the last real token has no next one: nothing is scored there.": real_BT & last_BT,
            "these are the tokens that are predicted; asked are the places that predict them, one earlier.": (
                real_BT & after_BT
            ),
        },
        "the scored places",
    )


# --- 6: the floor of a model without positions ----------------------------------------------------------------------

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

"""Checks of the exercises on pairs of tokens: how far apart they are, and which of them sees which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.data.labels import IGNORE, next_token_labels
from plm_core.data.token_pairs import distance_labels
from plm_core.objectives.prefix_lm import with_prefix_mask


def _expect_same(found: Tensor, right: Tensor, what: str, message: str, mistakes: Mapping[str, Tensor]) -> None:
    """Compare integers or bools with the truth, and with what known mistakes would have given."""
    wrong = {mistake: value.float() for mistake, value in mistakes.items()}
    expect_close(found.float(), right.float(), what=what, message=message, mistakes=wrong)


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


@distances.stage("shape and type")
def _(function: LabelFunction, draw: Draw) -> None:
    _labels(function, torch.tensor([[4, 6], [2, 1], [13, 14], [3, 8], [0, 5]]), 9, 6)


@distances.stage("direction")
def _(function: LabelFunction, draw: Draw) -> None:
    k = draw.integer(3, 6)
    near = torch.tensor([*range(-k, 0), *range(1, k + 1)])
    distance_P = near[torch.randperm(2 * k, generator=draw.generator)]
    found = _labels(function, _pairs_at(distance_P, 3 * k, draw), 3 * k, k)
    _expect_same(
        found,
        _clipped(distance_P, k),
        "the labels",
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
    _expect_same(
        found,
        _clipped(distance_P, k),
        "the labels",
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
    _expect_same(
        _labels(function, pairs_P2, width, k),
        torch.where(other_P, 2 * k, label_P),
        "the labels",
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
    _expect_same(
        _masks(function, prefix_B, real_BT)[0],
        causal_TT.expand(len(real_BT), -1, -1),
        "the mask",
        "Entry [b, i, j] is True where token i may see token j: here, where j <= i.",
        {
            "the mask is the wrong way round: rows are the tokens that see, columns those that are seen.": (
                causal_TT.T.expand(len(real_BT), -1, -1)
            ),
            "a token sees itself, too.": causal_TT.tril(-1).expand(len(real_BT), -1, -1),
        },
    )


@reading.stage("both ways inside the prefix")
def _(function: MaskFunction, draw: Draw) -> None:
    prefix_B, real_BT = _case(draw, padded=False)
    causal_TT, inside_BT = _causal(real_BT.shape[1]), torch.arange(real_BT.shape[1]) < prefix_B[:, None]
    longer_BT = torch.arange(real_BT.shape[1]) <= prefix_B[:, None]
    _expect_same(
        _masks(function, prefix_B, real_BT)[0],
        _read(prefix_B, real_BT)[0],
        "the mask",
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
    )


@reading.stage("padding")
def _(function: MaskFunction, draw: Draw) -> None:
    prefix_B, real_BT = _case(draw, padded=True)
    open_BTT = _read(prefix_B, torch.ones_like(real_BT))[0]
    _expect_same(
        _masks(function, prefix_B, real_BT)[0],
        _read(prefix_B, real_BT)[0],
        "the mask",
        "Padding is not seen, and sees nothing.",
        {
            "padding is not hidden at all.": open_BTT,
            "padding still sees: its rows of the mask are all False.": open_BTT & real_BT[:, None, :],
            "padding is still seen: its columns of the mask are all False.": open_BTT & real_BT[:, :, None],
        },
    )


@reading.stage("what is scored")
def _(function: MaskFunction, draw: Draw) -> None:
    prefix_B, real_BT = _case(draw, padded=True)
    places_T = torch.arange(real_BT.shape[1])
    next_BT = real_BT.roll(-1, dims=1) & (places_T < real_BT.shape[1] - 1)
    after_BT = places_T >= prefix_B[:, None]
    last_BT = places_T >= prefix_B[:, None] - 1
    _expect_same(
        _masks(function, prefix_B, real_BT)[1],
        _read(prefix_B, real_BT)[1],
        "the scored places",
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
    )

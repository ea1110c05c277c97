"""Checks of the exercises on masked language modelling: the loss, sentence pairs, and the exact posterior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_frequencies, expect_tensor
from plm_core.data.labels import IGNORE

Function = Callable[..., Any]

loss_parts = Check("masked_loss: a sum and a count")
pair_making = Check("make_pairs: next-sentence prediction")
chain = Check("fill: the exact posterior of a Markov chain")


# Exercise 4


def _loss_reference(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    return F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORE, reduction="sum")


def _loss_case(draw: Draw) -> tuple[Tensor, Tensor]:
    rows, length, vocab_size = draw.sizes(3, 4, 12)
    logits_BTV = draw.normal(rows, length, vocab_size, scale=3.0)
    labels_BT = torch.randint(vocab_size, (rows, length), generator=draw.generator)
    labels_BT = labels_BT.masked_fill(torch.rand(rows, length, generator=draw.generator) < 0.6, IGNORE)
    labels_BT[0, :2] = torch.tensor([1, IGNORE])
    return logits_BTV, labels_BT


def _parts(function: Function, logits_BTV: Tensor, labels_BT: Tensor) -> tuple[Tensor, int]:
    answer = function(logits_BTV, labels_BT)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise CheckFailed("masked_loss should return two things: the sum of the losses and their count")
    return expect_tensor(answer[0], (), what="the sum"), int(expect_tensor(answer[1], (), what="the count"))


@loss_parts.stage("count")
def _(function: Function, draw: Draw) -> None:
    logits_BTV, labels_BT = _loss_case(draw)
    count, right = _parts(function, logits_BTV, labels_BT)[1], int((labels_BT != IGNORE).sum())
    if count == labels_BT.numel():
        raise CheckFailed(f"the count is {count}, all positions; only those with a label count, here {right}")
    if count != right:
        raise CheckFailed(f"the count is {count}, but {right} positions have a label")


@loss_parts.stage("sum")
def _(function: Function, draw: Draw) -> None:
    logits_BTV, labels_BT = _loss_case(draw)
    right, count = _loss_reference(logits_BTV, labels_BT), int((labels_BT != IGNORE).sum())
    expect_close(
        _parts(function, logits_BTV, labels_BT)[0],
        right,
        what="the sum",
        message="Add -log softmax(logits)[label] over the positions that have a label.",
        mistakes={
            "this is the mean: return the sum, and let the caller divide once, by the count of all batches.": (
                right / count
            ),
            "this is the mean, multiplied by the mask and summed: the mean was taken too early.": (
                lambda: _loss_reference(logits_BTV, labels_BT.clamp(min=0)) / labels_BT.numel() * count
            ),
            "positions without a label are scored as if their label were 0.": (
                lambda: _loss_reference(logits_BTV, labels_BT.clamp(min=0))
            ),
        },
    )


@loss_parts.stage("padding changes nothing")
def _(function: Function, draw: Draw) -> None:
    logits_BTV, labels_BT = _loss_case(draw)
    logits_BTV.requires_grad_()
    wide_BTV = torch.cat([logits_BTV, 50 * draw.normal(len(logits_BTV), 3, logits_BTV.shape[-1])], dim=1)
    total, count = _parts(function, wide_BTV, F.pad(labels_BT, (0, 3), value=IGNORE))
    expect_close(
        total, _loss_reference(logits_BTV, labels_BT), message="Padding was added, and the sum changed with it."
    )
    if count != int((labels_BT != IGNORE).sum()):
        raise CheckFailed("padding was added, and the count changed with it")
    if not total.requires_grad:
        raise CheckFailed(
            "the sum carries no gradient: was it turned into a number by .item() or computed under no_grad?"
        )


@loss_parts.stage("no label at all")
def _(function: Function, draw: Draw) -> None:
    total, count = _parts(function, draw.normal(2, 3, 5), torch.full((2, 3), IGNORE))
    if not bool(total.isfinite()):
        raise CheckFailed(
            "a batch without any label gives NaN: a mean over nothing was taken. The sum is 0, the count 0"
        )
    expect_close(total, torch.tensor(0.0), what="the sum", message="Nothing is asked, so nothing is lost.")
    if count:
        raise CheckFailed(f"the count is {count}, but no position has a label")


# Exercise 6


def _documents(draw: Draw, count: int) -> list[list[int]]:
    """Documents of sentences; sentence number s of document d is the number 1000 d + s."""
    return [[1000 * d + s for s in range(draw.integer(2, 9))] for d in range(count)]


def _pairs(make_pairs: Function, documents: list[list[int]], draw: Draw) -> list[tuple[int, int, int]]:
    pairs = make_pairs(documents, draw.generator)
    if not isinstance(pairs, list) or not pairs:
        raise CheckFailed("make_pairs should return a list of (first, second, label)")
    if not all(isinstance(pair, Sequence) and len(pair) == 3 for pair in pairs):
        raise CheckFailed("each pair should be (first, second, label)")
    return [(int(a), int(b), int(label)) for a, b, label in pairs]


@pair_making.stage("one pair for each couple of neighbours")
def _(make_pairs: Function, draw: Draw) -> None:
    documents = _documents(draw, 6)
    pairs = _pairs(make_pairs, documents, draw)
    firsts, right = sorted(a for a, _, _ in pairs), sorted(s for d in documents for s in d[:-1])
    if firsts != right:
        if set(firsts) - set(right):
            raise CheckFailed("the last sentence of a document has no successor: it begins no pair")
        raise CheckFailed(f"{len(firsts)} pairs, expected {len(right)}: each sentence but a document's last begins one")
    if not {label for _, _, label in pairs} <= {0, 1}:
        raise CheckFailed("labels are 0 (follows) and 1 (does not)")


@pair_making.stage("positives follow")
def _(make_pairs: Function, draw: Draw) -> None:
    positives = [pair for pair in _pairs(make_pairs, _documents(draw, 40), draw) if pair[2] == 0]
    if not positives:
        raise CheckFailed("there is no pair with label 0: label 0 means that the second sentence follows")
    if any(b != a + 1 for a, b, _ in positives):
        raise CheckFailed("a pair with label 0 is not a pair of neighbours: are the labels exchanged?")


@pair_making.stage("negatives from elsewhere")
def _(make_pairs: Function, draw: Draw) -> None:
    for count in (2, 3, 40):
        for _ in range(5):
            pairs = _pairs(make_pairs, _documents(draw, count), draw)
            if any(a // 1000 == b // 1000 for a, b, label in pairs if label == 1):
                raise CheckFailed("a negative comes from the document of its first sentence: draw among the others")
    if all(label == 0 for _, _, label in pairs):
        raise CheckFailed("there is no pair with label 1")


@pair_making.stage("balance")
def _(make_pairs: Function, draw: Draw) -> None:
    counts, used, places = torch.zeros(2), set(), set()
    for _ in range(20):
        documents = _documents(draw, 60)
        pairs = _pairs(make_pairs, documents, draw)
        ones = sum(label for _, _, label in pairs)
        counts += torch.tensor([len(pairs) - ones, ones])
        used |= {b // 1000 - a // 1000 for a, b, label in pairs if label == 1}
        others = [(b, documents[b // 1000]) for _, b, label in pairs if label == 1]
        places |= {"first" if b == other[0] else "last" if b == other[-1] else "inner" for b, other in others}
    expect_frequencies(counts, torch.tensor([0.5, 0.5]), message="Half of the labels should be 0 and half 1.")
    if len(used) < 50:  # distances between the two documents; a right answer reaches nearly all of 118
        raise CheckFailed("negatives come from few documents only: every other document should be possible")
    if len(places) < 3:
        raise CheckFailed(
            f"of the other document only {' and '.join(sorted(places))} sentences are drawn: each should be possible"
        )


# Exercise 7


def _chain(draw: Draw, size: int = 6) -> Tensor:
    return draw.normal(size, size, scale=1.5).double().softmax(-1)


def _fill_reference(transition_VV: Tensor, left: int, right: int, length: int, place: int) -> Tensor:
    before = torch.linalg.matrix_power(transition_VV, place + 1)[left]
    weights = before * torch.linalg.matrix_power(transition_VV, length - place)[:, right]
    return weights / weights.sum()


@chain.stage("a distribution")
def _(fill: Function, draw: Draw) -> None:
    probabilities = expect_tensor(fill(_chain(draw), 1, 2, 1, 0), (6,), what="fill(P, 1, 2, 1, 0)")
    expect_close(probabilities.sum(), torch.tensor(1.0), what="the sum", message="Divide the weights by their sum.")


@chain.stage("one word missing")
def _(fill: Function, draw: Draw) -> None:
    transition_VV = _chain(draw)
    expect_close(
        fill(transition_VV, 3, 0, 1, 0),
        _fill_reference(transition_VV, 3, 0, 1, 0),
        what="fill(P, 3, 0, 1, 0)",
        message="Weigh every word w by P[left, w] and by P[w, right].",
        mistakes={
            "only the left neighbour is used: this is the causal prediction.": lambda: transition_VV[3],
            "the right neighbour is used the wrong way round: P[w, right], not P[right, w].": (
                lambda: _normalised(transition_VV[3] * transition_VV[0])
            ),
        },
    )


@chain.stage("several words missing")
def _(fill: Function, draw: Draw) -> None:
    for length, place in ((2, 0), (2, 1), (3, 1), (5, draw.integer(0, 4))):
        transition_VV = _chain(draw)
        late_V = torch.linalg.matrix_power(transition_VV, place)[4]
        late_V = late_V * torch.linalg.matrix_power(transition_VV, length - place)[:, 1]
        expect_close(
            fill(transition_VV, 4, 1, length, place),
            _fill_reference(transition_VV, 4, 1, length, place),
            what=f"fill(P, 4, 1, {length}, {place})",
            message="place + 1 steps lead from the left neighbour to the word, length - place on to the right one.",
            mistakes={
                "the words between are ignored: they must be summed over, by powers of P.": (
                    _fill_reference(transition_VV, 4, 1, 1, 0)
                ),
                "one step too few on the left: the first missing word is one step away from its neighbour.": (
                    _normalised(late_V)
                ),
            },
        )


def _normalised(weights_V: Tensor) -> Tensor:
    return weights_V / weights_V.sum()

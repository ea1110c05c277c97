"""Checks of the exercises on causal language modelling: units, labels, averages and windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.data.labels import IGNORE

Function = Callable[..., Any]

pencil = Check("pencil: what a text costs")
labels = Check("make_labels: the one and only shift")
prediction = Check("averages: predict, then run")
windows = Check("windows: every token exactly once")


# Exercise 1


@pencil.stage("bits per token")
def _(bits: Any, perplexity: Any, per_character: Any, draw: Draw) -> None:
    expect_close(
        expect_tensor(bits, (), what="bits"),
        torch.tensor(3.0),
        what="bits",
        tolerance=0.01,
        message="Add -log2 of the four probabilities and divide by four.",
        mistakes={
            "this is the sum over the text: divide by the number of tokens.": torch.tensor(12.0),
            "these are nats: take logarithms to base 2.": torch.tensor(3 * math.log(2)),
        },
    )


@pencil.stage("perplexity")
def _(bits: Any, perplexity: Any, per_character: Any, draw: Draw) -> None:
    expect_close(
        expect_tensor(perplexity, (), what="perplexity"),
        torch.tensor(8.0),
        what="perplexity",
        tolerance=0.01,
        message="Two to the power of the mean number of bits.",
        mistakes={
            "this is the mean of the inverse probabilities: average the logarithms, then take the power.": (
                torch.tensor((2 + 4 + 32 + 16) / 4)
            ),
            "bits go with powers of 2; powers of e go with nats.": torch.tensor(math.exp(3)),
        },
    )


@pencil.stage("bits per character")
def _(bits: Any, perplexity: Any, per_character: Any, draw: Draw) -> None:
    expect_close(
        expect_tensor(per_character, (), what="per_character"),
        torch.tensor(0.75),
        what="per_character",
        tolerance=0.01,
        message="The bits of the whole text, divided by its sixteen characters.",
        mistakes={
            "bits per token divided by characters: the whole text has four times as many bits.": torch.tensor(3 / 16)
        },
    )


# Exercise 2


def _label_case(draw: Draw) -> tuple[Tensor, Tensor]:
    rows, length = draw.sizes(2, 4, 9)
    ids_BT = torch.randint(7, 90, (rows, length), generator=draw.generator)
    lengths_B1 = torch.randint(2, length + 1, (rows, 1), generator=draw.generator)
    lengths_B1[0], lengths_B1[1] = length, 2
    return ids_BT, torch.arange(length) < lengths_B1


def _label_reference(ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    labels_BT = torch.full_like(ids_BT, IGNORE)
    labels_BT[:, :-1] = torch.where(mask_BT[:, 1:], ids_BT[:, 1:], IGNORE)
    return labels_BT


@labels.stage("shape")
def _(make_labels: Function, draw: Draw) -> None:
    ids_BT, mask_BT = _label_case(draw)
    rows, length = ids_BT.shape
    expect_tensor(
        make_labels(ids_BT.clone(), mask_BT),
        (rows, length),
        what="make_labels(ids_BT, mask_BT)",
        hints={"the last position needs a label too: -100.": (rows, length - 1)},
    )


@labels.stage("a row without padding")
def _(make_labels: Function, draw: Draw) -> None:
    ids_BT = torch.randint(7, 90, (2, 6), generator=draw.generator)
    real_BT = torch.ones_like(ids_BT, dtype=torch.bool)
    expect_close(
        make_labels(ids_BT.clone(), real_BT),
        _label_reference(ids_BT, real_BT),
        message="The label of position t is the token at t + 1; the last position has the label -100.",
        mistakes={
            "the label of every position is its own token: shift by one.": ids_BT,
            "the shift goes the wrong way: the label of a position is the token before it.": (
                lambda: F.pad(ids_BT[:, :-1], (1, 0), value=IGNORE)
            ),
            "torch.roll brings the first token back as the label of the last position.": (
                lambda: ids_BT.roll(-1, dims=1)
            ),
        },
    )


@labels.stage("padding")
def _(make_labels: Function, draw: Draw) -> None:
    ids_BT, mask_BT = _label_case(draw)
    kept = ids_BT.clone()
    answer = make_labels(ids_BT, mask_BT)
    if not torch.equal(ids_BT, kept):
        raise CheckFailed("make_labels changed its input: work on a copy")
    expect_close(
        answer,
        _label_reference(ids_BT, mask_BT),
        message="A label that would be padding is -100.",
        mistakes={
            "padding is a label: look at the mask of the label, not only of the position.": (
                lambda: _label_reference(ids_BT, torch.ones_like(mask_BT))
            ),
            "the label of the last real position is padding: the mask must be shifted like the labels.": (
                lambda: _label_reference(ids_BT, torch.ones_like(mask_BT)).masked_fill(~mask_BT, IGNORE)
            ),
        },
    )


# Exercise 3


def measure_averages(draw: Draw | None = None) -> tuple[float, float, float]:
    """Loss of nearly equal random logits over 512 tokens, and two perplexities of losses drawn near 1 and 3 nats."""
    draw = Draw("averages") if draw is None else draw
    logits_NV = draw.normal(4000, 512, scale=0.02)
    untrained = F.cross_entropy(logits_NV, torch.randint(512, (4000,), generator=draw.generator)).item()
    easy_N, hard_N = torch.full((100,), 1.0), torch.full((100,), 3.0)  # nats
    easy_N, hard_N = easy_N + draw.normal(100, scale=0.01), hard_N + draw.normal(100, scale=0.01)
    right = torch.cat([easy_N, hard_N]).mean().exp().item()
    wrong = (easy_N.mean().exp() + hard_N.mean().exp()).item() / 2
    return untrained, right, wrong


@prediction.stage("an untrained model")
def _(untrained: Any, right: Any, wrong: Any, draw: Draw) -> None:
    measured = measure_averages(draw)[0]
    expect_close(
        expect_tensor(untrained, (), what="untrained"),
        torch.tensor(measured),
        what="untrained",
        tolerance=0.05,
        message="Untrained, all 512 tokens are about equally likely: what is -ln(1/512)?",
        mistakes={
            "this is in bits; the loss is in nats.": torch.tensor(9.0),
            "this is a perplexity, not a loss.": torch.tensor(512.0),
        },
    )


@prediction.stage("one division")
def _(untrained: Any, right: Any, wrong: Any, draw: Draw) -> None:
    measured = measure_averages(draw)[1]
    expect_close(
        expect_tensor(right, (), what="right"),
        torch.tensor(measured),
        what="right",
        tolerance=0.05,
        message="The batches are equally large, so the mean loss is 2 nats.",
        mistakes={"the exponential comes last: average the losses first.": torch.tensor(11.40)},
    )


@prediction.stage("a mean of perplexities")
def _(untrained: Any, right: Any, wrong: Any, draw: Draw) -> None:
    measured = measure_averages(draw)[2]
    expect_close(
        expect_tensor(wrong, (), what="wrong"),
        torch.tensor(measured),
        what="wrong",
        tolerance=0.05,
        message="Take e to the power of each batch's loss, then the mean of the two.",
        mistakes={"that would be the right way; here the exponential is taken first.": torch.tensor(math.exp(2))},
    )


# Exercise 4


def _window_reference(length: int, context: int, stride: int) -> list[tuple[int, int, int]]:
    found, scored = [], 1
    for start in range(0, length, stride):
        end = min(start + context + 1, length)
        found.append((start, end, scored))
        scored = end
        if end == length:
            return found
    return found


def _window_cases(draw: Draw) -> list[tuple[int, int, int]]:
    drawn = []
    for _ in range(20):
        context = draw.integer(2, 12)
        drawn.append((draw.integer(2, 60), context, draw.integer(1, context)))
    return [(20, 8, 4), (9, 8, 8), (10, 8, 8), (3, 8, 2), *drawn]


def _windows(make_windows: Function, case: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    answer = make_windows(*case)
    if not isinstance(answer, list) or not all(isinstance(w, tuple) and len(w) == 3 for w in answer) or not answer:
        raise CheckFailed("make_windows should return a list of triples (start, end, first)")
    return answer


@windows.stage("the first window")
def _(make_windows: Function, draw: Draw) -> None:
    for case in _window_cases(draw):
        start, end, first = _windows(make_windows, case)[0]
        right = _window_reference(*case)[0]
        if first == 0:
            raise CheckFailed("the first token of the text has nothing before it and cannot be scored: first is 1")
        if end == min(case[1], case[0]) and right[1] != end:
            raise CheckFailed(
                f"a window reads {case[1]} tokens and scores the one after the last: its end is too small"
            )
        if (start, end, first) != right:
            raise CheckFailed(f"make_windows{case} begins with {(start, end, first)}, right is {right}")


@windows.stage("every token once")
def _(make_windows: Function, draw: Draw) -> None:
    for case in _window_cases(draw):
        scored = [t for _, end, first in _windows(make_windows, case) for t in range(first, end)]
        right = list(range(1, case[0]))
        if len(scored) > len(set(scored)):
            raise CheckFailed(f"make_windows{case} scores a token twice: first must be the end of the window before")
        if scored != right:
            raise CheckFailed(f"make_windows{case} scores the tokens {scored}, right are {right}")


@windows.stage("all windows")
def _(make_windows: Function, draw: Draw) -> None:
    for case in _window_cases(draw):
        answer, right = _windows(make_windows, case), _window_reference(*case)
        if answer != right:
            raise CheckFailed(f"make_windows{case} gives {answer}, right is {right}")

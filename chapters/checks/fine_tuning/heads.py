"""Checks of the exercises on what heads read and what is scored: a mean, labels of words, spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

IGNORE = -100

# --- 3: the mean of real tokens -------------------------------------------------------------------------------------

pooled = Check("The mean of the real tokens")

PoolFunction = Callable[[Tensor, Tensor], Any]


def _states(draw: Draw) -> tuple[Tensor, Tensor]:
    batch, tokens, width = draw.sizes(3, 3, 7)
    mask_BT = torch.rand(batch, tokens, generator=draw.generator) < 0.5
    rows_B, place_B = torch.arange(batch), torch.randint(tokens - 1, (batch,), generator=draw.generator)
    mask_BT[rows_B, place_B], mask_BT[rows_B, place_B + 1] = False, True  # padding before a real token, in every row
    return draw.normal(batch, tokens, width) + 1, mask_BT


@pooled.stage("shape")
def _(function: PoolFunction, draw: Draw) -> None:
    x_BTD, mask_BT = _states(draw)
    batch, tokens, width = x_BTD.shape
    hints = {"this is the mean over the width, not over the tokens": (batch, tokens)}
    expect_tensor(function(x_BTD, mask_BT), (batch, width), what="the mean", hints=hints)


@pooled.stage("padding")
def _(function: PoolFunction, draw: Draw) -> None:
    x_BTD, mask_BT = _states(draw)
    real_BT1 = mask_BT[:, :, None]
    sums_BD = (x_BTD * real_BT1).sum(1)
    mistakes = {
        "padding is counted as text: use the mask.": x_BTD.mean(1),
        "padding is taken to be on the right, but may stand anywhere: use the mask.": torch.stack(
            [x_TD[:n].mean(0) for x_TD, n in zip(x_BTD, mask_BT.sum(1).tolist(), strict=True)]
        ),
        "the sum leaves padding out, but it is divided by the length of the row.": sums_BD / x_BTD.shape[1],
        "this is the sum: divide by the number of real tokens.": sums_BD,
        "this is the first state, not the mean.": x_BTD[:, 0],
    }
    expect_close(function(x_BTD, mask_BT), sums_BD / real_BT1.sum(1), what="the mean", mistakes=mistakes)


@pooled.stage("a row without text")
def _(function: PoolFunction, draw: Draw) -> None:
    x_BTD, mask_BT = _states(draw)
    mask_BT = mask_BT.clone()
    mask_BT[0] = False
    real_BT1 = mask_BT[:, :, None]
    right_BD = (x_BTD * real_BT1).sum(1) / real_BT1.sum(1).clamp(min=1)
    found = expect_tensor(function(x_BTD, mask_BT), tuple(right_BD.shape), what="the mean")
    if found[0].isnan().any():
        raise CheckFailed("a row of padding alone gives 0 / 0: return zeros for it")
    expect_close(found, right_BD, what="the mean")


# --- 4: labels of words ---------------------------------------------------------------------------------------------

words = Check("The sub-word that carries the label")

LabelFunction = Callable[[list[int | None], list[int]], Any]


def _labels(function: LabelFunction, numbers: list[int | None], tags: list[int]) -> list[int]:
    found = function(list(numbers), list(tags))
    if isinstance(found, Tensor):
        found = found.tolist()
    if not isinstance(found, Sequence) or len(found) != len(numbers):
        raise CheckFailed(f"return one label for each of the {len(numbers)} sub-words")
    return [int(each) for each in found]


@words.stage("one sub-word a word")
def _(function: LabelFunction, draw: Draw) -> None:
    tags = [draw.integer(1, 5) for _ in range(4)]
    found = _labels(function, [None, 0, 1, 2, 3, None], tags)
    if found[0] != IGNORE or found[-1] != IGNORE:
        raise CheckFailed(f"special tokens belong to no word (None): their label is {IGNORE}")
    if found[1:-1] != tags:
        raise CheckFailed(f"for words of one sub-word each the labels are their tags, {tags}, not {found[1:-1]}")


@words.stage("several sub-words a word")
def _(function: LabelFunction, draw: Draw) -> None:
    tags = [draw.integer(1, 5) for _ in range(3)]
    found = _labels(function, [None, 0, 0, 1, 2, 2, 2, None], tags)
    right = [IGNORE, tags[0], IGNORE, tags[1], tags[2], IGNORE, IGNORE, IGNORE]
    if found == [IGNORE, tags[0], tags[0], tags[1], tags[2], tags[2], tags[2], IGNORE]:
        raise CheckFailed("the tag is copied to every sub-word: only the first one of a word carries it")
    if found == [IGNORE, IGNORE, tags[0], tags[1], IGNORE, IGNORE, tags[2], IGNORE]:
        raise CheckFailed("the last sub-word of a word carries the label here: it should be the first")
    if found != right:
        raise CheckFailed(f"the labels are {found}, expected {right}")


@words.stage("a pair of texts")
def _(function: LabelFunction, draw: Draw) -> None:
    tags = [draw.integer(1, 5) for _ in range(2)]
    found = _labels(function, [None, 0, 0, None, 0, 1, None], tags)
    right = [IGNORE, tags[0], IGNORE, IGNORE, tags[0], tags[1], IGNORE]
    if found != right:
        raise CheckFailed(
            f"after a special token word 0 begins anew, as in a pair of texts: {found} should be {right}. Compare with "
            "the sub-word before, not with all words seen so far"
        )


# --- 6: the best span -----------------------------------------------------------------------------------------------

spans = Check("The best span, or none")

SpanFunction = Callable[[Tensor, Tensor, Tensor, int, float], Any]


def _scores(draw: Draw, tokens: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    places_T = torch.arange(tokens)
    allowed_T = (places_T > 2) & (places_T < tokens - 1)  # neither the question nor the separator after the text
    return draw.normal(tokens), draw.normal(tokens), allowed_T


def _best(begin_T: Tensor, end_T: Tensor, allowed_T: Tensor, longest: int) -> tuple[tuple[int, int], float]:
    places = [n for n in range(len(begin_T)) if bool(allowed_T[n])]
    found = {(i, j): float(begin_T[i] + end_T[j]) for i in places for j in places if i <= j < i + longest}
    best = max(found, key=found.__getitem__)
    return best, found[best]


def _span(function: SpanFunction, scores: tuple[Tensor, Tensor, Tensor], longest: int, threshold: float) -> Any:
    begin_T, end_T, allowed_T = (each.clone() for each in scores)
    found = function(begin_T, end_T, allowed_T, longest, threshold)
    if found is None:
        return None
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise CheckFailed(f"return a pair of places, or None for no answer; this is {found!r}")
    return int(found[0]), int(found[1])


def _expect(found: Any, right: tuple[int, int] | None, hint: str) -> None:
    if found != right:
        raise CheckFailed(f"the answer is {found}, expected {right}: {hint}")


@spans.stage("begin before end")
def _(function: SpanFunction, draw: Draw) -> None:
    begin_T, end_T, allowed_T = _scores(draw)
    begin_T[7], end_T[4] = 9.0, 9.0  # the best two ends, in the wrong order
    right, _ = _best(begin_T, end_T, allowed_T, 9)
    hint = "the best begin and the best end are no span if they stand in the wrong order"
    _expect(_span(function, (begin_T, end_T, allowed_T), 9, 100.0), right, hint)


@spans.stage("the longest answer")
def _(function: SpanFunction, draw: Draw) -> None:
    begin_T, end_T, allowed_T = _scores(draw)
    begin_T[3], end_T[6] = 9.0, 9.0  # four tokens
    right, _ = _best(begin_T, end_T, allowed_T, 3)
    found = _span(function, (begin_T, end_T, allowed_T), 3, 100.0)
    hint = "a span from i to j has j - i + 1 tokens" if found is not None and found[1] - found[0] == 3 else "too long"
    _expect(found, right, hint)
    end_T[6], end_T[5] = 0.0, 9.0  # exactly three tokens
    hint = "a span of exactly the longest length is allowed"
    _expect(_span(function, (begin_T, end_T, allowed_T), 3, 100.0), (3, 5), hint)


@spans.stage("candidates")
def _(function: SpanFunction, draw: Draw) -> None:
    begin_T, end_T, allowed_T = _scores(draw)
    begin_T[1], end_T[2], end_T[-1] = 9.0, 9.0, 9.0  # in the question, and after the text
    right, _ = _best(begin_T, end_T, allowed_T, 9)
    hint = "an answer begins and ends at allowed tokens only"
    _expect(_span(function, (begin_T, end_T, allowed_T), 9, 100.0), right, hint)


@spans.stage("no answer")
def _(function: SpanFunction, draw: Draw) -> None:
    begin_T, end_T, allowed_T = _scores(draw)
    right, score = _best(begin_T, end_T, allowed_T, 9)
    begin_T[0], end_T[0] = score + 1.0, 0.0  # the null score is one above the best span's
    hint = "position 0 wins by 1, and the threshold is 0: there is no answer"
    _expect(_span(function, (begin_T, end_T, allowed_T), 9, 0.0), None, hint)
    hint = "position 0 wins by 1, but has to win by more than 2: the span is the answer"
    _expect(_span(function, (begin_T, end_T, allowed_T), 9, 2.0), right, hint)

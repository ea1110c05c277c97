"""Checks of the exercises on text: batches with their masks, and packed rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

# --- 2: a batch -----------------------------------------------------------------------------------------------------

batch = Check("A batch and its mask")

BatchFunction = Callable[[list[list[int]], int], tuple[Any, Any]]


def _sequences(draw: Draw) -> list[list[int]]:
    return [[draw.integer(1, 99) for _ in range(length)] for length in draw.sizes(3, 1, 8)]


def _batch_of(pad_batch: BatchFunction, sequences: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    answer = pad_batch(sequences, pad_id)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise CheckFailed(f"pad_batch should return two tensors, ids and mask, but it returned {type(answer).__name__}")
    shape = (len(sequences), max(map(len, sequences)))
    return expect_tensor(answer[0], shape, what="ids"), expect_tensor(answer[1], shape, what="mask")


@batch.stage("shapes and types")
def _(pad_batch: BatchFunction, draw: Draw) -> None:
    ids, mask = _batch_of(pad_batch, _sequences(draw), 0)
    if ids.dtype != torch.int64:
        raise CheckFailed(f"ids have type {ids.dtype}: an embedding looks rows up by int64")
    if mask.dtype != torch.bool:
        raise CheckFailed(f"the mask has type {mask.dtype}: masks are bool, True = real")


@batch.stage("the ids")
def _(pad_batch: BatchFunction, draw: Draw) -> None:
    sequences, pad_id = _sequences(draw), draw.integer(100, 200)
    length = max(map(len, sequences))
    rows = [sequence + [pad_id] * (length - len(sequence)) for sequence in sequences]
    zeros = [sequence + [0] * (length - len(sequence)) for sequence in sequences]
    left = [[pad_id] * (length - len(sequence)) + sequence for sequence in sequences]
    mistakes = {
        "the rows are filled with 0, not with pad_id.": torch.tensor(zeros),
        "the padding stands on the left; here it stands on the right.": torch.tensor(left),
    }
    expect_close(_batch_of(pad_batch, sequences, pad_id)[0], torch.tensor(rows), what="ids", mistakes=mistakes)


@batch.stage("a mask of lengths")
def _(pad_batch: BatchFunction, draw: Draw) -> None:
    sequences = _sequences(draw)
    pad_id = sequences[0][0]  # a real token may have this id: the mask must not be read off the ids
    mask = _batch_of(pad_batch, sequences, pad_id)[1]
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    right = torch.arange(int(lengths.max())) < lengths[:, None]
    mistakes = {"the mask is inverted: True means *real*.": (~right).int()}
    message = "A real token may have the id of padding: make the mask from the lengths, not from ids != pad_id."
    expect_close(mask.int(), right.int(), what="mask", message=message, mistakes=mistakes)


# --- 5: a packed row ------------------------------------------------------------------------------------------------

packed_row = Check("A packed row: who sees whom, and where everybody stands")

RowFunction = Callable[[list[int], int], tuple[Any, Any]]


def _row_of(pack_row: RowFunction, sizes: list[int], row_length: int) -> tuple[Tensor, Tensor]:
    answer = pack_row(sizes, row_length)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise CheckFailed(f"pack_row should return mask and positions, but it returned {type(answer).__name__}")
    mask = expect_tensor(answer[0], (row_length, row_length), what="mask")
    return mask, expect_tensor(answer[1], (row_length,), what="positions")


def _owners(sizes: list[int], row_length: int) -> Tensor:
    owners = torch.full((row_length,), -1)
    owners[: sum(sizes)] = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return owners


@packed_row.stage("shapes and types")
def _(pack_row: RowFunction, draw: Draw) -> None:
    mask, positions = _row_of(pack_row, draw.sizes(2, 2, 5), 12)
    if mask.dtype != torch.bool:
        raise CheckFailed(f"the mask has type {mask.dtype}: masks are bool, True = may be attended")
    if positions.dtype != torch.int64:
        raise CheckFailed(f"positions have type {positions.dtype}: an embedding looks rows up by int64")


@packed_row.stage("a full row")
def _(pack_row: RowFunction, draw: Draw) -> None:
    sizes = draw.sizes(3, 1, 6)
    mask, _ = _row_of(pack_row, sizes, sum(sizes))
    owner = _owners(sizes, sum(sizes))
    right = owner[:, None] == owner[None, :]
    mistakes = {
        "everybody sees everybody: two texts of a row must not see each other.": torch.ones_like(right).int(),
        "the mask is inverted: True means *may be attended*.": (~right).int(),
        "a token sees only itself: it should see its whole text.": torch.eye(len(owner)).int(),
    }
    expect_close(mask.int(), right.int(), what="mask", mistakes=mistakes)


@packed_row.stage("padding")
def _(pack_row: RowFunction, draw: Draw) -> None:
    sizes = draw.sizes(2, 2, 5)
    mask, _ = _row_of(pack_row, sizes, 13)
    owner = _owners(sizes, 13)
    same = owner[:, None] == owner[None, :]
    right = same & (owner >= 0)[:, None]
    mistakes = {"padding sees padding: it belongs to no text, and its rows and columns are all False.": same.int()}
    expect_close(mask.int(), right.int(), what="mask", mistakes=mistakes)


@packed_row.stage("positions")
def _(pack_row: RowFunction, draw: Draw) -> None:
    sizes = draw.sizes(3, 2, 6)
    row_length = sum(sizes) + draw.integer(1, 3)
    _, positions = _row_of(pack_row, sizes, row_length)
    used = sum(sizes)
    right = torch.cat([torch.arange(size) for size in sizes])
    mistakes = {
        "the positions run on: they start again at 0 with each text.": torch.arange(used),
        "positions start at 0, not at 1.": right + 1,
    }
    expect_close(positions[:used], right, what="positions", mistakes=mistakes)

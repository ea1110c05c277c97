"""Checks of the exercise on replay: shares of a mixture, the epochs that follow from them, and a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_frequencies, expect_tensor
from plm_core.data.mixture import temperature_shares

replaying = Check("Replay: shares, epochs and a schedule")

Function = Callable[..., Any]


def _shares(sizes: Sequence[float], temperature: float, replay: float) -> torch.Tensor:
    earlier = [replay * share for share in temperature_shares(sizes, temperature)]
    return torch.tensor([*earlier, 1 - replay], dtype=torch.float64)


@replaying.stage("shares")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    sizes, replay = [100.0 * each for each in draw.sizes(3, 2, 40)], draw.integer(1, 4) / 10
    found = replay_shares(list(sizes), 1.0, replay)
    hints = {"the new objective has a share, too: it comes last": (3,)}
    found = expect_tensor(found, (4,), what="replay_shares(...)", hints=hints)
    right = _shares(sizes, 1.0, replay)
    expect_close(
        found,
        right,
        what="the shares",
        message="The earlier objectives divide `replay` among them; the new one has the rest.",
        mistakes={
            "the new objective comes last.": right.roll(1),
            "the shares add up to more than 1: the earlier objectives have only `replay` to divide.": (
                torch.tensor([*temperature_shares(sizes, 1.0), 1 - replay])
            ),
            "the parts are exchanged: `replay` is the share of the earlier objectives together.": (
                _shares(sizes, 1.0, 1 - replay)
            ),
            "each earlier objective has an equal share here; at temperature 1 they go by the sizes.": (
                _shares([1, 1, 1], 1.0, replay)
            ),
        },
    )
    alone = expect_tensor(replay_shares([], 1.0, replay), (1,), what="replay_shares([], 1.0, replay)")
    expect_close(alone, torch.ones(1), message="In the first stage there is nothing to replay: the share is 1.")


@replaying.stage("temperature")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    sizes, replay = [10.0 * each for each in draw.sizes(3, 1, 40)], draw.integer(2, 4) / 10
    for temperature in (2.0, 4.0):
        powers = torch.tensor([*([size**temperature for size in sizes]), 0.0], dtype=torch.float64)
        powers = replay * powers / powers.sum()
        powers[-1] = 1 - replay
        flat = (torch.tensor(sizes) / temperature).softmax(0)
        expect_close(
            replay_shares(list(sizes), temperature, replay),
            _shares(sizes, temperature, replay),
            what=f"shares at temperature {temperature:g}",
            message="Shares are proportional to size^(1 / temperature).",
            mistakes={
                "the temperature is ignored.": _shares(sizes, 1.0, replay),
                "the exponent is 1 / temperature: a high temperature makes the shares more alike.": powers.float(),
                "a softmax of the sizes is no power: take it of their logarithms.": (
                    torch.tensor([*(replay * flat).tolist(), 1 - replay])
                ),
            },
        )


@replaying.stage("epochs")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    sizes, replay, rows = [100 * each for each in draw.sizes(3, 1, 40)], 0.25, 8 * draw.integer(2, 4)
    batches, shares = 100 * draw.integer(3, 9), _shares(sizes, 2.0, replay).tolist()
    found = epochs(list(sizes), list(shares), batches, rows)
    hints = {"asked are the earlier objectives only: the size of the new one is not given": (4,)}
    found = expect_tensor(found, (3,), what="epochs(...)", hints=hints)
    right = torch.tensor([share * batches * rows / size for share, size in zip(shares, sizes, strict=False)])
    expect_close(
        found,
        right,
        what="the epochs",
        message="So many examples are read of each objective, divided by so many that there are.",
        mistakes={
            "a batch holds `batch_size` examples: multiply by it.": right / rows,
            "this is how many examples are read: divide by how many there are.": right * torch.tensor(sizes),
            "the share of each objective is missing.": torch.tensor([batches * rows / size for size in sizes]),
        },
    )


def _scheduled(schedule: Function, shares: list[float], batches: int, seed: int) -> np.ndarray:
    found = schedule(list(shares), batches, seed)
    if found is None or found is ...:
        raise CheckFailed("schedule should return a list with the number of an objective for each batch")
    drawn = np.asarray([int(each) for each in found])
    if len(drawn) != batches:
        raise CheckFailed(f"schedule returns {len(drawn)} numbers for {batches} batches")
    if drawn.min() < 0 or drawn.max() >= len(shares):
        raise CheckFailed(f"with {len(shares)} objectives the numbers go from 0 to {len(shares) - 1}")
    return drawn


@replaying.stage("the same seed, the same schedule")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    shares, seed, batches = _shares([300, 100], 1.0, 0.5).tolist(), draw.integer(1, 10**6), 200
    first = _scheduled(schedule, shares, batches, seed)
    if not np.array_equal(first, _scheduled(schedule, shares, batches, seed)):
        raise CheckFailed("two calls with the same seed differ: make a generator from the seed in every call")
    if all(np.array_equal(first, _scheduled(schedule, shares, batches, seed + n)) for n in (1, 2, 3)):
        raise CheckFailed("other seeds give the same schedule: is the seed used?")
    if not np.array_equal(first[:120], _scheduled(schedule, shares, 120, seed)):
        raise CheckFailed(
            "the first 120 of 200 batches are not those of a schedule of 120: when a run is extended, the new schedule "
            "would not match the batches already read. Draw batch by batch, in order, and shuffle nothing"
        )


@replaying.stage("the shares, from beginning to end")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    shares = _shares([300, 100], 1.0, 0.4)
    counts, pairs = torch.zeros(2, 3), torch.zeros(2)
    for _ in range(100):
        drawn = torch.as_tensor(_scheduled(schedule, shares.tolist(), 200, draw.integer(1, 10**9)))
        counts += torch.stack([half.bincount(minlength=3) for half in drawn.view(2, 100)])
        alike = int((drawn[0::2] == drawn[1::2]).sum())
        pairs += torch.tensor([alike, len(drawn) // 2 - alike])
    whole = counts.sum(dim=0)
    expect_frequencies(whole, shares, message="Outcome i is objective number i: draw it with its share.")
    expect_frequencies(
        counts,
        shares.expand(2, 3),
        message="As a whole the shares are right, in each half they are not: what is replayed in one block is "
        "forgotten after it or before.",
    )
    same = float((shares**2).sum())
    expect_frequencies(
        pairs,
        torch.tensor([same, 1 - same]),
        message="Outcome 0: two neighbouring batches have one objective. Draw every batch for itself, not in blocks.",
    )

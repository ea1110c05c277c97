"""Checks of the exercises on pruning: masks by pencil and by code, and zeros that stay.

N weights, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

# --- 1: by pencil ---------------------------------------------------------------------------------------------------

pencil = Check("A row by pencil")

ROW = torch.tensor([3.0, -1.2, 1.4, 2.0, -4.0, 0.2, 1.0, -0.1])
ANYWHERE = torch.tensor([3.0, 0.0, 1.4, 2.0, -4.0, 0.0, 0.0, 0.0])
PATTERN = torch.tensor([3.0, 0.0, 0.0, 2.0, -4.0, 0.0, 1.0, 0.0])


@pencil.stage("anywhere")
def _(anywhere: Any, pattern: Any, columns: Any, bitmap: Any, draw: Draw) -> None:
    mistakes = {
        "this keeps the largest values: the sign does not matter, -4 is the largest of all": ROW * (ROW >= 1),
        "these are the weights that go: keep the others": ROW - ANYWHERE,
        "this is the 2:4 pattern: here the four smallest of all eight go": PATTERN,
    }
    expect_close(anywhere, ANYWHERE, what="anywhere", message="The four smallest sizes go.", mistakes=mistakes)


@pencil.stage("2:4")
def _(anywhere: Any, pattern: Any, columns: Any, bitmap: Any, draw: Draw) -> None:
    mistakes = {"this keeps three of the first four: the pattern keeps two of each four": ANYWHERE}
    message = "Of the first four the two largest stay, and of the last four."
    expect_close(pattern, PATTERN, what="pattern", message=message, mistakes=mistakes)


@pencil.stage("bytes")
def _(anywhere: Any, pattern: Any, columns: Any, bitmap: Any, draw: Draw) -> None:
    mistakes = {
        "the columns are missing: 2 bytes beside each of the 500 values": torch.tensor(2000.0),
        "zeros are not stored: count 500 values": torch.tensor(60000.0),
    }
    expect_close(columns, torch.tensor(3000.0), what="columns", message="500 times (4 + 2).", mistakes=mistakes)
    mistakes = {
        "the map has one bit, not one byte, for each weight": torch.tensor(12000.0),
        "the map has a bit for every weight, zero or not": torch.tensor(2000.0 + 500 / 8),
    }
    expect_close(bitmap, torch.tensor(3250.0), what="bitmap", message="10,000 / 8 + 500 times 4.", mistakes=mistakes)


# --- 2: predict, then run -------------------------------------------------------------------------------------------

prediction = Check("Predict: what zeros change")


def prune_and_train() -> dict[str, float]:
    """Make a layer 90 % sparse, store it, and take one step of AdamW with it, which has a memory of one step before.

    Returns:
        ``file``: bytes of the pruned layer, relative to the dense one; ``after``: the sparsity after the step.
    """
    torch.manual_seed(0)
    layer, x_BD = nn.Linear(64, 64), torch.randn(16, 64)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        layer(x_BD).square().mean().backward()
        optimizer.step()

    step()
    dense = layer.weight.untyped_storage().nbytes()
    with torch.no_grad():
        layer.weight[layer.weight.abs() < layer.weight.abs().quantile(0.9)] = 0
    file = layer.weight.untyped_storage().nbytes() / dense
    step()
    return {"file": file, "after": (layer.weight == 0).float().mean().item()}


def csr_bytes(share: float, weights: int = 100_000) -> float:
    """Bytes for each weight in CSR with 32-bit values and columns, row starts left out: 4 is dense."""
    return (1 - share) * weights * (4 + 4) / weights


@prediction.stage("the file")
def _(file: Any, after: Any, even: Any, draw: Draw) -> None:
    mistakes = {"a zero takes as many bytes as any number": torch.tensor(0.1)}
    truth = torch.tensor(prune_and_train()["file"])
    expect_close(file, truth, what="file", message="Run prune_and_train().", mistakes=mistakes, tolerance=0.02)


@prediction.stage("after a step")
def _(file: Any, after: Any, even: Any, draw: Draw) -> None:
    mistakes = {"nothing holds the zeros: the step moves every weight that has a gradient": torch.tensor(0.9)}
    truth = torch.tensor(prune_and_train()["after"])
    expect_close(after, truth, what="after", message="Run prune_and_train().", mistakes=mistakes, tolerance=0.02)


@prediction.stage("where CSR breaks even")
def _(file: Any, after: Any, even: Any, draw: Draw) -> None:
    value = float(expect_tensor(even, (), what="even"))
    if not abs(csr_bytes(value) - 4) <= 0.1:  # so that NaN fails, too
        raise CheckFailed(
            f"at a sparsity of {value:g} CSR takes {csr_bytes(value):.2f} bytes for each weight, and dense takes 4: "
            "each value that is stored brings a column number of the same size"
        )


# --- 3: global masks ------------------------------------------------------------------------------------------------

global_masks = Check("One ranking for all layers")

Masks = Callable[[list[Tensor], float], Sequence[Tensor]]


def _layers(draw: Draw) -> list[Tensor]:
    """Weights of three layers, ten times as large in the second; tens, so that tenths of each are whole numbers."""
    rows = draw.sizes(3, 4, 9)
    return [draw.normal(rows[0], 10), draw.normal(rows[1], 20, scale=10.0), draw.normal(rows[2], 10)]


def _masks(weights: list[Tensor], share: float, score: Callable[[Tensor], Tensor] = torch.abs) -> list[Tensor]:
    flat = torch.cat([score(weight).flatten() for weight in weights])
    kept = torch.ones(len(flat), dtype=torch.bool)
    kept[flat.argsort()[: round(share * len(flat))]] = False
    pieces = kept.split([weight.numel() for weight in weights])
    return [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]


def _answered(function: Masks, weights: list[Tensor], share: float) -> list[Tensor]:
    found = function([weight.clone() for weight in weights], share)
    if found is None or found is ...:
        raise CheckFailed("the result is missing: is the code written, and does it `return`?")
    if len(found) != len(weights):
        raise CheckFailed(f"{len(found)} masks for {len(weights)} layers: return one for each")
    return [expect_tensor(mask, weight.shape, what="a mask") for mask, weight in zip(found, weights, strict=True)]


@global_masks.stage("shapes")
def _(function: Masks, draw: Draw) -> None:
    for mask in _answered(function, _layers(draw), 0.5):
        if mask.dtype != torch.bool:
            raise CheckFailed(f"a mask holds yes and no: expected dtype bool, got {mask.dtype}")


@global_masks.stage("the count")
def _(function: Masks, draw: Draw) -> None:
    weights = _layers(draw)
    total = sum(weight.numel() for weight in weights)
    for share in (0.0, 0.3, 0.8, 1.0):
        masks = _answered(function, weights, share)
        removed = sum(int((~mask.bool()).sum()) for mask in masks)
        if removed == total - round(share * total) != round(share * total):
            raise CheckFailed("True marks the weights that go; it should mark those that stay")
        if removed != round(share * total):
            raise CheckFailed(f"at a share of {share} {removed} of {total} weights go, expected {round(share * total)}")
    for share in (0.2, 0.6):
        masks = _answered(function, [torch.zeros(2, 10), torch.ones(3, 10)], share)
        removed = sum(int((~mask.bool()).sum()) for mask in masks)
        if removed != round(share * 50):
            raise CheckFailed(
                f"of 20 zeros and 30 ones {removed} go, expected {round(share * 50)}: a bound does not tell equal "
                "weights apart, a ranking does"
            )


@global_masks.stage("which")
def _(function: Masks, draw: Draw) -> None:
    weights = _layers(draw)
    masks = _answered(function, weights, 0.6)
    mistakes: dict[str, Tensor | Callable[[], Tensor]] = {
        "this takes the same share of every layer: rank all of them together": lambda: torch.cat(
            [_masks([weight], 0.6)[0].flatten().float() for weight in weights]
        ),
        "this ranks by value: a large negative weight is large": lambda: torch.cat(
            [mask.flatten().float() for mask in _masks(weights, 0.6, torch.clone)]
        ),
    }
    expect_close(
        torch.cat([mask.flatten().float() for mask in masks]),
        torch.cat([mask.flatten().float() for mask in _masks(weights, 0.6)]),
        what="the masks, one after the other,",
        message="The lowest |w| of all layers together go.",
        mistakes=mistakes,
    )


# --- 4: zeros that stay ---------------------------------------------------------------------------------------------

training = Check("Zeros that stay")

STEPS, FINAL = 8, 0.75


def _run(train: Callable[..., Any], draw: Draw) -> tuple[nn.Linear, list[float]]:
    """Train a layer; returns it, and the sparsity that each evaluation of the loss saw."""
    layer, x_BD, seen = nn.Linear(8, 8), draw.normal(32, 8), []
    with torch.no_grad():
        layer.weight.copy_(draw.normal(8, 8))
        layer.bias.zero_()
    target_BD = draw.normal(32, 8)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)

    def loss() -> Tensor:
        seen.append((layer.weight == 0).float().mean().item())
        return F.mse_loss(layer(x_BD), target_BD)

    train(layer, optimizer, loss, STEPS, FINAL)
    if len(seen) != STEPS:
        raise CheckFailed(f"the loss was computed {len(seen)} times; call loss() once in each of the {STEPS} steps")
    return layer, [*seen, (layer.weight == 0).float().mean().item()]


def _shares() -> list[float]:
    return [round(FINAL * (1 - (1 - step / STEPS) ** 3) * 64) / 64 for step in range(STEPS + 1)]


def _train(
    layer: nn.Linear, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], steps: int, final: float
) -> None:
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        share = final * (1 - (1 - step / steps) ** 3)
        with torch.no_grad():
            layer.weight.mul_(_masks([layer.weight], share)[0])


@training.stage("the end")
def _(train: Callable[..., Any], draw: Draw) -> None:
    _, seen = _run(train, draw)
    if seen[-1] == 0:
        raise CheckFailed("no weight is zero at the end: the last thing in a step must be to set weights to zero")
    if abs(seen[-1] - FINAL) > 1e-6:
        raise CheckFailed(f"at the end {seen[-1]:.3f} of the weights are zero, expected {FINAL}")


@training.stage("the schedule")
def _(train: Callable[..., Any], draw: Draw) -> None:
    _, seen = _run(train, draw)
    linear = [round(FINAL * step / STEPS * 64) / 64 for step in range(STEPS + 1)]
    late = [round(FINAL * (step / STEPS) ** 3 * 64) / 64 for step in range(STEPS + 1)]
    expect_close(
        torch.tensor(seen),
        torch.tensor(_shares()),
        what="the sparsity after each step",
        message="After step t of n it is final · (1 - (1 - t/n)³), and the weights are zero when the next step begins.",
        mistakes={
            "this schedule is a straight line: the cubic one is steep at first": torch.tensor(linear),
            "a parenthesis closes too early: the power belongs to (1 - t/n), not to 1 - (1 - t/n)": torch.tensor(late),
        },
    )


@training.stage("the training")
def _(train: Callable[..., Any], draw: Draw) -> None:
    key = draw.seed
    mine, _ = _run(train, Draw("training", key))
    theirs, _ = _run(_train, Draw("training", key))
    expect_close(
        mine.weight, theirs.weight, what="the trained weight", message="Gradients must be cleared before each step."
    )

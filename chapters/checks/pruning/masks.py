"""Checks of the exercises on pruning: masks by pencil and by code, zeros that stay, heads and neurons.

N weights, T tokens, H heads, K head width, D model width, F neurons.
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
    if abs(csr_bytes(value) - 4) > 0.1:
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


def _train(layer: nn.Linear, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], steps: int, final: float):  # type: ignore[no-untyped-def]
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
    expect_close(
        torch.tensor(seen),
        torch.tensor(_shares()),
        what="the sparsity after each step",
        message="After step t of n it is final · (1 - (1 - t/n)³), and the weights are zero when the next step begins.",
        mistakes={"this schedule is a straight line: the cubic one is steep at first": torch.tensor(linear)},
    )


@training.stage("the training")
def _(train: Callable[..., Any], draw: Draw) -> None:
    key = draw.seed
    mine, _ = _run(train, Draw("training", key))
    theirs, _ = _run(_train, Draw("training", key))
    expect_close(
        mine.weight, theirs.weight, what="the trained weight", message="Gradients must be cleared before each step."
    )


# --- 5: importance --------------------------------------------------------------------------------------------------

importance = Check("What a head is worth")


@importance.stage("shape")
def _(function: Callable[..., Tensor], draw: Draw) -> None:
    t, h, k = draw.sizes(3, 2, 7)
    hints = {"one number for each head is wanted, not one for each token and head": (t, h)}
    expect_tensor(function(draw.normal(t, h, k), draw.normal(t, h, k)), (h,), what="importance", hints=hints)


@importance.stage("features of a head belong together")
def _(function: Callable[..., Tensor], draw: Draw) -> None:
    output_THK = torch.ones(1, 2, 2)
    gradient_THK = torch.tensor([[[5.0, -5.0], [1.0, 1.0]]]) * draw.integer(1, 4)
    expect_close(
        function(output_THK, gradient_THK),
        (output_THK * gradient_THK).sum(-1).abs().mean(0),
        what="importance",
        message="A gate multiplies all features of a head at once.",
        mistakes={
            "sum over the features first, then take the size: two features may cancel": (output_THK * gradient_THK)
            .abs()
            .sum(-1)
            .mean(0)
        },
    )


@importance.stage("reference")
def _(function: Callable[..., Tensor], draw: Draw) -> None:
    t, h, k = draw.sizes(3, 3, 8)
    output_THK, gradient_THK = draw.normal(t, h, k), draw.normal(t, h, k)
    product_TH = (output_THK * gradient_THK).sum(-1)
    expect_close(
        function(output_THK, gradient_THK),
        product_TH.abs().mean(0),
        what="importance",
        message="The mean over tokens of |sum over features of output · gradient|.",
        mistakes={
            "tokens with opposite signs cancel here: take the size of each token's sum": product_TH.mean(0).abs(),
            "the size is missing: a loss that falls counts as well": product_TH.mean(0),
            "this is the sum over tokens: take the mean": product_TH.abs().sum(0),
        },
    )


# --- 6: neurons with a mean -----------------------------------------------------------------------------------------

folding = Check("Neurons that leave their mean behind")


def _network(draw: Draw) -> tuple[nn.Linear, nn.Linear, Tensor]:
    d, f = draw.integer(3, 5), draw.integer(7, 9)
    up, down = nn.Linear(d, f), nn.Linear(f, d)
    with torch.no_grad():
        for layer in (up, down):
            layer.weight.copy_(draw.normal(*layer.weight.shape))
            layer.bias.copy_(draw.normal(*layer.bias.shape))
    return up, down, draw.normal(20, d)


def _output(up: nn.Linear, down: nn.Linear, x_ND: Tensor) -> Tensor:
    return down(F.gelu(up(x_ND)))


def _smaller(
    function: Callable[..., Any], up: nn.Linear, down: nn.Linear, gone: list[int], mean_F: Tensor
) -> tuple[nn.Linear, nn.Linear]:
    found = function(up, down, gone, mean_F)
    if not (isinstance(found, tuple) and len(found) == 2 and all(isinstance(layer, nn.Linear) for layer in found)):
        raise CheckFailed("expected a pair of nn.Linear, (up, down): is the code written, and does it `return`?")
    left, (d, f) = up.out_features - len(gone), (up.in_features, up.out_features)
    expect_tensor(found[0].weight, (left, d), what="the new up.weight", hints={"the neurons are its rows": (f, d)})
    expect_tensor(found[0].bias, (left,), what="the new up.bias", hints={"a neuron has a bias, too": (f,)})
    expect_tensor(found[1].weight, (d, left), what="the new down.weight", hints={"the neurons are its columns": (d, f)})
    expect_tensor(found[1].bias, (d,), what="the new down.bias")
    return found


@folding.stage("shapes")
def _(function: Callable[..., Any], draw: Draw) -> None:
    up, down, x_ND = _network(draw)
    _smaller(function, up, down, [0, 3], F.gelu(up(x_ND)).mean(0).detach())


@folding.stage("neurons that add nothing")
def _(function: Callable[..., Any], draw: Draw) -> None:
    up, down, x_ND = _network(draw)
    gone = [1, 4]
    with torch.no_grad():
        down.weight[:, gone] = 0
    before = _output(up, down, x_ND)
    new_up, new_down = _smaller(function, up, down, gone, F.gelu(up(x_ND)).mean(0).detach())
    message = "These neurons had no influence, and the output changes: keep the right rows and columns."
    expect_close(_output(new_up, new_down, x_ND), before, what="the output", message=message)


@folding.stage("neurons that are constant")
def _(function: Callable[..., Any], draw: Draw) -> None:
    up, down, x_ND = _network(draw)
    gone = [2, 5]
    with torch.no_grad():
        up.weight[gone] = 0
        up.bias[gone] = 2.0
    before = _output(up, down, x_ND)
    hidden_NF = F.gelu(up(x_ND)).detach()
    new_up, new_down = _smaller(function, up, down, gone, hidden_NF.mean(0))
    lost_D = down.weight[:, gone] @ hidden_NF.mean(0)[gone]
    expect_close(
        _output(new_up, new_down, x_ND),
        before,
        what="the output",
        message="What these neurons always added belongs into the bias of down.",
        mistakes={
            "their constant contribution is lost: add down.weight[:, gone] @ mean[gone] to the bias": before - lost_D,
            "the contribution is added with the wrong sign": before - 2 * lost_D,
        },
    )


@folding.stage("the originals stay as they were")
def _(function: Callable[..., Any], draw: Draw) -> None:
    up, down, x_ND = _network(draw)
    before = _output(up, down, x_ND).detach()
    _smaller(function, up, down, [0], F.gelu(up(x_ND)).mean(0).detach())
    if up.out_features != up.weight.shape[0] or not torch.equal(_output(up, down, x_ND).detach(), before):
        raise CheckFailed("the layers that were passed in have changed: make new ones")

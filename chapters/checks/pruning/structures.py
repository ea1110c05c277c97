"""Checks of the exercises on pruning: the importance of heads, and neurons folded into a bias.

N rows, T tokens, H heads, K head width, D model width, F neurons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

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

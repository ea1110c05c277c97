"""Quantisation-aware training: weights are rounded in the forward pass, and the backward pass ignores the rounding.

Rounding has a gradient of zero nearly everywhere. The straight-through estimator passes the gradient of the rounded
weight on to the weight itself (Bengio et al. 2013), so that training finds weights that lose little by rounding.

:func:`prepare` and :func:`finish` train for the integer layers of :mod:`plm_core.compression.quantize`. A format that
these do not have, such as integers of 2 or 3 bits, is judged in floats with :func:`finish_in_floats`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.compression.integers import IntegerFormat, quantize
from plm_core.compression.quantize import TOKEN_FORMAT, QuantizeConfig, Range, quantize_model
from plm_core.compression.structure import linear_layers
from plm_core.models.replacement import replace_modules


def round_straight_through(x: Tensor, layout: IntegerFormat) -> Tensor:
    """x rounded to the numbers that integers can represent; the gradient passes through as if x were not rounded."""
    return x + (quantize(x.detach(), layout).dequantize() - x.detach())


class RoundedLinear(nn.Module):
    """A linear layer in training whose weight, and input if configured, is rounded in every forward pass.

    It shares weight and bias with the layer it was made from, so an optimiser that holds them stays valid.

    Args:
        layer: the layer in floats.
        config: that of an integer layer, or a format for the weights alone.
    """

    def __init__(self, layer: nn.Linear, config: QuantizeConfig | IntegerFormat) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.layout = config.weights if isinstance(config, QuantizeConfig) else config
        self.rounds_inputs = isinstance(config, QuantizeConfig) and config.activations != "none"

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if self.rounds_inputs:
            x = round_straight_through(x, TOKEN_FORMAT)
        return F.linear(x, round_straight_through(self.weight, self.layout), self.bias)


def prepare(
    model: nn.Module,
    config: QuantizeConfig | IntegerFormat,
    *,
    choose: Callable[[str, nn.Linear], bool] | None = None,
) -> None:
    """Replace the linear layers of a model by ones that round in training, in place.

    Args:
        model: any model.
        config: that of integer layers, or a format for the weights alone.
        choose: (name, layer) -> whether a layer is to round; all of them by default.
    """
    layers = {name: layer for name, layer in linear_layers(model).items() if choose is None or choose(name, layer)}
    replace_modules(model, {name: RoundedLinear(layer, config) for name, layer in layers.items()})


def finish(model: nn.Module, config: QuantizeConfig, *, ranges: dict[str, Range] | None = None) -> None:
    """Turn a model that was trained after :func:`prepare` into an integer model, in place; arguments as there.

    Raises:
        ValueError: a model that was not prepared.
    """
    replace_modules(model, {name: plain_linear(layer) for name, layer in rounded_layers(model).items()})
    quantize_model(model, config, ranges=ranges)


@torch.no_grad()
def finish_in_floats(model: nn.Module) -> None:
    """Turn a model that was trained after :func:`prepare` into one of floats with rounded weights, in place.

    The layers stay layers of floats: this judges a rounding, it saves no bytes.

    Raises:
        ValueError: a model that was not prepared.
    """
    layers = rounded_layers(model)
    for layer in layers.values():
        layer.weight.copy_(quantize(layer.weight, layer.layout).dequantize())
    replace_modules(model, {name: plain_linear(layer) for name, layer in layers.items()})


def rounded_layers(model: nn.Module) -> dict[str, RoundedLinear]:
    """The layers that round in training, by name.

    Raises:
        ValueError: there is none.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, RoundedLinear)}
    if not found:
        raise ValueError("nothing to finish: no layer of this model was prepared for quantisation-aware training")
    return found


def plain_linear(layer: RoundedLinear) -> nn.Linear:
    """An ordinary linear layer with the same weight and bias."""
    made = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    made.weight, made.bias = layer.weight, layer.bias
    return made

"""Quantisation-aware training: weights are rounded in the forward pass, and the backward pass ignores the rounding.

Rounding has a gradient of zero nearly everywhere. The straight-through estimator passes the gradient of the rounded
weight on to the weight itself (Bengio et al. 2013), so that training finds weights that lose little by rounding.
"""

from __future__ import annotations

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
    """

    def __init__(self, layer: nn.Linear, config: QuantizeConfig) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias, self.config = layer.weight, layer.bias, config

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if self.config.activations != "none":
            x = round_straight_through(x, TOKEN_FORMAT)
        return F.linear(x, round_straight_through(self.weight, self.config.weights), self.bias)


def prepare(model: nn.Module, config: QuantizeConfig) -> None:
    """Replace the linear layers of a model by ones that round in training, in place."""
    replace_modules(model, {name: RoundedLinear(layer, config) for name, layer in linear_layers(model).items()})


def finish(model: nn.Module, config: QuantizeConfig, *, ranges: dict[str, Range] | None = None) -> None:
    """Turn a model that was trained after :func:`prepare` into an integer model, in place; arguments as there.

    Raises:
        ValueError: a model that was not prepared.
    """
    rounded = {name: module for name, module in model.named_modules() if isinstance(module, RoundedLinear)}
    if not rounded:
        raise ValueError("nothing to finish: no layer of this model was prepared for quantisation-aware training")
    replace_modules(model, {name: plain_linear(module) for name, module in rounded.items()})
    quantize_model(model, config, ranges=ranges)


def plain_linear(layer: RoundedLinear) -> nn.Linear:
    """An ordinary linear layer with the same weight and bias."""
    made = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    made.weight, made.bias = layer.weight, layer.bias
    return made

"""Layers whose weights are integers, and a model's layers exchanged for them.

Three ways to treat what flows in: not at all (``"none"``: weights are read back to floats before the product, which
saves bytes, and time only in a kernel that is bound by reading them), ``"dynamic"`` (every token is rounded with its
own scale as it comes) and ``"static"`` (one scale for a layer, chosen beforehand on sample text:
:mod:`plm_core.compression.calibration`). In the last two the product is one of integers and exact; only the rounding of
its factors errs, by no more than :func:`error_bound`.

These layers are the taught ones: their results are those of integer kernels, their speed is not. For speed export the
model (:mod:`plm_core.compression.export`, and :mod:`plm_core.compression.export_quantized`, which keeps its integers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.compression.integers import (
    IntegerFormat,
    Quantized,
    integer_product,
    pack,
    quantize,
    readable,
    round_to,
    unpack,
)
from plm_core.compression.quantized_tables import QuantizedEmbedding, TiedOutput, quantized_tables
from plm_core.compression.structure import linear_layers
from plm_core.config import Config
from plm_core.models.replacement import replace_modules

Activations = Literal["none", "dynamic", "static"]

TOKEN_FORMAT = IntegerFormat(bits=8, symmetric=True, granularity="channel")
"""Dynamic activations: a scale for each token."""
LAYER_FORMAT = IntegerFormat(bits=8, symmetric=False, granularity="tensor")
"""Static activations: one range for a layer, with a zero point, as activations are rarely centred."""


@dataclass(frozen=True)
class QuantizeConfig(Config):
    """How a model is quantised."""

    bits: int = 8
    """Bits of a weight: 8, or 4 (two in a byte)."""
    granularity: Literal["tensor", "channel", "group"] = "channel"
    """Which weights share a scale: see :class:`IntegerFormat`."""
    group_size: int = 32
    """Number of weights in a group."""
    activations: Activations = "none"
    """How the inputs of a layer are treated."""
    embeddings: bool = True
    """Whether word embeddings, and an output layer tied to them, become integers as well."""
    embedding_bits: Literal[4, 8] = 8
    """Bits of a number in a word vector: 8, with one scale for each vector, or 4, with one for each ``group_size``."""
    scale_bits: Literal[16, 32] = 32
    """Bits of the stored scales of weights: with 16, a group of 32 weights of 4 bits takes 18 bytes instead of 20."""

    def validate(self) -> None:
        """Refuse combinations that cannot be computed in integers."""
        if self.bits not in (4, 8):
            raise ValueError(f"QuantizeConfig.bits must be 4 or 8, got {self.bits}")
        self.require_positive("group_size")
        if self.activations != "none" and (self.bits != 8 or self.granularity == "group"):
            raise ValueError(
                "integer activations need 8-bit weights with one scale for a row or a matrix: a product cannot be "
                "summed as integers across groups of different scales. Use activations='none'"
            )

    @property
    def weights(self) -> IntegerFormat:
        """The format of the weights."""
        shared = {name: getattr(self, name) for name in ("bits", "granularity", "group_size", "scale_bits")}
        return IntegerFormat(symmetric=True, **shared)


@dataclass(frozen=True)
class Range:
    """The integers that a layer's input is rounded to: a scale and a zero point (see :class:`LAYER_FORMAT`)."""

    scale: float
    zero_point: int


class QuantizedLinear(nn.Module):
    """A linear layer with integer weights.

    Args:
        in_features, out_features: sizes.
        config: bits, granularity and the treatment of the input.
        bias: whether there is a bias; it stays a float.
        scaled_inputs: whether every input channel is divided by a number of its own, ``channel_scale``.

    The layer is empty until :meth:`from_integers` or a file gives it weights.

    Raises:
        ValueError: input channels that are scaled, and activations that are rounded.
    """

    values: Tensor
    scale: Tensor
    channel_scale: Tensor | None
    input_scale: Tensor
    input_zero_point: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        config: QuantizeConfig,
        *,
        bias: bool = True,
        scaled_inputs: bool = False,
    ) -> None:
        super().__init__()
        if scaled_inputs and config.activations != "none":
            raise ValueError("scales of input channels are for inputs that stay floats: use activations='none'")
        self.in_features, self.out_features, self.config = in_features, out_features, config
        empty = torch.zeros(out_features, in_features)
        weights = quantize(empty, config.weights)
        self.register_buffer("values", pack(weights.values) if config.bits == 4 else weights.values)
        self.register_buffer("scale", weights.scale)
        self.register_buffer("channel_scale", torch.ones(in_features) if scaled_inputs else None)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        if config.activations == "static":
            self.register_buffer("input_scale", torch.ones(1, 1))
            self.register_buffer("input_zero_point", torch.zeros(1, 1, dtype=torch.int32))

    @classmethod
    def of(cls, layer: nn.Linear, config: QuantizeConfig, input_range: Range | None = None) -> QuantizedLinear:
        """Quantise a linear layer: every weight goes to the nearest integer.

        Raises:
            ValueError: static activations without a range, or weights that do not fit the format.
        """
        return cls.from_integers(quantize(layer.weight.detach(), config.weights), layer.bias, config, input_range)

    @classmethod
    def from_integers(
        cls,
        weights: Quantized,
        bias: Tensor | None,
        config: QuantizeConfig,
        input_range: Range | None = None,
        *,
        channel_scale: Tensor | None = None,
    ) -> QuantizedLinear:
        """A layer of integers that were chosen before: see :mod:`plm_core.compression.rounding`.

        Args:
            weights: the integers, (out_features, in_features), in the format ``config.weights``.
            bias: (out_features,); it is copied.
            config: bits, granularity and the treatment of the input.
            input_range: for static activations, what the inputs are rounded to.
            channel_scale: (in_features,), what the input channels are divided by; None for no such division.

        Raises:
            ValueError: integers of another format, static activations without a range, or input channels that are
                scaled together with activations that are rounded.
        """
        if weights.layout != config.weights:
            raise ValueError(f"the integers are in the format {weights.layout}, the layer's is {config.weights}")
        rows, columns = weights.values.shape
        made = cls(columns, rows, config, bias=bias is not None, scaled_inputs=channel_scale is not None)
        made.to(weights.values.device)
        made.values = pack(weights.values) if config.bits == 4 else weights.values
        made.scale, made.channel_scale = weights.scale, channel_scale
        if bias is not None:
            made.bias = nn.Parameter(bias.detach().clone())
        if config.activations == "static":
            if input_range is None:
                raise ValueError("static activations need the range of every layer's input: calibrate first")
            made.input_scale.fill_(input_range.scale)
            made.input_zero_point.fill_(input_range.zero_point)
        return made

    @property
    def weights(self) -> Quantized:
        """The integers and their scales."""
        values = unpack(self.values) if self.config.bits == 4 else self.values
        zero_point = torch.zeros_like(self.scale, dtype=torch.int32)
        return Quantized(values, self.scale, zero_point, self.config.weights)

    @property
    def weight(self) -> Tensor:
        """The weights read back, as they act on the layer's input, (out_features, in_features)."""
        weight = self.weights.dequantize()
        return weight if self.channel_scale is None else weight / self.channel_scale

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if self.config.activations == "none":
            return F.linear(x, self.weight.to(x.dtype), self.bias)
        rows = x.reshape(-1, self.in_features)
        inputs = self.round_input(rows)
        weights = self.weights
        # sum_k s_x (q_x - z_x) s_w q_w = s_x s_w (sum_k q_x q_w - z_x sum_k q_w): the zero point costs one row sum
        product = integer_product(inputs.values, weights.values)
        product = product - inputs.zero_point * weights.values.sum(-1, dtype=torch.int64)
        out = product.to(x.dtype) * inputs.scale * weights.scale.view(1, -1)
        out = out if self.bias is None else out + self.bias
        return out.view(*x.shape[:-1], self.out_features)

    def round_input(self, rows_NK: Tensor) -> Quantized:
        """The input as integers: with a scale for each row, or with the layer's calibrated range."""
        if self.config.activations == "dynamic":
            return quantize(rows_NK, TOKEN_FORMAT)
        return round_to(rows_NK, self.input_scale, self.input_zero_point, LAYER_FORMAT)

    def description(self) -> dict[str, Any]:
        """Kind and sizes: see :class:`~plm_core.compression.saved.Compressed`."""
        config = self.config.to_dict()
        for name, former in (("scale_bits", 32), ("embedding_bits", 8)):
            if config[name] == former:  # left out, as files have it that were written before there was a choice
                del config[name]
        return {
            "kind": "quantized_linear",
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
            "config": config,
        } | ({} if self.channel_scale is None else {"scaled_inputs": True})


def quantize_model(
    model: nn.Module,
    config: QuantizeConfig,
    *,
    ranges: Mapping[str, Range] | None = None,
    choose: Callable[[str, nn.Linear], bool] | None = None,
    make: Callable[[str, nn.Linear], QuantizedLinear] | None = None,
) -> None:
    """Exchange the layers of a model for integer ones, in place.

    Args:
        model: its linear layers, and with ``config.embeddings`` its word embeddings and what is tied to them.
        config: bits, granularity and the treatment of activations.
        ranges: for static activations the input range of every linear layer, from a calibration.
        choose: (name, layer) -> whether a linear layer is exchanged; all of them by default.
        make: (name, layer) -> its integer layer; :meth:`QuantizedLinear.of` by default.

    Raises:
        ValueError: nothing to quantise, or a layer without a range.
    """
    layers = {name: layer for name, layer in linear_layers(model).items() if choose is None or choose(name, layer)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear layer left to quantise, or `choose` takes none")
    make = make or (lambda name, layer: QuantizedLinear.of(layer, config, (ranges or {}).get(name)))
    made: dict[str, nn.Module] = {name: make(name, layer) for name, layer in layers.items()}
    if config.embeddings:
        group_size = config.group_size if config.embedding_bits == 4 else None
        made |= quantized_tables(model, bits=config.embedding_bits, group_size=group_size, scale_bits=config.scale_bits)
    replace_modules(model, made)


def plain_weights(model: nn.Module) -> None:
    """Replace integer layers by ordinary ones with the weights that the integers represent, in place."""
    made: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear | TiedOutput):
            weight = module.weight
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias=module.bias is not None)
            layer.weight = nn.Parameter(weight)
            if module.bias is not None:
                layer.bias = nn.Parameter(module.bias.detach().clone())
            made[name] = layer
        elif isinstance(module, QuantizedEmbedding):
            made[name] = nn.Embedding.from_pretrained(module.weight, freeze=False)
    tied = {name: module.table_name for name, module in model.named_modules() if isinstance(module, TiedOutput)}
    for output, table in tied.items():
        cast(nn.Linear, made[output]).weight = cast(nn.Embedding, made[table]).weight
    replace_modules(model, made)


def error_bound(layer: nn.Linear, x: Tensor, quantized: QuantizedLinear) -> Tensor:
    """How far the output of a quantised layer can lie from the layer's own, if no input is clipped.

    It holds for weights that went to the nearest integer: other roundings move single weights further.

    Each weight is off by at most e_w = s_w/2 and each input by at most e_x = s_x/2 (0 where it stays a float), so that
    ``|y - ŷ| <= sum over k of |x_k|·e_w + |w_k|·e_x + e_x·e_w``.

    Args:
        layer: the layer in floats.
        x: its input, (N, in_features).
        quantized: the layer in integers.

    Returns:
        The bound for every output, (N, out_features).
    """
    scale = quantized.scale.expand(-1, layer.in_features) if quantized.scale.dim() == 2 else None
    if scale is None:
        scale = quantized.scale.expand(-1, -1, quantized.config.group_size).reshape(-1, layer.in_features)
    error_w_MK = (readable(scale) / 2).expand(layer.out_features, -1)
    if quantized.channel_scale is not None:
        error_w_MK = error_w_MK / quantized.channel_scale
    if quantized.config.activations == "none":
        return x.abs() @ error_w_MK.T
    error_x_N1 = quantized.round_input(x).scale / 2
    weight_error_NM = x.abs() @ error_w_MK.T
    return weight_error_NM + error_x_N1 * (layer.weight.abs().sum(-1) + error_w_MK.sum(-1))

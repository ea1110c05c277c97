"""Layers whose weights are integers, and a model's layers exchanged for them.

Three ways to treat what flows in: not at all (``"none"``: weights are read back to floats before the product, which
saves bytes, and time only in a kernel that is bound by reading them), ``"dynamic"`` (every token is rounded with its
own scale as it comes) and ``"static"`` (one scale for a layer, chosen beforehand on sample text:
:mod:`plm_core.compression.calibration`). In the last two the product is one of integers and exact; only the rounding of
its factors errs, by no more than :func:`error_bound`.

These layers are the taught ones: their results are those of integer kernels, their speed is not. For speed export the
model (:mod:`plm_core.compression.export`).
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
    round_to,
    unpack,
)
from plm_core.compression.structure import linear_layers
from plm_core.config import Config
from plm_core.models.replacement import replace_modules
from plm_core.weights import tied_weights

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
    """Whether word embeddings, and an output layer tied to them, become 8-bit integers as well."""

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
        return IntegerFormat(bits=self.bits, symmetric=True, granularity=self.granularity, group_size=self.group_size)


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

    The layer is empty until :meth:`fill` or a file gives it weights.
    """

    values: Tensor
    scale: Tensor
    input_scale: Tensor
    input_zero_point: Tensor

    def __init__(self, in_features: int, out_features: int, config: QuantizeConfig, *, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features, self.config = in_features, out_features, config
        empty = torch.zeros(out_features, in_features)
        weights = quantize(empty, config.weights)
        self.register_buffer("values", pack(weights.values) if config.bits == 4 else weights.values)
        self.register_buffer("scale", weights.scale)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        if config.activations == "static":
            self.register_buffer("input_scale", torch.ones(1, 1))
            self.register_buffer("input_zero_point", torch.zeros(1, 1, dtype=torch.int32))

    @classmethod
    def of(cls, layer: nn.Linear, config: QuantizeConfig, input_range: Range | None = None) -> QuantizedLinear:
        """Quantise a linear layer.

        Raises:
            ValueError: static activations without a range, or weights that do not fit the format.
        """
        made = cls(layer.in_features, layer.out_features, config, bias=layer.bias is not None).to(layer.weight.device)
        weights = quantize(layer.weight.detach(), config.weights)
        made.values = pack(weights.values) if config.bits == 4 else weights.values
        made.scale = weights.scale
        if layer.bias is not None:
            made.bias = nn.Parameter(layer.bias.detach().clone())
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
        """The weights read back, (out_features, in_features)."""
        return self.weights.dequantize()

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if self.config.activations == "none":
            return F.linear(x, self.weight, self.bias)
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
        return {
            "kind": "quantized_linear",
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
            "config": self.config.to_dict(),
        }


class QuantizedEmbedding(nn.Module):
    """A table of word vectors as 8-bit integers, with a scale for each word."""

    values: Tensor
    scale: Tensor

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.register_buffer("values", torch.zeros(num_embeddings, embedding_dim, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(num_embeddings, 1))

    @classmethod
    def of(cls, table: nn.Embedding) -> QuantizedEmbedding:
        """Quantise a table."""
        made = cls(table.num_embeddings, table.embedding_dim)
        weights = quantize(table.weight.detach(), TOKEN_FORMAT)
        made.values, made.scale = weights.values, weights.scale
        return made

    @property
    def weight(self) -> Tensor:
        """The vectors read back, (num_embeddings, embedding_dim)."""
        return self.values.to(self.scale.dtype) * self.scale

    def forward(self, ids: Tensor) -> Tensor:
        """Integers (...) -> vectors (..., embedding_dim); only the rows of these integers are read back."""
        return self.values[ids].to(self.scale.dtype) * self.scale[ids]

    def description(self) -> dict[str, Any]:
        """Kind and sizes: see :class:`~plm_core.compression.saved.Compressed`."""
        return {
            "kind": "quantized_embedding",
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
        }


class TiedOutput(nn.Module):
    """An output layer that reads the rows of a quantised table: logits = x·tableᵀ (+ bias), the table stored once."""

    def __init__(self, table: QuantizedEmbedding, table_name: str, *, bias: bool) -> None:
        super().__init__()
        self._table = [table]  # in a list, so that the table is a sub-module of its owner alone
        self.table_name = table_name
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings)) if bias else None

    @property
    def weight(self) -> Tensor:
        """The table read back, (V, D)."""
        return self._table[0].weight

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        table = self._table[0]
        logits = F.linear(x, table.values.to(x.dtype)) * table.scale.view(-1)
        return logits if self.bias is None else logits + self.bias

    def description(self) -> dict[str, Any]:
        """Kind and name of the table: see :class:`~plm_core.compression.saved.Compressed`."""
        return {"kind": "tied_output", "table": self.table_name, "bias": self.bias is not None}


def quantize_model(
    model: nn.Module,
    config: QuantizeConfig,
    *,
    ranges: Mapping[str, Range] | None = None,
    choose: Callable[[str, nn.Linear], bool] | None = None,
) -> None:
    """Exchange the layers of a model for integer ones, in place.

    Args:
        model: its linear layers, and with ``config.embeddings`` its word embeddings and what is tied to them.
        config: bits, granularity and the treatment of activations.
        ranges: for static activations the input range of every linear layer, from a calibration.
        choose: (name, layer) -> whether a linear layer is exchanged; all of them by default.

    Raises:
        ValueError: nothing to quantise, or a layer without a range.
    """
    layers = {name: layer for name, layer in linear_layers(model).items() if choose is None or choose(name, layer)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear layer left to quantise, or `choose` takes none")
    made: dict[str, nn.Module] = {
        name: QuantizedLinear.of(layer, config, (ranges or {}).get(name)) for name, layer in layers.items()
    }
    if config.embeddings:
        made |= quantized_tables(model)
    replace_modules(model, made)


def quantized_tables(model: nn.Module) -> dict[str, nn.Module]:
    """Quantised copies of the word embeddings and of the output layers tied to them, by name."""
    made: dict[str, nn.Module] = {}
    tables: dict[str, QuantizedEmbedding] = {}
    for name, module in model.named_modules():
        if type(module) is nn.Embedding and name.endswith("word_embeddings"):
            made[name] = tables[name] = QuantizedEmbedding.of(module)
    for alias, source in tied_weights(model).items():
        owner, table = alias.removesuffix(".weight"), source.removesuffix(".weight")
        if table in tables and isinstance(layer := model.get_submodule(owner), nn.Linear):
            output = TiedOutput(tables[table], table, bias=layer.bias is not None)
            if layer.bias is not None:
                output.bias = nn.Parameter(layer.bias.detach().clone())
            made[owner] = output
    return made


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
    error_w_MK = (scale / 2).expand(layer.out_features, -1)
    if quantized.config.activations == "none":
        return x.abs() @ error_w_MK.T
    error_x_N1 = quantized.round_input(x).scale / 2
    weight_error_NM = x.abs() @ error_w_MK.T
    return weight_error_NM + error_x_N1 * (layer.weight.abs().sum(-1) + error_w_MK.sum(-1))

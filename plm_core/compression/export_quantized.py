"""ONNX files that keep the integers of a quantised model, of 8 or 4 bits.

:func:`~plm_core.compression.export.quantize_onnx` rounds the weights of a file anew, to 8 bits. Here the integers and
scales of the :class:`~plm_core.compression.quantize.QuantizedLinear` layers and of the quantised tables of word vectors
go into the file as they are, 4-bit ones two in a byte, however they were chosen. They are read by two operators that
ONNX Runtime adds to the standard, ``MatMulNBits`` and ``GatherBlockQuantized``, as it has them from version 1.23 on.
Other engines may not know them.

The operators want a scale for every ``block_size`` neighbours in a row, a power of two from 16 to 256. A scale that
serves more neighbours is written once for each block. Of the scales of 16 bits the exporter writes those of small
matrices, up to 8192 scales, in 32 bits.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from plm_core.compression.export import require, write_graph
from plm_core.compression.integers import Quantized, pack
from plm_core.compression.onnx_graphs import graph_of
from plm_core.compression.quantize import QuantizedLinear
from plm_core.compression.quantized_tables import QuantizedEmbedding, TiedOutput
from plm_core.models.replacement import replace_modules

BLOCK_SIZES = tuple(2**n for n in range(4, 9))
"""How many neighbours in a row may share a scale."""
DOMAIN = "com.microsoft"
FP32, INT8 = 1, 4
"""Values of the attribute ``accuracy_level`` of MatMulNBits: inputs stay floats, or become 8-bit integers with a scale
for each block."""


class BlockQuantizedWeight(nn.Module):
    """Symmetric integers and scales, stored as ONNX Runtime's operators read them.

    Attributes:
        values: unsigned integers, uint8 of shape (rows, columns), or (rows, columns / 2) with two 4-bit ones in a byte.
            The middle of their range stands for zero.
        scale: (rows, columns / block_size), fp16 or fp32.

    Args:
        weights: symmetric integers of 8 or 4 bits, (rows, columns).
        name: the name of the layer, for the error message.

    Raises:
        ValueError: numbers with a common scale that no block size divides.
    """

    values: Tensor
    scale: Tensor

    def __init__(self, weights: Quantized, name: str) -> None:
        super().__init__()
        (self.num_rows, self.num_columns), layout = weights.values.shape, weights.layout
        grouped = layout.granularity == "group"
        sharing = layout.group_size if grouped else self.num_columns
        sizes = [size for size in BLOCK_SIZES if sharing % size == 0]
        if not sizes:
            raise ValueError(
                f"{name}: {sharing} weights share a scale, which ONNX Runtime cannot cut into blocks: they must be a "
                f"multiple of {BLOCK_SIZES[0]}. Choose another group_size, or leave this layer in floats"
            )
        self.block_size, self.bits = sizes[-1], layout.bits
        unsigned = (weights.values.to(torch.int16) + 2 ** (self.bits - 1)).to(torch.uint8)
        self.register_buffer("values", pack(unsigned) if self.bits == 4 else unsigned)
        scale = weights.scale.flatten(1) if grouped else weights.scale.view(-1, 1)  # (rows or 1, groups or 1)
        scale = scale.expand(self.num_rows, -1).repeat_interleave(sharing // self.block_size, dim=1)
        self.register_buffer("scale", scale.contiguous() if scale.dtype == torch.float16 else scale.float())

    def product(self, x: Tensor, accuracy_level: int) -> Tensor:
        """The product of states with the transposed weight, (..., columns) -> (..., rows)."""
        blocks = self.values.view(self.num_rows, self.num_columns // self.block_size, -1)
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::MatMulNBits",
            (x, blocks, self.scale.flatten().float()),
            {
                "K": self.num_columns,
                "N": self.num_rows,
                "bits": self.bits,
                "block_size": self.block_size,
                "accuracy_level": accuracy_level,
            },
            dtype=x.dtype,
            shape=(*x.shape[:-1], self.num_rows),
            version=1,
        )

    def rows(self, ids: Tensor) -> Tensor:
        """Rows of the weight as floats, integers (...) -> (..., columns)."""
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::GatherBlockQuantized",
            (self.values, ids, self.scale.float()),
            {"bits": self.bits, "block_size": self.block_size, "gather_axis": 0, "quantize_axis": 1},
            dtype=torch.float32,
            shape=(*ids.shape, self.num_columns),
            version=1,
        )


class OnnxLinear(nn.Module):
    """What stands for an integer layer in the exported graph. It can be traced, not computed.

    Args:
        weight: (out_features, in_features).
        bias: (out_features,), or None.
        channel_scale: (in_features,), what the inputs are divided by, or None.
        accuracy_level: FP32 or INT8.
    """

    bias: Tensor | None
    channel_scale: Tensor | None

    def __init__(
        self, weight: BlockQuantizedWeight, bias: Tensor | None, channel_scale: Tensor | None, accuracy_level: int
    ) -> None:
        super().__init__()
        self.weight, self.accuracy_level = weight, accuracy_level
        self.in_features, self.out_features = weight.num_columns, weight.num_rows
        self.register_buffer("bias", None if bias is None else bias.detach().float())
        self.register_buffer("channel_scale", None if channel_scale is None else channel_scale.float())

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        x = x if self.channel_scale is None else x / self.channel_scale
        out = self.weight.product(x, self.accuracy_level)
        return out if self.bias is None else out + self.bias


class OnnxEmbedding(nn.Module):
    """What stands for a quantised table of word vectors in the exported graph. It can be traced, not computed."""

    def __init__(self, weight: BlockQuantizedWeight) -> None:
        super().__init__()
        self.weight, self.num_embeddings = weight, weight.num_rows

    def forward(self, ids: Tensor) -> Tensor:
        """Integers (...) -> vectors (..., embedding_dim)."""
        return self.weight.rows(ids)


def export_quantized(model: nn.Module, path: Path | str, *, exact: bool = False) -> None:
    """Write a quantised model as an ONNX file that keeps its integers, with dynamic batch and length.

    Args:
        model: a model that :func:`~plm_core.compression.export.export_onnx` takes, after
            :func:`~plm_core.compression.quantize.quantize_model`. Layers that are not quantised stay floats.
        path: the file to write.
        exact: compute the products of the layers in floats, as the model does. By default, where ONNX Runtime has a
            kernel for it, their inputs are rounded to 8-bit integers, with a scale for each block, and multiplied as
            integers, which is faster.

    Raises:
        ValueError: a model without integer weights, or of another kind; layers with integer activations; weights that
            cannot be cut into blocks; a missing package, or torch before 2.8.
    """
    require("onnx", "onnxscript")
    if not hasattr(getattr(torch.onnx, "ops", None), "symbolic"):
        raise ValueError("an export of integers needs torch 2.8 or newer: export_onnx writes them as floats")
    made = onnx_modules(model, FP32 if exact else INT8)
    if not made:
        raise ValueError("the model has no integer weights: quantise it first, or write it as floats")
    copied = copy.deepcopy(model).cpu().float().eval()
    replace_modules(copied, made)
    write_graph(graph_of(copied), path)


def onnx_modules(model: nn.Module, accuracy_level: int) -> dict[str, nn.Module]:
    """What stands in the exported graph for the integer layers and tables of a model, on the CPU, by name.

    Raises:
        ValueError: layers with integer activations, or weights that cannot be cut into blocks.
    """
    made: dict[str, nn.Module] = {}
    tables: dict[str, BlockQuantizedWeight] = {}
    for name, module in model.named_modules():
        if isinstance(module, QuantizedEmbedding):
            tables[name] = BlockQuantizedWeight(module.weights, name)
            made[name] = OnnxEmbedding(tables[name]).cpu()
        elif isinstance(module, QuantizedLinear):
            if module.config.activations != "none":
                raise ValueError(
                    f"{name} has integer activations, which this export cannot write: quantise with activations='none'"
                )
            weight = BlockQuantizedWeight(module.weights, name)
            made[name] = OnnxLinear(weight, module.bias, module.channel_scale, accuracy_level).cpu()
    for name, module in model.named_modules():
        if isinstance(module, TiedOutput):
            made[name] = OnnxLinear(tables[module.table_name], module.bias, None, accuracy_level).cpu()
    return made

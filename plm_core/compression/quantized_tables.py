"""Word vectors as integers: the table, and the output layer that is tied to it and reads the same integers."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.compression.integers import IntegerFormat, Quantized, pack, quantize, unpack
from plm_core.weights import tied_weights


class QuantizedEmbedding(nn.Module):
    """A table of word vectors as integers of 8 or 4 bits, with a scale for each vector or for each group of neighbours.

    Args:
        num_embeddings, embedding_dim: sizes.
        bits: 8, or 4 (two in a byte).
        group_size: how many neighbours in a vector share a scale; None: all of them.
        scale_bits: bits of a stored scale.

    Raises:
        ValueError: vectors that groups do not divide, or of odd length with 4 bits.
    """

    values: Tensor
    scale: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        bits: Literal[4, 8] = 8,
        group_size: int | None = None,
        scale_bits: Literal[16, 32] = 32,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.layout = IntegerFormat(
            bits=bits,
            granularity="group" if group_size else "channel",
            group_size=group_size or embedding_dim,
            scale_bits=scale_bits,
        )
        empty = quantize(torch.zeros(num_embeddings, embedding_dim), self.layout)
        self.register_buffer("values", pack(empty.values) if bits == 4 else empty.values)
        self.register_buffer("scale", empty.scale)

    @classmethod
    def of(
        cls,
        table: nn.Embedding,
        *,
        bits: Literal[4, 8] = 8,
        group_size: int | None = None,
        scale_bits: Literal[16, 32] = 32,
    ) -> QuantizedEmbedding:
        """Quantise a table, (num_embeddings, embedding_dim); arguments and errors as for the class."""
        size = table.num_embeddings, table.embedding_dim
        made = cls(*size, bits=bits, group_size=group_size, scale_bits=scale_bits)
        weights = quantize(table.weight.detach(), made.layout)
        made.values, made.scale = pack(weights.values) if bits == 4 else weights.values, weights.scale
        return made

    @property
    def weights(self) -> Quantized:
        """The integers and their scales."""
        return self.rows(slice(None))

    @property
    def weight(self) -> Tensor:
        """The vectors read back, (num_embeddings, embedding_dim)."""
        return self.weights.dequantize()

    def forward(self, ids: Tensor) -> Tensor:
        """Integers (...) -> vectors (..., embedding_dim); only the rows of these integers are read back."""
        return self.rows(ids.flatten()).dequantize().view(*ids.shape, self.embedding_dim)

    def rows(self, chosen: Tensor | slice) -> Quantized:
        """The integers and scales of some rows, chosen by a slice or by integers (N,)."""
        values, scale = self.values[chosen], self.scale[chosen]
        values = unpack(values) if self.layout.bits == 4 else values
        return Quantized(values, scale, torch.zeros_like(scale, dtype=torch.int32), self.layout)

    def description(self) -> dict[str, Any]:
        """Kind and sizes: see :class:`~plm_core.compression.saved.Compressed`; what has its default is left out."""
        layout, defaults = self.layout, {"bits": 8, "group_size": None, "scale_bits": 32}
        format_of = {
            "bits": layout.bits,
            "group_size": layout.group_size if layout.granularity == "group" else None,
            "scale_bits": layout.scale_bits,
        }
        return {
            "kind": "quantized_embedding",
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
        } | {name: value for name, value in format_of.items() if value != defaults[name]}


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
        weights = self._table[0].weights
        if weights.layout.granularity == "channel":  # a scale for each word multiplies its logit
            logits = F.linear(x, weights.values.to(x.dtype)) * weights.scale.view(-1)
        else:
            logits = F.linear(x, weights.dequantize().to(x.dtype))
        return logits if self.bias is None else logits + self.bias

    def description(self) -> dict[str, Any]:
        """Kind and name of the table: see :class:`~plm_core.compression.saved.Compressed`."""
        return {"kind": "tied_output", "table": self.table_name, "bias": self.bias is not None}


def quantized_tables(
    model: nn.Module,
    *,
    bits: Literal[4, 8] = 8,
    group_size: int | None = None,
    scale_bits: Literal[16, 32] = 32,
) -> dict[str, nn.Module]:
    """Quantised copies of the word embeddings and of the output layers tied to them, by name.

    Arguments and errors are those of :class:`QuantizedEmbedding`.
    """
    made: dict[str, nn.Module] = {}
    tables: dict[str, QuantizedEmbedding] = {}
    for name, module in model.named_modules():
        if type(module) is nn.Embedding and name.endswith("word_embeddings"):
            made[name] = tables[name] = QuantizedEmbedding.of(
                module, bits=bits, group_size=group_size, scale_bits=scale_bits
            )
    for alias, source in tied_weights(model).items():
        owner, table = alias.removesuffix(".weight"), source.removesuffix(".weight")
        if table in tables and isinstance(layer := model.get_submodule(owner), nn.Linear):
            output = TiedOutput(tables[table], table, bias=layer.bias is not None)
            if layer.bias is not None:
                output.bias = nn.Parameter(layer.bias.detach().clone())
            made[owner] = output
    return made

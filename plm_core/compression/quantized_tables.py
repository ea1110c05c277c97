"""Word vectors as integers: the table, and the output layer that is tied to it and reads the same integers."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.compression.integers import IntegerFormat, quantize, readable
from plm_core.weights import tied_weights

WORD_FORMAT = IntegerFormat(bits=8, symmetric=True, granularity="channel")
"""Word vectors: a scale for each word."""


class QuantizedEmbedding(nn.Module):
    """A table of word vectors as 8-bit integers, with a scale of 32 or 16 bits for each word."""

    values: Tensor
    scale: Tensor

    def __init__(self, num_embeddings: int, embedding_dim: int, *, scale_bits: Literal[16, 32] = 32) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        empty = quantize(torch.zeros(num_embeddings, embedding_dim), WORD_FORMAT.replace(scale_bits=scale_bits))
        self.register_buffer("values", empty.values)
        self.register_buffer("scale", empty.scale)

    @classmethod
    def of(cls, table: nn.Embedding, *, scale_bits: Literal[16, 32] = 32) -> QuantizedEmbedding:
        """Quantise a table, (num_embeddings, embedding_dim)."""
        made = cls(table.num_embeddings, table.embedding_dim, scale_bits=scale_bits)
        weights = quantize(table.weight.detach(), WORD_FORMAT.replace(scale_bits=scale_bits))
        made.values, made.scale = weights.values, weights.scale
        return made

    @property
    def weight(self) -> Tensor:
        """The vectors read back, (num_embeddings, embedding_dim)."""
        scale = readable(self.scale)
        return self.values.to(scale.dtype) * scale

    def forward(self, ids: Tensor) -> Tensor:
        """Integers (...) -> vectors (..., embedding_dim); only the rows of these integers are read back."""
        scale = readable(self.scale[ids])
        return self.values[ids].to(scale.dtype) * scale

    def description(self) -> dict[str, Any]:
        """Kind and sizes: see :class:`~plm_core.compression.saved.Compressed`."""
        return {
            "kind": "quantized_embedding",
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
        } | ({"scale_bits": 16} if self.scale.dtype == torch.float16 else {})


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


def quantized_tables(model: nn.Module, scale_bits: Literal[16, 32] = 32) -> dict[str, nn.Module]:
    """Quantised copies of the word embeddings and of the output layers tied to them, by name."""
    made: dict[str, nn.Module] = {}
    tables: dict[str, QuantizedEmbedding] = {}
    for name, module in model.named_modules():
        if type(module) is nn.Embedding and name.endswith("word_embeddings"):
            made[name] = tables[name] = QuantizedEmbedding.of(module, scale_bits=scale_bits)
    for alias, source in tied_weights(model).items():
        owner, table = alias.removesuffix(".weight"), source.removesuffix(".weight")
        if table in tables and isinstance(layer := model.get_submodule(owner), nn.Linear):
            output = TiedOutput(tables[table], table, bias=layer.bias is not None)
            if layer.bias is not None:
                output.bias = nn.Parameter(layer.bias.detach().clone())
            made[owner] = output
    return made

"""What the exported graph of each model computes: modules with named inputs and outputs that an exporter can trace.

The graph takes any batch and any length up to the model's. BERT's runs both heads at every position, a classifier's
ends in its logits; GPT's takes the keys and values of earlier tokens and returns them with the new ones, so that one
graph serves both the first pass (an empty past) and every further token.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from plm_core.compression.quantize import plain_weights
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier
from plm_core.models.gpt import Gpt
from plm_core.models.heads import SequenceClassifier
from plm_core.models.kv_cache import Cache, KVCache
from plm_core.models.multi_head import MultiHeadAttention

Example = tuple[tuple[Tensor, ...], tuple[dict[int, str], ...]]

POSITIONS = "position_ids"
BY_TOKEN = {0: "batch", 1: "tokens"}
"""The names of the axes of an input (B, T), of which both may vary."""


def encoder_example() -> Example:
    """Inputs to trace an encoder with, and the names of their axes that may vary."""
    ids = torch.zeros(2, 5, dtype=torch.long)
    return (ids, torch.ones_like(ids, dtype=torch.bool), ids.clone()), (BY_TOKEN,) * 3


class BertGraph(nn.Module):
    """What the exported graph of a :class:`Bert` computes."""

    inputs = ("input_ids", "attention_mask", "token_type_ids")
    outputs = ("last_hidden_state", "prediction_logits", "seq_relationship_logits", "pooler_output")

    def __init__(self, model: Bert) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, T) each -> states (B, T, D), word logits (B, T, V), sentence logits (B, 2), pooled (B, D)."""
        model = self.model
        x_BTD = model.encoder(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        pooled_BD = model.pooler(x_BTD)
        return x_BTD, model.mlm_head(x_BTD), model.nsp_head(pooled_BD), pooled_BD

    def example(self) -> Example:
        """Inputs to trace with, and the names of their axes that may vary."""
        return encoder_example()


class ClassifierGraph(nn.Module):
    """What the exported graph of a text classifier on a Bert computes."""

    inputs = BertGraph.inputs
    outputs = ("logits",)

    def __init__(self, model: BertClassifier | SequenceClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(B, T) each -> logits of the classes (B, C)."""
        return self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)

    def example(self) -> Example:
        """Inputs to trace with, and the names of their axes that may vary."""
        return encoder_example()


class GptGraph(nn.Module):
    """What the exported graph of a :class:`Gpt` computes.

    A model that adds positions to its embeddings takes them as an input: with padding on the left, or with packed
    documents, only the caller knows them. To other models they mean nothing, and there is no such input.
    """

    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "past")
    outputs = ("logits", "present")

    def __init__(self, model: Gpt) -> None:
        super().__init__()
        heads = {layer.num_heads for layer in model.modules() if isinstance(layer, MultiHeadAttention)}
        if len(heads) > 1:
            raise ValueError(
                f"the blocks have {sorted(heads)} heads: their keys and values do not fit one tensor. Remove "
                "equally many heads from every block before an export"
            )
        self.model, self.heads = model, heads.pop()
        if model.embeddings.position is not None:
            self.inputs = (*self.inputs, POSITIONS)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, past: Tensor, position_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Ids and positions (B, T), mask (B, P + T), past (L, 2, B, H, P, K) -> logits (B, T, V) and the present,
        (L, 2, B, H, P + T, K)."""
        layers = [JoinedCache(*past[number]) for number in range(past.shape[0])]
        cache = Cache(0)
        cache.self_attention, cache.cross_attention = list(layers), [KVCache() for _ in layers]
        x_BTD = self.model.hidden_states(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, cache=cache
        )
        # not through the model's forward, which looks at the number of tokens to choose a product and so would fix it
        logits = self.model.lm_head(x_BTD)
        return logits, torch.stack([torch.stack((layer.keys, layer.values)) for layer in layers])

    def example(self) -> Example:
        """Inputs to trace with, and the names of their axes that may vary."""
        past = self.empty_past(2, length=3)
        ids = torch.zeros(2, 5, dtype=torch.long)
        inputs = (ids, torch.ones(2, 8, dtype=torch.bool), past)
        axes = (BY_TOKEN, {0: "batch", 1: "past_and_tokens"}, {2: "batch", 4: "past"})
        if POSITIONS in self.inputs:
            inputs, axes = (*inputs, ids + 3), (*axes, BY_TOKEN)  # type: ignore[assignment]
        return inputs, axes

    def empty_past(self, batch: int, *, length: int = 0) -> Tensor:
        """Zeros in the shape of the past, (L, 2, B, H, length, K)."""
        shape = self.model.config
        return torch.zeros(shape.num_hidden_layers, 2, batch, self.heads, length, shape.head_size)


class JoinedCache(KVCache):
    """A cache that starts from given tensors and joins new ones to them: a graph has no buffer to write into."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self._k, self._v, self.length = keys, values, keys.shape[2]

    def append(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, old and new."""
        assert self._k is not None and self._v is not None  # noqa: PT018
        self._k, self._v = torch.cat((self._k, k_BHTK), dim=2), torch.cat((self._v, v_BHTK), dim=2)
        self.length = self._k.shape[2]
        return self._k, self._v


Graph = BertGraph | ClassifierGraph | GptGraph


def graph(model: nn.Module) -> Graph:
    """The module that is exported for a model: a copy in evaluation mode, on the CPU, integer weights read back.

    Raises:
        ValueError: as for :func:`graph_of`.
    """
    copied = copy.deepcopy(model).cpu().float().eval()
    plain_weights(copied)
    return graph_of(copied)


def graph_of(model: nn.Module) -> Graph:
    """The module that is exported for a model, with the model itself inside, not a copy.

    Raises:
        ValueError: a model that is neither a Bert, a Gpt nor a text classifier on a Bert, or blocks with different
            numbers of heads in a Gpt.
    """
    if isinstance(model, Bert):
        return BertGraph(model)
    if isinstance(model, Gpt):
        return GptGraph(model)
    if isinstance(model, BertClassifier | SequenceClassifier) and isinstance(model.config, BertConfig):
        return ClassifierGraph(model)
    raise ValueError(
        f"a {type(model).__name__} cannot be exported: only Bert, Gpt and text classifiers on a Bert have a graph"
    )

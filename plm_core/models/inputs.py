"""The inputs of a Transformer: embeddings of token ids, and masks in the shape that attention broadcasts.

Shapes are written into names: B batch, T tokens, S key tokens, D model width, P positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from plm_core.models.blocks import make_norm
from plm_core.models.config import TransformerConfig, acts_on_embeddings
from plm_core.models.dropout import Dropout
from plm_core.models.positions import PositionScheme, Sinusoidal


class Embeddings(nn.Module):
    """Token ids to the first state of the residual stream: word + type + position, norm, dropout.

    Under sinusoidal positions, whose entries are of size one, the word vectors are multiplied by sqrt(D), as in
    Vaswani et al. (2017), section 3.4.

    Args:
        config: the model's shape.
        position: the scheme whose ``embed`` is applied.
        type_vocab_size: number of token types (BERT: 2, first and second sentence); 0 for none.
        norm: whether the sum is normalised (BERT: yes, GPT-2: no).
    """

    def __init__(
        self, config: TransformerConfig, position: PositionScheme, *, type_vocab_size: int = 0, norm: bool = False
    ) -> None:
        super().__init__()
        self.max_length = config.max_position_embeddings
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(type_vocab_size, config.hidden_size) if type_vocab_size else None
        self.position = position if acts_on_embeddings(position) else None
        self.scale = math.sqrt(config.hidden_size) if isinstance(position, Sinusoidal) else 1.0
        self.norm = make_norm(config.hidden_size, norm=config.norm, eps=config.layer_norm_eps) if norm else None
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Embed tokens.

        Args:
            input_ids: integers, (B, T).
            token_type_ids: integers, (B, T); all zero if None.
            position_ids: integers, (B, T), each below offset + T: positions that restart with every document of a
                packed sequence. If None, token t stands at offset + t. Schemes that act in attention see distances
                only, which are right in a packed sequence as they are.
            offset: position of the first token: the length of the cache.

        Returns:
            The stream, (B, T, D).

        Raises:
            ValueError: more tokens than the model has positions, or an id outside the vocabulary.
        """
        if input_ids.dim() != 2:
            raise ValueError(f"input_ids must have shape (batch, tokens), got {tuple(input_ids.shape)}")
        length = offset + input_ids.shape[1]
        if self.max_length is not None and length > self.max_length:
            raise ValueError(
                f"the sequence has {length} tokens, the model takes {self.max_length}: truncate or split the text, or "
                "build the model with a larger max_position_embeddings"
            )
        check_ids(input_ids, self.word_embeddings.num_embeddings, "input_ids")
        x_BTD = self.word_embeddings(input_ids) * self.scale
        if self.token_type_embeddings is not None:
            if token_type_ids is None:
                token_type_ids = torch.zeros_like(input_ids)
            check_ids(token_type_ids, self.token_type_embeddings.num_embeddings, "token_type_ids")
            x_BTD = x_BTD + self.token_type_embeddings(token_type_ids)
        elif token_type_ids is not None:
            raise ValueError("this model has no token types: leave token_type_ids out")
        if self.position is not None:
            if position_ids is None:
                x_BTD = self.position.embed(x_BTD, offset=offset)
            else:
                check_ids(position_ids, length, "position_ids")
                table_1PD = self.position.embed(x_BTD.new_zeros(1, length, x_BTD.shape[-1]))
                x_BTD = x_BTD + table_1PD[0][position_ids]
        if self.norm is not None:
            x_BTD = self.norm(x_BTD)
        return self.dropout(x_BTD)


def check_ids(ids: Tensor, size: int, name: str) -> None:
    """Raise ValueError if an id lies outside [0, size).

    Only tensors on the CPU are checked: on a GPU every step would have to wait for the device.
    """
    if ids.device.type != "cpu" or ids.numel() == 0 or torch.compiler.is_compiling():
        return
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= size:
        wrong = lowest if lowest < 0 else highest
        where = [int(i) for i in (ids == wrong).nonzero()[0]]
        raise ValueError(
            f"{name} holds {wrong} at {where}, but valid ids are 0 to {size - 1}: do the tokenizer and the model "
            "belong together?"
        )


def expand_mask(attention_mask: Tensor | None, *, batch: int, queries: int, keys: int) -> Tensor | None:
    """Bring an attention mask of a model's caller to the shape that attention broadcasts.

    Args:
        attention_mask: bool, True = real. (B, S): which keys are tokens, not padding. (B, T, S): which keys each query
            may see, for example only those of its own document in a packed sequence.
        batch, queries, keys: B, T and S.

    Returns:
        A mask of shape (B, 1, 1, S) or (B, 1, T, S), or None for None.

    Raises:
        ValueError: a mask that is not bool or has another shape.
    """
    if attention_mask is None:
        return None
    if attention_mask.dtype != torch.bool:
        raise ValueError(
            f"attention_mask must be bool, True = real token, got {attention_mask.dtype}: convert it by .bool()"
        )
    if attention_mask.shape == (batch, keys):
        return attention_mask[:, None, None, :]
    if attention_mask.shape == (batch, queries, keys):
        return attention_mask[:, None, :, :]
    raise ValueError(
        f"attention_mask must have shape {(batch, keys)} or {(batch, queries, keys)} (cached tokens count as keys), "
        f"got {tuple(attention_mask.shape)}"
    )

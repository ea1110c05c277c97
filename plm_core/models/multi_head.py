"""Multi-head attention: projections, heads, positions, packed sequences and the key-value cache around :func:`attend`.

Shapes are written into names: B batch, T query tokens, S key tokens, D model width, H heads, K head width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from plm_core.models.attention import attend
from plm_core.models.varlen import PackedSequences, attend_packed

if TYPE_CHECKING:
    from plm_core.models.kv_cache import KVCache
    from plm_core.models.positions import PositionScheme


class MultiHeadAttention(nn.Module):
    """Multi-head attention: every head attends on its own in a space of width hidden_size / num_heads.

    Args:
        hidden_size: model width D of input and output.
        num_heads: number of heads H; must divide hidden_size.
        position: a position scheme that acts inside self-attention (rotation, score bias, value term), or None.
        dropout: probability of dropping an attention weight in training.
        bias: whether the four projections have a bias.

    Raises:
        ValueError: hidden_size is not a multiple of num_heads.

    Source: Vaswani et al. (2017), section 3.2.2.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        position: PositionScheme | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_heads < 1 or hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} must be a multiple of num_heads {num_heads}, at least 1")
        self.num_heads = num_heads
        self.dropout = dropout
        self.position = position
        self.query = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.key = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.value = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.output = nn.Linear(hidden_size, hidden_size, bias=bias)

    def forward(
        self,
        x_BTD: Tensor,
        context_BSD: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend from x to itself (self-attention), or to a context (cross attention).

        Args:
            x_BTD: (B, T, D).
            context_BSD: (B, S, D) for cross attention. Position schemes do not act there.
            mask: bool, broadcastable to (B, H, T, S), S counting cached tokens; True = may be attended.
            sequences: where the sequences begin and end if x is one row of several (B = 1), instead of a mask.
            is_causal: each query attends to the keys up to its own position.
            cache: in self-attention, the keys and values of earlier tokens, to which those of x are appended. In cross
                attention the cache is filled from the context once and read from then on.
            need_weights: return the weights as well; not available for packed sequences.

        Returns:
            The output (B, T, D), with the weights (B, H, T, S) if ``need_weights``. Where a query may see nothing, the
            output is the bias of the output projection.

        Raises:
            ValueError: a wrong shape, or a cache that holds another context.
        """
        self.check_width(x_BTD, context_BSD)
        q_BHTK = self.split_heads(self.query(x_BTD))  # (B, T, D) -> (B, H, T, K)
        offset = 0  # position of the first query
        if context_BSD is None:
            offset = 0 if cache is None else cache.length
            q_BHTK, k_BHSK, v_BHSK = self.own_keys_values(x_BTD, q_BHTK, cache, offset)
        else:
            k_BHSK, v_BHSK = self.context_keys_values(context_BSD, cache)

        dropout = self.dropout if self.training else 0.0
        weights_BHTS = None
        if sequences is not None:
            assert cache is None
            assert not need_weights
            out_BHTK = attend_packed(q_BHTK, k_BHSK, v_BHSK, sequences, is_causal=is_causal, dropout=dropout)
        elif self.position is not None and context_BSD is None:
            out_BHTK, weights_BHTS = self.attend_by_position(
                *(q_BHTK, k_BHSK, v_BHSK, offset),
                mask=mask,
                is_causal=is_causal,
                dropout=dropout,
                need_weights=need_weights,
            )
        else:
            out_BHTK, weights_BHTS = attend(
                q_BHTK, k_BHSK, v_BHSK, mask=mask, is_causal=is_causal, dropout=dropout, need_weights=need_weights
            )
        out_BTD = self.output(self.merge_heads(out_BHTK))  # (B, H, T, K) -> (B, T, D)
        if not need_weights:
            return out_BTD
        assert weights_BHTS is not None
        return out_BTD, weights_BHTS

    def check_width(self, x_BTD: Tensor, context_BSD: Tensor | None) -> None:
        """Raise ValueError if an input is not of shape (batch, tokens, hidden_size)."""
        for name, tensor in (("x", x_BTD), ("context", context_BSD)):
            if tensor is not None and (tensor.dim() != 3 or tensor.shape[-1] != self.query.in_features):
                expected = f"(batch, tokens, {self.query.in_features})"
                raise ValueError(f"{name} must have shape {expected}; got {tuple(tensor.shape)}")

    def own_keys_values(
        self, x_BTD: Tensor, q_BHTK: Tensor, cache: KVCache | None, offset: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of self-attention, queries and keys rotated; with a cache, those of all S tokens.

        Returns:
            Queries (B, H, T, K), keys and values (B, H, S, K).
        """
        k_BHTK = self.split_heads(self.key(x_BTD))  # (B, T, D) -> (B, H, T, K)
        v_BHTK = self.split_heads(self.value(x_BTD))
        if self.position is not None:
            q_BHTK, k_BHTK = self.position.rotate(q_BHTK, k_BHTK, q_offset=offset)
        if cache is None:
            return q_BHTK, k_BHTK, v_BHTK
        return q_BHTK, *cache.append(k_BHTK, v_BHTK)

    def context_keys_values(self, context_BSD: Tensor, cache: KVCache | None) -> tuple[Tensor, Tensor]:
        """Keys and values of a context, (B, H, S, K) each, projected once if there is a cache to keep them.

        Raises:
            ValueError: the cache holds another number of tokens.
        """
        if cache is not None and cache.length:
            if cache.length != context_BSD.shape[1]:
                raise ValueError(
                    f"the cache holds {cache.length} tokens of another context, this one has {context_BSD.shape[1]}: "
                    "clear() it, and keep self and cross attention in separate caches"
                )
            return cache.keys, cache.values
        k_BHSK = self.split_heads(self.key(context_BSD))  # (B, S, D) -> (B, H, S, K)
        v_BHSK = self.split_heads(self.value(context_BSD))
        return (k_BHSK, v_BHSK) if cache is None else cache.append(k_BHSK, v_BHSK)

    def attend_by_position(
        self,
        q_BHTK: Tensor,
        k_BHSK: Tensor,
        v_BHSK: Tensor,
        offset: int,
        *,
        mask: Tensor | None,
        is_causal: bool,
        dropout: float,
        need_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """:func:`attend` with what the position scheme adds to the scores and to the values; its arguments and results.

        Args:
            offset: position of the first query; the first key has position 0.
        """
        position = self.position
        assert position is not None
        scale = 1 / math.sqrt(q_BHTK.shape[-1])
        out_BHTK, weights_BHTS = attend(
            q_BHTK,
            k_BHSK,
            v_BHSK,
            mask=mask,
            is_causal=is_causal,
            bias=position.score_bias(q_BHTK, k_BHSK, q_offset=offset, scale=scale),
            dropout=dropout,
            need_weights=need_weights or position.needs_weights,
        )
        if position.needs_weights and weights_BHTS is not None:
            extra_BHTK = position.add_values(weights_BHTS, q_offset=offset)
            if extra_BHTK is not None:
                out_BHTK = out_BHTK + extra_BHTK
        return out_BHTK, weights_BHTS

    def split_heads(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, K): head h owns the features h·K to (h+1)·K of every token."""
        return x_BTD.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def merge_heads(self, x_BHTK: Tensor) -> Tensor:
        """(B, H, T, K) -> (B, T, D), the inverse of :meth:`split_heads`."""
        return x_BHTK.transpose(1, 2).flatten(2)

"""Scaled dot-product attention and multi-head attention.

Shapes are written into names: B batch, T query tokens, S key tokens, D model width, H heads, K head width.
Masks are bool and True means *may be attended*. ``torch.nn.functional.scaled_dot_product_attention`` agrees with this;
``torch.nn.MultiheadAttention`` has it the other way round, in ``attn_mask`` and in ``key_padding_mask``: True = masked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.models.dropout import dropout as drop
from plm_core.models.kv_cache import KVCache
from plm_core.models.varlen import PackedSequences, attend_varlen, varlen_available

if TYPE_CHECKING:
    from plm_core.models.positions import PositionScheme

Implementation = Literal["auto", "fused", "explicit"]


def attend(
    q_BHTK: Tensor,
    k_BHSK: Tensor,
    v_BHSK: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
    need_weights: bool = False,
    implementation: Implementation = "auto",
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention: softmax(scale · q kᵀ + bias) v, over the keys that each query may see.

    A query that may see no key at all gets zeros, and its gradients are zero, never NaN.

    Args:
        q_BHTK: queries, (B, H, T, K).
        k_BHSK: keys, (B, H, S, K).
        v_BHSK: values, (B, H, S, any width).
        mask: bool, broadcastable to (B, H, T, S); True = may be attended. A padding mask of shape (B, S) enters as
            ``mask[:, None, None, :]``.
        is_causal: the last query sits at the last key, so query t sees the keys up to S - T + t. (torch's flag of the
            same name aligns the *first* query with the first key; the two agree for T = S only.)
        bias: finite float scores, broadcastable to (B, H, T, S), added to the scaled scores.
        dropout: probability of dropping an attention weight; pass 0 in evaluation.
        scale: factor on the scores; 1/sqrt(K) if None.
        need_weights: also return the weights. Only the explicit implementation ever holds them.
        implementation: ``"fused"`` (torch's kernel: never stores the T x S matrix), ``"explicit"`` (two matrix
            products and a softmax) or ``"auto"``: fused, unless the weights are needed or are to be dropped on a CPU,
            for which torch has no fused kernel.

    Returns:
        The output (B, H, T, width of v), and the weights (B, H, T, S) or None. The weights are those really used, that
        is after dropout, so that output = weights @ v.

    Raises:
        ValueError: shapes that do not fit, a mask that is not bool, ``need_weights`` with the fused kernel.

    Source: Vaswani et al. (2017), equation 1; the fused kernel: Dao et al. (2022).
    """
    check_shapes(q_BHTK, k_BHSK, v_BHSK, mask, bias)
    if implementation not in ("auto", "fused", "explicit"):
        raise ValueError(f"unknown implementation {implementation!r}: use 'auto', 'fused' or 'explicit'")
    if implementation == "fused" and need_weights:
        raise ValueError("the fused kernel never holds the weights: use 'auto' or 'explicit' to see them")
    scale = 1 / math.sqrt(q_BHTK.shape[-1]) if scale is None else scale
    T, S = q_BHTK.shape[2], k_BHSK.shape[2]
    has_kernel = dropout == 0 or q_BHTK.device.type != "cpu"
    fused = implementation == "fused" or (implementation == "auto" and has_kernel and not need_weights)
    kernel_causal = fused and is_causal and mask is None and bias is None and T == S  # no T x S mask needed
    allowed, live = visible_keys(mask, is_causal and not kernel_causal, T, S, q_BHTK.device)

    if not fused:
        out, weights = explicit_attention(q_BHTK, k_BHSK, v_BHSK, allowed, live, bias, dropout, scale)
        return out, weights if need_weights else None
    if bias is not None:
        bias = bias.to(q_BHTK.dtype)
        allowed = bias if allowed is None else bias.masked_fill(~allowed, -math.inf)
    if allowed is not None and allowed.dim() < 2:
        allowed = allowed.expand(1, S)  # the kernel wants two dimensions at least
    out = F.scaled_dot_product_attention(
        q_BHTK, k_BHSK, v_BHSK, attn_mask=allowed, is_causal=kernel_causal, dropout_p=dropout, scale=scale
    )
    return out if live is None else out.masked_fill(~live, 0.0), None


def attend_packed(
    q_1HQK: Tensor,
    k_1HNK: Tensor,
    v_1HNK: Tensor,
    sequences: PackedSequences,
    *,
    is_causal: bool = False,
    dropout: float = 0.0,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """Scaled dot-product attention of sequences laid end to end in one row; each attends to itself only.

    Args:
        q_1HQK: queries of all sequences, (1, H, Q, K); Q = N unless only some tokens are queries.
        k_1HNK, v_1HNK: keys and values of all sequences, (1, H, N, K).
        sequences: where each sequence begins and ends.
        is_causal, dropout, scale, implementation: as for :func:`attend`.

    Returns:
        The output, (1, H, Q, K).
    """
    if varlen_available(q_1HQK, head_size=q_1HQK.shape[-1], dropout=dropout):
        return attend_varlen(q_1HQK, k_1HNK, v_1HNK, sequences, is_causal=is_causal, scale=scale)
    triples = zip(sequences.split(q_1HQK, queries=True), sequences.split(k_1HNK), sequences.split(v_1HNK), strict=True)
    return sequences.join(
        [
            attend(q, k, v, is_causal=is_causal, dropout=dropout, scale=scale, implementation=implementation)[0]
            for q, k, v in triples
        ]
    )


def explicit_attention(
    q_BHTK: Tensor,
    k_BHSK: Tensor,
    v_BHSK: Tensor,
    allowed: Tensor | None,
    live: Tensor | None,
    bias: Tensor | None,
    dropout: float,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attention in the open: scores, softmax, weighted mean; ``allowed`` and ``live`` are of :func:`visible_keys`."""
    scores_BHTS = (q_BHTK * scale) @ k_BHSK.transpose(-2, -1)  # the scale first: fp16 products overflow later
    if bias is not None:
        scores_BHTS = scores_BHTS + bias
    if allowed is not None:
        scores_BHTS = scores_BHTS.masked_fill(~allowed, -math.inf)
    at_least_fp32 = torch.promote_types(scores_BHTS.dtype, torch.float32)
    weights_BHTS = scores_BHTS.softmax(dim=-1, dtype=at_least_fp32).to(v_BHSK.dtype)
    if live is not None:
        weights_BHTS = weights_BHTS.masked_fill(~live, 0.0)
    weights_BHTS = drop(weights_BHTS, dropout)
    return weights_BHTS @ v_BHSK, weights_BHTS


def visible_keys(
    mask: Tensor | None, is_causal: bool, T: int, S: int, device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """Combine padding and causal masks, and rescue the rows that see nothing.

    The softmax of a row of -inf is NaN, and so is its gradient, even if the result is overwritten afterwards. Such a
    dead row is therefore allowed to see every key, and ``live`` tells the caller to set its result to zero.

    Returns:
        ``allowed``, broadcastable to (B, H, T, S), and ``live``, broadcastable to (B, H, T, 1), both bool; either is
        None if every entry would be True.
    """
    allowed = mask
    if is_causal and T > 1:  # a single query at the end sees every key
        causal_TS = causal_mask(T, S, device=device)
        allowed = causal_TS if mask is None else mask & causal_TS
    if allowed is None or (mask is None and T <= S):
        return allowed, None
    live = allowed.any(dim=-1, keepdim=True)
    return allowed | ~live, live


def causal_mask(T: int, S: int, *, device: torch.device | str | None = None) -> Tensor:
    """The bool mask (T, S) under which the last query sits at the last key: query t sees keys up to S - T + t."""
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(diagonal=S - T)


def check_shapes(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None) -> None:
    """Raise a ValueError that names what does not fit together."""
    if q.dim() != 4 or k.dim() != 4 or v.dim() != 4:
        raise ValueError(f"q, k and v have shape (batch, heads, tokens, width); got {shapes(q, k, v)}")
    if q.shape[:2] != k.shape[:2] or k.shape[:3] != v.shape[:3] or q.shape[-1] != k.shape[-1]:
        raise ValueError(
            "q, k and v need the same batch and heads, k and v the same number of tokens, q and k the same width; "
            f"got {shapes(q, k, v)}"
        )
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"masks are bool, True = may be attended; got {mask.dtype}: convert a 0/1 mask by .bool()")
    full = (*q.shape[:3], k.shape[2])
    for name, tensor in (("mask", mask), ("bias", bias)):
        if tensor is None:
            continue
        trailing = full[len(full) - tensor.dim() :]
        if tensor.dim() > 4 or any(
            size not in (1, expected) for size, expected in zip(tensor.shape, trailing, strict=True)
        ):
            raise ValueError(
                f"the {name} must broadcast to (B, H, T, S) = {full}; got {tuple(tensor.shape)}. "
                "A padding mask (B, S) enters as mask[:, None, None, :]"
            )


def shapes(*tensors: Tensor) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors)


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

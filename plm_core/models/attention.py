"""Scaled dot-product attention and its masks.

Shapes are written into names: B batch, T query tokens, S key tokens, H heads, K head width.
Masks are bool and True means *may be attended*. ``torch.nn.functional.scaled_dot_product_attention`` agrees with this;
``torch.nn.MultiheadAttention`` has it the other way round, in ``attn_mask`` and in ``key_padding_mask``: True = masked.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.models.dropout import dropout as drop

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
    """Attention written out: scores, softmax, weighted mean; :func:`visible_keys` gives ``allowed`` and ``live``."""
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
    """Combine padding and causal masks, and treat the rows that see no key.

    The softmax of a row of -inf is NaN, and so is its gradient, even if the result is overwritten afterwards. Such a
    row is therefore allowed to see every key, and ``live`` is False for it, so that the caller sets its result to zero.

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
    """The shapes of tensors as text, for an error message."""
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors)

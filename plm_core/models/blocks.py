"""The Transformer block: attention and a feed-forward network, each added to a residual stream.

Shapes are written into names: B batch, T tokens, S context tokens, D model width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.models.dropout import Dropout
from plm_core.models.kv_cache import KVCache
from plm_core.models.multi_head import MultiHeadAttention

if TYPE_CHECKING:
    from plm_core.models.positions import PositionScheme
    from plm_core.models.varlen import PackedSequences

Activation = Literal["relu", "gelu", "gelu_new", "swiglu", "geglu"]
Norm = Literal["layernorm", "rmsnorm"]
NormPosition = Literal["pre", "post"]

GATED = ("swiglu", "geglu")


class FeedForward(nn.Module):
    """A network of one hidden layer, applied to every token on its own: down(activation(up(x))).

    It can be read as a memory: row i of ``up.weight`` is a key, and column i of ``down.weight`` is the value that is
    added to the stream in proportion to how well the token matches the key (Geva et al. 2021).

    Args:
        hidden_size: model width D of input and output.
        intermediate_size: width F of the hidden layer.
        activation: ``"relu"``; ``"gelu"`` (exact) or ``"gelu_new"`` (its tanh approximation, as in GPT-2), named as in
            Hugging Face configurations; ``"swiglu"`` or ``"geglu"``, which multiply the activation of a third
            projection, the gate, with up(x).
        bias: whether the projections have a bias.

    Source: Vaswani et al. (2017), section 3.3; gates: Shazeer (2020).
    """

    def __init__(
        self, hidden_size: int, intermediate_size: int, *, activation: Activation = "gelu", bias: bool = True
    ) -> None:
        super().__init__()
        self.activation = activation
        self.up = nn.Linear(hidden_size, intermediate_size, bias=bias)
        self.gate = nn.Linear(hidden_size, intermediate_size, bias=bias) if activation in GATED else None
        self.down = nn.Linear(intermediate_size, hidden_size, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); every token is transformed on its own."""
        up_BTF = self.up(x_BTD)
        if self.gate is None:
            return self.down(activate(up_BTF, self.activation))
        return self.down(activate(self.gate(x_BTD), self.activation) * up_BTF)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Apply the nonlinearity of an activation (for a gated one: the nonlinearity of its gate).

    Raises:
        ValueError: an unknown activation.
    """
    if activation == "relu":
        return F.relu(x)
    if activation in ("gelu", "geglu"):
        return F.gelu(x)
    if activation == "gelu_new":
        return F.gelu(x, approximate="tanh")
    if activation == "swiglu":
        return F.silu(x)
    raise ValueError(f"unknown activation {activation!r}: use 'relu', 'gelu', 'gelu_new', 'swiglu' or 'geglu'")


def make_norm(hidden_size: int, *, norm: Norm = "layernorm", eps: float = 1e-5) -> nn.Module:
    """LayerNorm (Ba et al. 2016: subtract the mean, divide by the deviation, scale and shift) or RMSNorm (Zhang and
    Sennrich 2019: divide by the root of the mean square and scale), over the width of each token.

    Raises:
        ValueError: an unknown norm.
    """
    if norm == "layernorm":
        return nn.LayerNorm(hidden_size, eps=eps)
    if norm == "rmsnorm":
        return nn.RMSNorm(hidden_size, eps=eps)
    raise ValueError(f"unknown norm {norm!r}: use 'layernorm' or 'rmsnorm'")


class Block(nn.Module):
    """Self-attention, optional cross attention, and a feed-forward network, each on a residual branch.

    With ``norm_position="pre"`` a branch is x + f(norm(x)): the stream x itself is never normalised, so a gradient
    reaches every layer undiminished (GPT-2). With ``"post"`` it is norm(x + f(x)) (Vaswani et al. 2017, BERT).

    Args:
        hidden_size: model width D.
        num_heads: number of attention heads; must divide hidden_size.
        intermediate_size: width F of the feed-forward network.
        activation, norm, norm_position: see :class:`FeedForward`, :func:`make_norm` and above.
        norm_eps: the norm's epsilon.
        dropout: probability of dropping an element of a branch's output, before it is added.
        attention_dropout: probability of dropping an attention weight.
        bias: whether the linear layers have a bias.
        position: a position scheme that acts inside self-attention, or None.
        cross_attention: whether the block also attends to a context (the decoder of an encoder-decoder).

    Raises:
        ValueError: an unknown norm position, or a hidden_size that num_heads does not divide.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        *,
        activation: Activation = "gelu",
        norm: Norm = "layernorm",
        norm_position: NormPosition = "pre",
        norm_eps: float = 1e-5,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        bias: bool = True,
        position: PositionScheme | None = None,
        cross_attention: bool = False,
    ) -> None:
        super().__init__()
        if norm_position not in ("pre", "post"):
            raise ValueError(f"unknown norm position {norm_position!r}: use 'pre' or 'post'")
        self.pre_norm = norm_position == "pre"
        self.attention = MultiHeadAttention(
            hidden_size, num_heads, position=position, dropout=attention_dropout, bias=bias
        )
        self.attention_norm = make_norm(hidden_size, norm=norm, eps=norm_eps)
        self.cross_attention: MultiHeadAttention | None = None
        self.cross_attention_norm: nn.Module | None = None
        if cross_attention:
            self.cross_attention = MultiHeadAttention(hidden_size, num_heads, dropout=attention_dropout, bias=bias)
            self.cross_attention_norm = make_norm(hidden_size, norm=norm, eps=norm_eps)
        self.feed_forward = FeedForward(hidden_size, intermediate_size, activation=activation, bias=bias)
        self.feed_forward_norm = make_norm(hidden_size, norm=norm, eps=norm_eps)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x_BTD: Tensor,
        *,
        mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        query_positions: Tensor | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
        context_BSD: Tensor | None = None,
        context_mask: Tensor | None = None,
        context_cache: KVCache | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """One step of the residual stream.

        Args:
            x_BTD: the stream, (B, T, D).
            mask: bool, broadcastable to (B, H, T, S); True = may be attended. S counts cached tokens.
            sequences: where the sequences begin and end if the stream is one row of several (B = 1), instead of a mask.
            query_positions: integers, (Q,), the tokens whose stream is computed; all tokens stay keys. None: all.
            is_causal: each token attends to itself and earlier ones only.
            cache: keys and values of earlier tokens for self-attention.
            context_BSD: the encoder's output; needed exactly if the block has cross attention.
            context_mask: bool, broadcastable to (B, H, T, S of the context).
            context_cache: keys and values of the context, filled at the first call.
            need_weights: also return the attention weights.

        Returns:
            The stream, (B, T, D) or (B, Q, D), and with ``need_weights`` the weights of self-attention and those of
            cross attention, otherwise None.

        Raises:
            ValueError: a context for a block without cross attention, or none for a block with it.
        """
        if (context_BSD is None) != (self.cross_attention is None):
            raise ValueError("a block with cross attention needs a context, and only such a block takes one")
        keys_BTD = None  # the queries themselves
        if query_positions is not None:
            keys_BTD = self.enter(x_BTD, self.attention_norm)
            x_BTD = x_BTD.index_select(1, query_positions)  # (B, T, D) -> (B, Q, D)
        shared = {"need_weights": need_weights}
        options = {"mask": mask, "sequences": sequences, "is_causal": is_causal, "cache": cache, **shared}
        x_BTD, weights = self.attention_branch(x_BTD, self.attention, self.attention_norm, keys_BTD, options)
        cross_weights = None
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            options = {"mask": context_mask, "cache": context_cache, **shared}
            x_BTD, cross_weights = self.attention_branch(
                x_BTD, self.cross_attention, self.cross_attention_norm, context_BSD, options
            )
        update_BTD = self.feed_forward(self.enter(x_BTD, self.feed_forward_norm))
        return self.leave(x_BTD, update_BTD, self.feed_forward_norm), weights, cross_weights

    def attention_branch(
        self,
        x_BTD: Tensor,
        attention: MultiHeadAttention,
        norm: nn.Module,
        keys_BSD: Tensor | None,
        options: Mapping[str, Any],
    ) -> tuple[Tensor, Tensor | None]:
        """The stream after an attention layer, (B, T, D), and its weights if ``options`` has ``need_weights``.

        Args:
            x_BTD: the stream, of which the queries are made.
            attention, norm: the layer and its norm.
            keys_BSD: what keys and values are made of, (B, S, D); None for the queries' own tokens.
            options: further arguments of the layer.
        """
        result = attention(self.enter(x_BTD, norm), keys_BSD, **options)
        update_BTD, weights = result if options["need_weights"] else (result, None)
        return self.leave(x_BTD, update_BTD, norm), weights

    def enter(self, x_BTD: Tensor, norm: nn.Module) -> Tensor:
        """The input of a branch: the normalised stream (pre) or the stream itself (post)."""
        return norm(x_BTD) if self.pre_norm else x_BTD

    def leave(self, x_BTD: Tensor, update_BTD: Tensor, norm: nn.Module) -> Tensor:
        """The stream after a branch: x + update (pre) or norm(x + update) (post)."""
        x_BTD = x_BTD + self.dropout(update_BTD)
        return x_BTD if self.pre_norm else norm(x_BTD)

"""The parts that all Transformers here have in common: the stack of blocks, its trace, and the initialisation.

An encoder, a decoder and the two halves of an encoder-decoder are the same :class:`Stack`; they differ in the mask
(``is_causal``) and in whether the blocks attend to a context (``cross_attention``).

Shapes are written into names: B batch, T tokens, S key tokens, D model width, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from plm_core.models.blocks import Block, make_norm
from plm_core.models.config import TransformerConfig, acts_in_attention
from plm_core.models.inputs import Embeddings
from plm_core.models.kv_cache import Cache
from plm_core.models.positions import Learned, PositionScheme
from plm_core.models.varlen import PackedSequences, find_sequences


@dataclass
class Trace:
    """The intermediate results of a forward pass, stored if an empty trace is given to it.

    Distillation compares them, probes are trained on them, and gradients by depth are measured on them.
    """

    keep_attentions: bool = False
    """Whether to store attention weights too, which rules out the fused kernel."""
    hidden_states: list[Tensor] = field(default_factory=list)
    """The stream before the first block and after each one, L + 1 tensors (B, T, D), before any final norm."""
    attentions: list[Tensor] = field(default_factory=list)
    """The weights of self-attention, L tensors (B, H, T, S)."""
    cross_attentions: list[Tensor] = field(default_factory=list)
    """The weights of cross attention, L tensors (B, H, T, S of the context)."""

    def add(self, x_BTD: Tensor, weights: Tensor | None = None, cross_weights: Tensor | None = None) -> None:
        """Store the stream after a block, and the weights of its attention layers unless they are None."""
        self.hidden_states.append(x_BTD)
        if weights is not None:
            self.attentions.append(weights)
        if cross_weights is not None:
            self.cross_attentions.append(cross_weights)


class Stack(nn.Module):
    """A stack of Transformer blocks; with pre-norm a last norm follows, as nothing else normalises the stream.

    Args:
        config: the shape.
        position: the scheme; each block receives its share of it (``PositionScheme.per_layer``).
        num_layers: number of blocks; the configuration's if None.
        cross_attention: whether the blocks attend to a context.
    """

    def __init__(
        self,
        config: TransformerConfig,
        position: PositionScheme,
        *,
        num_layers: int | None = None,
        cross_attention: bool = False,
    ) -> None:
        super().__init__()
        num_layers = config.num_hidden_layers if num_layers is None else num_layers
        self.position_in_attention = acts_in_attention(position)
        self.head_size = config.head_size
        self.attention_dropout = config.attention_probs_dropout_prob
        schemes = position.per_layer(num_layers) if self.position_in_attention and num_layers else [None] * num_layers
        self.layers = nn.ModuleList(
            Block(
                config.hidden_size,
                config.num_attention_heads,
                config.intermediate_size,
                activation=config.hidden_act,
                norm=config.norm,
                norm_position=config.norm_position,
                norm_eps=config.layer_norm_eps,
                dropout=config.hidden_dropout_prob,
                attention_dropout=config.attention_probs_dropout_prob,
                bias=config.use_bias,
                position=scheme,
                cross_attention=cross_attention,
            )
            for scheme in schemes
        )
        self.final_norm: nn.Module | None = None
        if config.norm_position == "pre":
            self.final_norm = make_norm(config.hidden_size, norm=config.norm, eps=config.layer_norm_eps)

    def forward(
        self,
        x_BTD: Tensor,
        *,
        mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        query_positions: Tensor | None = None,
        is_causal: bool = False,
        context_BSD: Tensor | None = None,
        context_mask: Tensor | None = None,
        cache: Cache | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Run the blocks one after the other.

        Padding is taken out before the first block and put back, as zeros, after the last, where that saves time
        (:class:`~plm_core.models.varlen.PackedSequences`) and no cache, context or trace needs the padded batch.

        Args:
            x_BTD: embeddings, (B, T, D).
            mask: bool, broadcastable to (B, H, T, S); see :func:`plm_core.models.inputs.expand_mask`.
            sequences: the sequences of the batch, which the mask describes too, if the caller knows them; otherwise
                they are found by means of the mask.
            query_positions: bool, (B, T): the tokens whose last state is needed. Where padding is taken out, the last
                block of an encoder computes these alone, and the others' states are zeros. None: all.
            is_causal: a decoder (True) or an encoder (False).
            context_BSD: the encoder's output, for blocks with cross attention.
            context_mask: bool, broadcastable to (B, H, T, S of the context).
            cache: keys and values of earlier tokens; it is extended.
            trace: an empty trace, to be filled.

        Returns:
            The last state, (B, T, D).
        """
        padding_needed = cache is not None or context_BSD is not None or trace is not None
        sequences = None if padding_needed else self.sequences_to_unpad(x_BTD, mask, sequences)
        if sequences is not None:
            x_BTD, mask = sequences.unpad(x_BTD), None  # (B, T, D) -> (1, N, D)
        if trace is not None:
            trace.add(x_BTD)
        query_positions_Q = None
        for number, block in enumerate(self.layers):
            is_last = number == len(self.layers) - 1
            if is_last and sequences is not None and query_positions is not None and not is_causal:
                sequences, query_positions_Q = sequences.restrict_queries(query_positions)
            x_BTD, weights, cross_weights = block(
                x_BTD,
                mask=mask,
                sequences=sequences,
                query_positions=query_positions_Q,
                is_causal=is_causal,
                cache=None if cache is None else cache.self_attention[number],
                context_BSD=context_BSD,
                context_mask=context_mask,
                context_cache=None if cache is None else cache.cross_attention[number],
                need_weights=trace is not None and trace.keep_attentions,
            )
            if trace is not None:
                trace.add(x_BTD, weights, cross_weights)
        if self.final_norm is not None:
            x_BTD = self.final_norm(x_BTD)
        return x_BTD if sequences is None else sequences.pad(x_BTD)  # (1, N, D) -> (B, T, D)

    def sequences_to_unpad(
        self, x_BTD: Tensor, mask: Tensor | None, sequences: PackedSequences | None
    ) -> PackedSequences | None:
        """The sequences of a batch if its padding is to be taken out, otherwise None.

        Padding stays where attention depends on the distance of two tokens, in compiled blocks, which are compiled
        again for each new shape, and where taking it out would save no time.
        """
        compiled = torch.compiler.is_compiling() or any(b._compiled_call_impl is not None for b in self.layers)
        if compiled or self.position_in_attention:
            return None
        if sequences is None:
            sequences = find_sequences(mask, (x_BTD.shape[0], x_BTD.shape[1]))
        dropout = self.attention_dropout if self.training else 0.0
        if sequences is None or not sequences.saves_time(x_BTD, head_size=self.head_size, dropout=dropout):
            return None
        return sequences


@torch.no_grad()
def initialise(model: nn.Module, *, std: float, residual_std: float | None = None) -> None:
    """Draw the weights of a model anew; each model's ``init_weights`` has a table of the result.

    Args:
        model: linear and embedding weights become N(0, std²), biases 0, norms scale 1 and shift 0. Inside a position
            scheme only a learned table is touched; the rest keeps the initialisation of its class. Word embeddings
            that are multiplied by sqrt(D) become N(0, 1/D).
        std: standard deviation of weights.
        residual_std: standard deviation of the last weight of every branch, ``output`` and ``down``; std if None.
    """
    inside_schemes = {
        id(m) for scheme in model.modules() if isinstance(scheme, PositionScheme) for m in scheme.modules()
    }
    for module in model.modules():
        if isinstance(module, Learned):
            nn.init.normal_(module.table.weight, std=std)
        elif module in inside_schemes:
            continue
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.reset_parameters()
    for module in model.modules():
        if isinstance(module, Embeddings) and module.scale != 1.0:
            nn.init.normal_(module.word_embeddings.weight, std=1 / module.scale)
        if isinstance(module, Block) and residual_std is not None:
            branches = [module.attention.output, module.feed_forward.down]
            if module.cross_attention is not None:
                branches.append(module.cross_attention.output)
            for last in branches:
                nn.init.normal_(last.weight, std=residual_std)


def scheme_modules(model: nn.Module) -> set[nn.Module]:
    """The modules that are or belong to a position scheme, which initialises itself."""
    return {part for scheme in model.modules() if isinstance(scheme, PositionScheme) for part in scheme.modules()}

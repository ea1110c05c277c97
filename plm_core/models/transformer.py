"""What every Transformer here shares: the stack of blocks, its trace, and the initialisation.

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
from plm_core.models.varlen import PackedSequences


@dataclass
class Trace:
    """What a forward pass leaves behind if an empty trace is given to it.

    Distillation compares it, probes read it, and gradients by depth are measured on it.
    """

    keep_attentions: bool = False
    """Whether to store attention weights too, which rules out the fused kernel."""
    hidden_states: list[Tensor] = field(default_factory=list)
    """The stream before the first block and after each one, L + 1 tensors (B, T, D), before any final norm."""
    attentions: list[Tensor] = field(default_factory=list)
    """The weights of self-attention, L tensors (B, H, T, S)."""
    cross_attentions: list[Tensor] = field(default_factory=list)
    """The weights of cross attention, L tensors (B, H, T, S of the context)."""


class Stack(nn.Module):
    """A stack of Transformer blocks; with pre-norm a last norm closes the stream, which nothing else normalises.

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
        mask: Tensor | PackedSequences | None = None,
        is_causal: bool = False,
        context_BSD: Tensor | None = None,
        context_mask: Tensor | None = None,
        cache: Cache | None = None,
        trace: Trace | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Run the blocks one after the other.

        Padding is taken out before the first block and put back, as zeros, after the last, where that saves time
        (:class:`~plm_core.models.varlen.PackedSequences`) and nobody looks inside.

        Args:
            x_BTD: embeddings, (B, T, D).
            mask: bool, broadcastable to (B, H, T, S); see :func:`plm_core.models.inputs.expand_mask`. Or the sequences
                of the batch, where they are known without a look at a mask; they bring their mask along.
            is_causal: a decoder (True) or an encoder (False).
            context_BSD: the encoder's output, for blocks with cross attention.
            context_mask: bool, broadcastable to (B, H, T, S of the context).
            cache: keys and values of earlier tokens; it is extended.
            trace: an empty trace, to be filled.
            wanted: bool, (B, T): the tokens whose last state will be read. Where padding is taken out, the last block
                asks for these alone, and the others' states are zeros.

        Returns:
            The last state, (B, T, D).
        """
        need_weights = trace is not None and trace.keep_attentions
        seen_inside = cache is not None or context_BSD is not None or trace is not None
        segments = None if seen_inside else self.sequences(mask, x_BTD)
        mask = mask.mask if isinstance(mask, PackedSequences) else mask
        x_BTD = x_BTD if segments is None else segments.unpad(x_BTD)
        if trace is not None:
            trace.hidden_states.append(x_BTD)
        asking = None
        for number, block in enumerate(self.layers):
            if segments is not None and wanted is not None and number == len(self.layers) - 1 and not is_causal:
                segments, asking = segments.asked_by(wanted)
            x_BTD, weights, cross_weights = block(
                x_BTD,
                mask=mask if segments is None else segments,
                is_causal=is_causal,
                cache=cache.self_attention[number] if cache is not None else None,
                context_BSD=context_BSD,
                context_mask=context_mask,
                context_cache=cache.cross_attention[number] if cache is not None else None,
                need_weights=need_weights,
                asking=asking,
            )
            if trace is not None:
                trace.hidden_states.append(x_BTD)
                if weights is not None:
                    trace.attentions.append(weights)
                if cross_weights is not None:
                    trace.cross_attentions.append(cross_weights)
        x_BTD = x_BTD if self.final_norm is None else self.final_norm(x_BTD)
        return x_BTD if segments is None else segments.pad(x_BTD)

    def sequences(self, mask: Tensor | PackedSequences | None, x_BTD: Tensor) -> PackedSequences | None:
        """The sequences of a batch, if its padding should be left out.

        It stays where attention needs to know the distance of two tokens, and in compiled blocks, which want few
        shapes.
        """
        compiled = torch.compiler.is_compiling() or any(b._compiled_call_impl is not None for b in self.layers)
        if compiled or self.position_in_attention:
            return None
        found = (
            mask if isinstance(mask, PackedSequences) else PackedSequences.find(mask, (x_BTD.shape[0], x_BTD.shape[1]))
        )
        dropout = self.attention_dropout if self.training else 0.0
        pays = found is not None and found.saves_time(x_BTD, head_size=self.head_size, dropout=dropout)
        return found if pays else None


@torch.no_grad()
def initialise(model: nn.Module, *, std: float, residual_std: float | None = None) -> None:
    """Draw the weights of a model anew; each model's ``init_weights`` tabulates what this comes to.

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

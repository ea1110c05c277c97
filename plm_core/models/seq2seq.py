"""The encoder-decoder Transformer, which maps one sequence to another (Vaswani et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plm_core.models.config import LIMITS, Position, TransformerConfig, make_position
from plm_core.models.inputs import Embeddings, expand_mask
from plm_core.models.kv_cache import Cache
from plm_core.models.positions import PositionScheme
from plm_core.models.transformer import Stack, Trace, initialise, scheme_modules
from plm_core.weights import shared_parameters


@dataclass(frozen=True)
class Seq2SeqConfig(TransformerConfig):
    """Shape of a :class:`Seq2Seq`. One vocabulary serves both sides; num_hidden_layers counts the encoder's blocks."""

    num_decoder_layers: int = 2
    """Number of the decoder's blocks."""
    position: Position = "sinusoidal"
    """How the order of the tokens enters the model; the paper's choice is sinusoidal."""

    def validate(self) -> None:
        super().validate()
        self.require_not_negative("num_decoder_layers")
        self.require_at_most(num_decoder_layers=LIMITS["num_hidden_layers"])

    @classmethod
    def tiny(cls, vocab_size: int) -> Seq2SeqConfig:
        """0.9 million parameters besides the embeddings: learns in a few minutes on two CPU cores."""
        return cls(vocab_size=vocab_size)

    @classmethod
    def base(cls, vocab_size: int = 37000) -> Seq2SeqConfig:
        """The paper's base model, 63 million parameters with its 37,000 units (65 million in its table 3)."""
        return cls(
            vocab_size=vocab_size,
            hidden_size=512,
            num_hidden_layers=6,
            num_decoder_layers=6,
            num_attention_heads=8,
            intermediate_size=2048,
            max_position_embeddings=None,
            hidden_act="relu",
            norm_position="post",
        )


class Seq2Seq(nn.Module):
    """An encoder, and a causal decoder that also attends to the encoder's output.

    Encoder, decoder and output layer share the word embeddings (the output layer if tie_word_embeddings).

    Args:
        config: the shape.
        position: a pair of schemes, for encoder and decoder, instead of those that the configuration names. A scheme
            that acts on embeddings is shared: the encoder's is used on both sides.
    """

    def __init__(self, config: Seq2SeqConfig, *, position: tuple[PositionScheme, PositionScheme] | None = None) -> None:
        super().__init__()
        self.config = config
        if position is None:
            position = make_position(config, bidirectional=True), make_position(config, bidirectional=False)
        self.embeddings = Embeddings(config, position[0])
        self.encoder = Stack(config, position[0])
        self.decoder = Stack(config, position[1], num_layers=config.num_decoder_layers, cross_attention=True)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embeddings.word_embeddings.weight
        self._ties = shared_parameters(self)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw all weights anew. (The paper does not state the initialisation; this is that of its published code.)

        ======================================  ==========================================================
        linear layers of the blocks             uniform, variance 2/(inputs + outputs) (Glorot and Bengio)
        word embeddings, sinusoidal positions   N(0, 1/D), as they are multiplied by sqrt(D)
        word embeddings, other positions        N(0, initializer_range²)
        learned positions, untied output layer  N(0, initializer_range²)
        biases                                  0
        norms                                   scale 1, shift 0
        other position parameters               by their classes
        ======================================  ==========================================================
        """
        initialise(self, std=self.config.initializer_range)
        schemes = scheme_modules(self)
        for stack in (self.encoder, self.decoder):
            for module in stack.modules():
                if isinstance(module, nn.Linear) and module not in schemes:
                    nn.init.xavier_uniform_(module.weight)

    def tied_weights(self) -> dict[str, str]:
        """Each alias and the parameter it shares: the output layer, and what a position scheme shares over layers."""
        return dict(self._ties)

    def encode(self, input_ids: Tensor, *, attention_mask: Tensor | None = None, trace: Trace | None = None) -> Tensor:
        """The encoder's output, (B, S, D), for source tokens (B, S); attention_mask bool, True = real, (B, S)."""
        batch, tokens = input_ids.shape
        mask = expand_mask(attention_mask, batch=batch, queries=tokens, keys=tokens)
        return self.encoder(self.embeddings(input_ids), mask=mask, trace=trace)

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_hidden_states: Tensor,
        *,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        trace: Trace | None = None,
        logits_to_keep: int = 0,
    ) -> Tensor:
        """Logits for the target token that follows each target token.

        Args:
            decoder_input_ids: target tokens, shifted right, (B, T).
            encoder_hidden_states: of :meth:`encode`, (B, S, D).
            attention_mask: bool, (B, S), True where a *source* token is real.
            decoder_attention_mask: bool, (B, T) counting cached tokens, True where a target token is real.
            cache: of :meth:`new_cache`; target tokens are appended, the source is projected once.
            trace: an empty trace, to be filled.
            logits_to_keep: compute logits of that many last tokens only; 0 for all.

        Returns:
            Logits, (B, T or logits_to_keep, V).
        """
        offset = cache.length if cache is not None else 0
        batch, queries = decoder_input_ids.shape
        source = encoder_hidden_states.shape[1]
        x_BTD = self.decoder(
            self.embeddings(decoder_input_ids, offset=offset),
            mask=expand_mask(decoder_attention_mask, batch=batch, queries=queries, keys=offset + queries),
            is_causal=True,
            context_BSD=encoder_hidden_states,
            context_mask=expand_mask(attention_mask, batch=batch, queries=queries, keys=source),
            cache=cache,
            trace=trace,
        )
        return self.lm_head(x_BTD[:, -logits_to_keep:])

    def forward(
        self,
        input_ids: Tensor,
        decoder_input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Encode the source and decode the target (teacher forcing): logits (B, T, V).

        Args:
            input_ids: source tokens, (B, S).
            decoder_input_ids: target tokens, shifted right, (B, T).
            attention_mask: bool, (B, S), True where a source token is real.
            decoder_attention_mask: bool, (B, T), True where a target token is real.

        Raises:
            ValueError: a sequence longer than the model, an id outside the vocabulary, a mask of the wrong shape.
        """
        encoded_BSD = self.encode(input_ids, attention_mask=attention_mask)
        return self.decode(
            decoder_input_ids,
            encoded_BSD,
            attention_mask=attention_mask,
            decoder_attention_mask=decoder_attention_mask,
        )

    def new_cache(self) -> Cache:
        """An empty key-value cache for the decoder."""
        return Cache(self.config.num_decoder_layers)

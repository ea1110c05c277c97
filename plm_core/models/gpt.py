"""GPT: a stack of causal blocks that predicts the next token (Radford et al. 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from plm_core.models.blocks import Activation
from plm_core.models.config import TransformerConfig, make_position
from plm_core.models.inputs import Embeddings, expand_mask
from plm_core.models.kv_cache import Cache
from plm_core.models.positions import PositionScheme
from plm_core.models.transformer import Stack, Trace, initialise
from plm_core.models.varlen import PackedSequences
from plm_core.models.vocabulary_loss import TokenLosses, vocabulary_logits, vocabulary_loss
from plm_core.weights import shared_parameters


@dataclass(frozen=True)
class GptConfig(TransformerConfig):
    """The shape of a :class:`Gpt`. The defaults of the base class are GPT-2's choices, at a tiny size."""

    hidden_act: Activation = "gelu_new"
    """Nonlinearity of the feed-forward networks; GPT-2 uses the tanh approximation of GELU."""

    @classmethod
    def tiny(cls, vocab_size: int) -> GptConfig:
        """0.4 million parameters besides the embeddings: learns in a minute on two CPU cores."""
        return cls(vocab_size=vocab_size, hidden_size=128, num_hidden_layers=2, num_attention_heads=4)

    @classmethod
    def small(cls, vocab_size: int) -> GptConfig:
        """11 million parameters besides the embeddings: for one small GPU."""
        return cls(
            vocab_size=vocab_size,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=6,
            intermediate_size=1536,
            max_position_embeddings=512,
        )

    @classmethod
    def gpt2(cls) -> GptConfig:
        """GPT-2, the smallest of the four: 124 million parameters (Radford et al. 2019)."""
        return cls(
            vocab_size=50257,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            max_position_embeddings=1024,
        )


class Gpt(nn.Module):
    """A causal language model: embeddings, a stack of causal blocks and an output layer.

    Args:
        config: its shape.
        position: a position scheme to use instead of the one that the configuration names.
    """

    def __init__(self, config: GptConfig, *, position: PositionScheme | None = None) -> None:
        super().__init__()
        self.config = config
        position = make_position(config, bidirectional=False) if position is None else position
        self.embeddings = Embeddings(config, position)
        self.decoder = Stack(config, position)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embeddings.word_embeddings.weight
        self._ties = shared_parameters(self)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw all weights anew.

        ======================================  ===================================================
        linear layers, word embeddings          N(0, initializer_range²)
        learned positions                       N(0, initializer_range²)
        last linear layer of each branch        N(0, (initializer_range / sqrt(2·L))²): the stream is a
                                                sum of 2·L branches, its variance should not grow with L
        word embeddings, sinusoidal positions   N(0, 1/D), as they are multiplied by sqrt(D)
        biases                                  0
        norms                                   scale 1, shift 0
        other position parameters               by their classes
        ======================================  ===================================================
        """
        std, layers = self.config.initializer_range, self.config.num_hidden_layers
        initialise(self, std=std, residual_std=std / math.sqrt(2 * layers) if layers else None)

    def tied_weights(self) -> dict[str, str]:
        """Each alias and the parameter it shares: the output layer, and what a position scheme shares over layers."""
        return dict(self._ties)

    def hidden_states(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The last state of the decoder, (B, T, D); arguments as in :meth:`forward`."""
        offset = cache.length if cache is not None else 0
        batch, queries = input_ids.shape
        x_BTD = self.embeddings(input_ids, position_ids=position_ids, offset=offset)
        mask = expand_mask(attention_mask, batch=batch, queries=queries, keys=offset + queries)
        return self.decoder(x_BTD, mask=mask, sequences=sequences, is_causal=True, cache=cache, trace=trace)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        trace: Trace | None = None,
        logits_to_keep: int = 0,
        labels: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> Tensor | TokenLosses:
        """Logits for the token that follows each token, or the loss of the labels.

        Args:
            input_ids: integers, (B, T).
            attention_mask: bool, True = real, (B, S) or (B, T, S), S counting cached tokens; every token also attends
                only to itself and earlier ones. None: all are real.
            sequences: the sequences that the mask describes, if the caller knows them; they make it unnecessary to read
                them off the mask. Sequences padded on the right need no mask.
            position_ids: integers, (B, T); see :class:`~plm_core.models.inputs.Embeddings`.
            cache: a cache of :meth:`new_cache`; the tokens are appended to it.
            trace: an empty :class:`~plm_core.models.transformer.Trace`, to be filled.
            logits_to_keep: compute logits of that many last tokens only; 0 for all.
            labels: integers, (B, T), the next token at each place. The loss is computed in place of the logits, of
                which only a slice exists at a time: :func:`~plm_core.models.vocabulary_loss.vocabulary_loss`.
            label_smoothing: share of the target's probability that the loss spreads over the whole vocabulary.

        Returns:
            Logits, (B, T or logits_to_keep, V). With labels,
            :class:`~plm_core.models.vocabulary_loss.TokenLosses`.

        Raises:
            ValueError: a sequence longer than the model, an id outside the vocabulary, a mask of the wrong shape.
        """
        x_BTD = self.hidden_states(
            input_ids,
            attention_mask=attention_mask,
            sequences=sequences,
            position_ids=position_ids,
            cache=cache,
            trace=trace,
        )
        if labels is not None:
            flat = x_BTD.flatten(0, 1), self.lm_head.weight, labels.flatten()
            return vocabulary_loss(*flat, label_smoothing=label_smoothing)
        return vocabulary_logits(self.lm_head, x_BTD[:, -logits_to_keep:])

    def new_cache(self) -> Cache:
        """An empty key-value cache for this model."""
        return Cache(self.config.num_hidden_layers)

"""A recurrent encoder and decoder: one vector between them, or attention (Sutskever et al. 2014; Bahdanau et al. 2015).

Letters: B sequences, S source tokens, T target tokens, E embedding, H state, Z summary, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plm_core.config import Config
from plm_core.models.config import LIMITS
from plm_core.models.inputs import check_ids
from plm_core.models.recurrent_cells import State, hidden, initialise
from plm_core.models.recurrent_encoder import LAYERS, Cell, RecurrentEncoder


@dataclass(frozen=True)
class RecurrentSeq2SeqConfig(Config):
    """The shape of a :class:`RecurrentSeq2Seq`. One vocabulary serves both sides."""

    vocab_size: int
    """Number of token ids V."""
    hidden_size: int = 128
    """Numbers of the state H, of the decoder and of each direction of the encoder."""
    embedding_size: int = 64
    """Numbers for each token, E."""
    summary_size: int | None = None
    """Numbers Z that the encoder hands to the decoder; None for as many as the state has."""
    cell: Cell = "gru"
    """``"rnn"`` (tanh), ``"gru"`` or ``"lstm"``."""
    bidirectional: bool = False
    """Whether the encoder reads in both directions."""
    attention: bool = False
    """Whether the decoder also looks at all states of the encoder, by additive attention."""
    dropout: float = 0.0
    """Share of the numbers of embeddings and of the output layer's input that training sets to zero."""

    def validate(self) -> None:
        self.require_probability("dropout")
        self.require_positive("vocab_size", "hidden_size", "embedding_size", "summary")
        self.require_at_most(**{name: LIMITS[name] for name in ("vocab_size", "hidden_size")})

    @property
    def summary(self) -> int:
        """Numbers that the encoder hands over, Z."""
        return self.hidden_size if self.summary_size is None else self.summary_size


class Encoded(NamedTuple):
    """What a decoder gets."""

    summary_BZ: Tensor
    """The vector from which its state begins."""
    outputs_BSD: Tensor
    """The states of the encoder at each source token; only attention looks at them."""
    attention_mask: Tensor | None
    """bool, (B, S), True where a source token is real."""


class AdditiveAttention(nn.Module):
    """Scores v · tanh(W q + U k) of a query with each key, and the mean of the keys by their softmax.

    The source is Bahdanau et al. (2015), appendix A.1.2.

    Args:
        query_size, key_size: numbers of a query and of a key.
        hidden_size: numbers of the hidden layer.
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, hidden_size, bias=False)
        self.key = nn.Linear(key_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(
        self, query_BQ: Tensor, keys_BSD: Tensor, projected_BSF: Tensor, mask_BS: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The context (B, D) and the weights (B, S); ``projected_BSF`` is ``self.key(keys_BSD)``, made once."""
        scores_BS = self.score(torch.tanh(self.query(query_BQ)[:, None] + projected_BSF))[..., 0]
        if mask_BS is not None:
            scores_BS = scores_BS.masked_fill(~mask_BS, -math.inf)
        weights_BS = scores_BS.softmax(dim=-1)
        return (weights_BS[:, None] @ keys_BSD)[:, 0], weights_BS


class RecurrentSeq2Seq(nn.Module):
    """An encoder that reads the source and hands a vector of Z numbers over, and a decoder that begins from it.

    Args:
        config: the shape.
    """

    def __init__(self, config: RecurrentSeq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        width, directions = config.hidden_size, 2 if config.bidirectional else 1
        parts = 2 if config.cell == "lstm" else 1
        self.encoder = RecurrentEncoder(
            config.vocab_size,
            config.embedding_size,
            width,
            cell=config.cell,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.to_summary = nn.Linear(parts * directions * width, config.summary)
        self.to_state = nn.Linear(config.summary, parts * width)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.attention = AdditiveAttention(width, directions * width, width) if config.attention else None
        context = directions * width if config.attention else 0
        self.decoder = LAYERS[config.cell](config.embedding_size + context, width, batch_first=True)
        self.lm_head = nn.Linear(width + context, config.vocab_size)
        initialise(self.decoder)

    def encode(self, input_ids: Tensor, *, attention_mask: Tensor | None = None) -> Encoded:
        """Read source tokens, (B, S); attention_mask bool, (B, S), True = real, padded on the right.

        Raises:
            ValueError: an id outside the vocabulary, or a mask that cannot be packed.
        """
        check_ids(input_ids, self.config.vocab_size, "input_ids")
        outputs_BSD, state = self.encoder(input_ids, attention_mask=attention_mask)
        return Encoded(self.to_summary(self.encoder.summary(state)), outputs_BSD, attention_mask)

    def first_state(self, summary_BZ: Tensor) -> State:
        """The decoder's state before the first target token, (1, B, H), for an LSTM a pair."""
        parts = self.to_state(summary_BZ)[None].split(self.config.hidden_size, dim=-1)
        return torch.tanh(parts[0]) if len(parts) == 1 else (torch.tanh(parts[0]), parts[1])

    def decode(
        self, decoder_input_ids: Tensor, encoded: Encoded, *, state: State | None = None
    ) -> tuple[Tensor, State, Tensor | None]:
        """Logits for the target token that follows each target token.

        Args:
            decoder_input_ids: target tokens, shifted right, (B, T).
            encoded: of :meth:`encode`.
            state: the state of an earlier call; None begins from the summary.

        Returns:
            Logits (B, T, V), the state after the last token, and the weights (B, T, S) of attention if there is any.

        Raises:
            ValueError: an id outside the vocabulary.
        """
        check_ids(decoder_input_ids, self.config.vocab_size, "decoder_input_ids")
        state = self.first_state(encoded.summary_BZ) if state is None else state
        x_BTE = self.dropout(self.word_embeddings(decoder_input_ids))
        if self.attention is None:
            hidden_BTH, state = self.decoder(x_BTE, state)
            return self.lm_head(self.dropout(hidden_BTH)), state, None
        projected_BSF = self.attention.key(encoded.outputs_BSD)
        outputs, weights = [], []
        for x_BE in x_BTE.unbind(dim=1):
            context_BD, weights_BS = self.attention(
                hidden(state)[-1], encoded.outputs_BSD, projected_BSF, encoded.attention_mask
            )
            hidden_B1H, state = self.decoder(torch.cat([x_BE, context_BD], dim=-1)[:, None], state)
            outputs.append(torch.cat([hidden_B1H[:, 0], context_BD], dim=-1))
            weights.append(weights_BS)
        return self.lm_head(self.dropout(torch.stack(outputs, dim=1))), state, torch.stack(weights, dim=1)

    def forward(self, input_ids: Tensor, decoder_input_ids: Tensor, *, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) where the decoder reads the true target so far (teacher forcing).

        Args:
            input_ids: source tokens, (B, S).
            decoder_input_ids: target tokens, shifted right, (B, T).
            attention_mask: bool, (B, S), True where a source token is real.
        """
        return self.decode(decoder_input_ids, self.encode(input_ids, attention_mask=attention_mask))[0]

    def generate(
        self, input_ids: Tensor, *, start: int, max_new_tokens: int, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Encode source tokens (B, S) and write a target, (B, max_new_tokens); see :meth:`write`."""
        encoded = self.encode(input_ids, attention_mask=attention_mask)
        return self.write(encoded, start=start, max_new_tokens=max_new_tokens)

    @torch.no_grad()
    def write(self, encoded: Encoded, *, start: int, max_new_tokens: int) -> Tensor:
        """The likeliest token at each step, (B, max_new_tokens), where the decoder reads what it wrote itself.

        Args:
            encoded: of :meth:`encode`.
            start: the id that stands before the target.
            max_new_tokens: number of tokens to write; nothing ends earlier.
        """
        summary_BZ = encoded.summary_BZ
        token_B1 = torch.full((len(summary_BZ), 1), start, device=summary_BZ.device)
        state, written = None, []
        for _ in range(max_new_tokens):
            logits_B1V, state, _ = self.decode(token_B1, encoded, state=state)
            token_B1 = logits_B1V.argmax(dim=-1)
            written.append(token_B1)
        return torch.cat(written, dim=1)

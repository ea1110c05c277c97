"""A recurrent encoder of sequences of several lengths: packed, in one direction or both, with a state carried over."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from plm_core.models.recurrent_cells import State, initialise

Cell = Literal["rnn", "gru", "lstm"]
LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
"""torch's layers of each cell."""


def lengths_of(attention_mask: Tensor) -> Tensor:
    """The numbers of real tokens, (B,), of a mask (B, T) that is padded on the right.

    Raises:
        ValueError: a mask that is not bool, an empty sequence, or padding before a real token.
    """
    if attention_mask.dtype != torch.bool:
        raise ValueError(f"attention_mask: expected bool, got {attention_mask.dtype}; use `mask.bool()`")
    lengths_B = attention_mask.sum(dim=1)
    if not bool((lengths_B > 0).all()):
        raise ValueError(f"sequence {int((lengths_B == 0).nonzero()[0])} has no real token: leave it out of the batch")
    if bool((attention_mask[:, 1:] & ~attention_mask[:, :-1]).any()):
        raise ValueError("padding stands before a real token: a packed sequence needs its padding on the right")
    return lengths_B


def run_packed(
    layers: nn.RNNBase, x_BTI: Tensor, attention_mask: Tensor | None = None, *, state: State | None = None
) -> tuple[Tensor, State]:
    """Run torch's recurrent layers over padded sequences as if each stood alone.

    Packing leaves padding out of the computation. So the last state is that after the last *real* token, and the
    backward direction begins there. Outputs come back in the order in which the sequences went in.

    Args:
        layers: an nn.RNN, nn.GRU or nn.LSTM with ``batch_first=True``.
        x_BTI: the inputs, (B, T, I).
        attention_mask: bool, (B, T), True where a token is real, padded on the right; None if all tokens are.
        state: the state before the first token, (layers·directions, B, H), for an LSTM a pair; None for zeros.

    Returns:
        The outputs, (B, T, directions·H), zero at padding, and the state after the last real token.

    Raises:
        ValueError: layers that want the batch second, or a mask that cannot be packed.
    """
    if not layers.batch_first:
        raise ValueError("the layers take (T, B, I): make them with batch_first=True")
    if attention_mask is None:
        return layers(x_BTI, state)
    packed = pack_padded_sequence(x_BTI, lengths_of(attention_mask).cpu(), batch_first=True, enforce_sorted=False)
    outputs, last = layers(packed, state)
    return pad_packed_sequence(outputs, batch_first=True, total_length=x_BTI.shape[1])[0], last


class RecurrentEncoder(nn.Module):
    """Word embeddings and recurrent layers that read tokens in one direction or in both (Schuster and Paliwal 1997).

    Args:
        vocab_size: number of token ids V.
        embedding_size: numbers for each token, E.
        hidden_size: numbers of the state in each direction, H.
        num_layers: number of recurrent layers.
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        bidirectional: whether a second set of layers reads from the last token to the first.
        dropout: share of the embeddings' numbers that training sets to zero.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        cell: Cell = "gru",
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.hidden_size = hidden_size
        self.word_embeddings = nn.Embedding(vocab_size, embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.layers = LAYERS[cell](
            embedding_size, hidden_size, num_layers, batch_first=True, bidirectional=bidirectional
        )
        initialise(self.layers)

    def forward(
        self, input_ids: Tensor, *, attention_mask: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read tokens (B, T): outputs (B, T, directions·H), zero at padding, and the state after the last real token.

        Args:
            input_ids: tokens, (B, T).
            attention_mask: bool, (B, T), True where a token is real; padding on the right.
            state: the state of an earlier call, to read on where it ended; in one direction only.

        Raises:
            ValueError: a mask that cannot be packed, or a state for an encoder of both directions.
        """
        if state is not None and self.directions == 2:
            raise ValueError("a state carries the past forward; the backward direction has none: use one direction")
        x_BTE = self.dropout(self.word_embeddings(input_ids))
        return run_packed(self.layers, x_BTE, attention_mask, state=state)

    def summary(self, state: State) -> Tensor:
        """The top layer's last states of all directions and, for an LSTM, its memory, side by side: (B, ...)."""
        parts = [state] if isinstance(state, Tensor) else list(state)
        return torch.cat([part[-self.directions :].transpose(0, 1).flatten(1) for part in parts], dim=-1)

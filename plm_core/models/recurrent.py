"""A recurrent language model: the state of an LSTM or GRU summarises all earlier tokens of the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from plm_core.config import Config
from plm_core.models.config import LIMITS
from plm_core.models.inputs import check_ids

Cell = Literal["rnn", "gru", "lstm"]
State = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class RecurrentConfig(Config):
    """The shape of a :class:`RecurrentLM`."""

    vocab_size: int
    """Number of token ids V."""
    hidden_size: int = 256
    """Width of the state, and of the word embeddings."""
    num_hidden_layers: int = 1
    """Number of recurrent layers."""
    cell: Cell = "lstm"
    """``"rnn"`` (tanh), ``"gru"`` (Cho et al. 2014) or ``"lstm"`` (Hochreiter and Schmidhuber 1997)."""
    hidden_dropout_prob: float = 0.1
    """Dropout of embeddings, between layers and before the output."""
    initializer_range: float = 0.02
    """Standard deviation of the initial word embeddings."""
    tie_word_embeddings: bool = True
    """Whether the output layer uses the word embeddings as its weight."""

    def validate(self) -> None:
        self.require_positive("vocab_size", "hidden_size", "num_hidden_layers", "initializer_range")
        self.require_probability("hidden_dropout_prob")
        self.require_at_most(**{name: LIMITS[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")})


class RecurrentLM(nn.Module):
    """A causal language model of word embeddings, recurrent layers and an output layer.

    Args:
        config: its shape.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        width, layers = config.hidden_size, config.num_hidden_layers
        between = config.hidden_dropout_prob if layers > 1 else 0.0
        self.word_embeddings = nn.Embedding(config.vocab_size, width)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[config.cell]
        self.trunk = kind(width, width, layers, batch_first=True, dropout=between)
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.word_embeddings.weight
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw all weights anew.

        =============================  ============================================================
        word embeddings, output layer  N(0, initializer_range²)
        input to state                 uniform, variance 2/(inputs + outputs) (Glorot and Bengio)
        state to state                 orthogonal, one block for each gate
        biases                         0, and 1 for the LSTM's forget gate (Jozefowicz et al. 2015)
        =============================  ============================================================
        """
        nn.init.normal_(self.word_embeddings.weight, std=self.config.initializer_range)
        if not self.config.tie_word_embeddings:
            nn.init.normal_(self.lm_head.weight, std=self.config.initializer_range)
        width = self.config.hidden_size
        for name, parameter in self.trunk.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
                if self.config.cell == "lstm" and name.startswith("bias_ih"):
                    parameter[width : 2 * width] = 1.0  # the second of the gates i, f, g, o
            else:
                for gate in parameter.split(width):
                    if name.startswith("weight_hh"):
                        nn.init.orthogonal_(gate)
                    else:
                        nn.init.xavier_uniform_(gate)

    def tied_weights(self) -> dict[str, str]:
        """Each alias and the parameter it shares."""
        return {"lm_head.weight": "word_embeddings.weight"} if self.config.tie_word_embeddings else {}

    def hidden_states(self, input_ids: Tensor, *, state: State | None = None) -> tuple[Tensor, State]:
        """The top layer's outputs, (B, T, D), and the state after the last token."""
        check_ids(input_ids, self.config.vocab_size, "input_ids")
        return self.trunk(self.dropout(self.word_embeddings(input_ids)), state)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits (B, T, V) for the token that follows each token of input_ids (B, T).

        Raises:
            ValueError: an id outside the vocabulary.
        """
        hidden_BTD, _ = self.hidden_states(input_ids)
        return self.lm_head(self.dropout(hidden_BTD))

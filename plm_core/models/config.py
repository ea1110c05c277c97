"""The shape of a Transformer as a configuration, and the position scheme that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plm_core.config import Config
from plm_core.models.blocks import Activation, Norm, NormPosition
from plm_core.models.positions import Learned, PositionScheme, Rope, Sinusoidal
from plm_core.models.relative_positions import Alibi, Shaw, T5Bias, TransformerXL

Position = Literal["none", "learned", "sinusoidal", "rope", "alibi", "t5", "shaw", "transformer_xl"]

LIMITS = {
    "vocab_size": 2**20,
    "hidden_size": 2**16,
    "num_hidden_layers": 2**10,
    "intermediate_size": 2**18,
    "max_position_embeddings": 2**22,
}
"""The largest sizes that are accepted: several times those of any published model, so that a typing error is
refused before memory is allocated."""


@dataclass(frozen=True)
class TransformerConfig(Config):
    """The shape of a Transformer. Fields are named as in Hugging Face configurations."""

    vocab_size: int
    """Number of token ids V."""
    hidden_size: int = 128
    """Width D of the residual stream."""
    num_hidden_layers: int = 2
    """Number of blocks L."""
    num_attention_heads: int = 4
    """Number of heads H; must divide hidden_size."""
    intermediate_size: int = 512
    """Width F of the feed-forward networks; 4·D in the papers."""
    max_position_embeddings: int | None = 128
    """Longest sequence, in tokens; longer ones are refused. None: any length, for a scheme that has no table."""
    position: Position = "learned"
    """How the order of the tokens enters the model: see :mod:`plm_core.models.positions`."""
    hidden_act: Activation = "gelu"
    """Nonlinearity of the feed-forward networks."""
    norm: Norm = "layernorm"
    """Kind of normalisation."""
    norm_position: NormPosition = "pre"
    """Normalise the input of each branch (``"pre"``) or the sum after it (``"post"``)."""
    layer_norm_eps: float = 1e-5
    """Epsilon of every norm."""
    use_bias: bool = True
    """Whether the linear layers of the blocks have a bias."""
    hidden_dropout_prob: float = 0.1
    """Dropout of embeddings and of each branch's output."""
    attention_probs_dropout_prob: float = 0.1
    """Dropout of attention weights."""
    initializer_range: float = 0.02
    """Standard deviation of initial weights, where the model's table of initialisation names it."""
    tie_word_embeddings: bool = True
    """Whether the output layer uses the word embeddings as its weight."""

    def validate(self) -> None:
        self.require_positive("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "layer_norm_eps")
        self.require_positive("initializer_range")
        self.require_not_negative("num_hidden_layers")
        self.require_at_most(**LIMITS)
        self.require_probability("hidden_dropout_prob", "attention_probs_dropout_prob")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.max_position_embeddings is not None:
            self.require_positive("max_position_embeddings")
        elif self.position == "learned":
            raise ValueError("learned positions need max_position_embeddings: the number of rows of their table")

    @property
    def head_size(self) -> int:
        """Width K of one head."""
        return self.hidden_size // self.num_attention_heads


def make_position(config: TransformerConfig, *, bidirectional: bool) -> PositionScheme:
    """The position scheme that a configuration names, for one stack."""
    D, H, K = config.hidden_size, config.num_attention_heads, config.head_size
    match config.position:
        case "learned":
            assert config.max_position_embeddings is not None
            return Learned(config.max_position_embeddings, D)
        case "sinusoidal":
            return Sinusoidal(D)
        case "rope":
            return Rope(K)
        case "alibi":
            return Alibi(H)
        case "t5":
            return T5Bias(H, bidirectional=bidirectional)
        case "shaw":
            return Shaw(K)
        case "transformer_xl":
            return TransformerXL(D, H)
        case _:
            return PositionScheme()


def acts_on_embeddings(position: PositionScheme) -> bool:
    """Whether the scheme adds something to token embeddings."""
    return type(position).embed is not PositionScheme.embed


def acts_in_attention(position: PositionScheme) -> bool:
    """Whether the scheme changes queries, keys, scores or values."""
    return any(
        getattr(type(position), method) is not getattr(PositionScheme, method)
        for method in ("rotate", "score_bias", "add_values")
    )

"""The number of parameters of a Transformer, row by row, from its shape alone.

No row depends on the length of a text: the same weights are applied at every position.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import nn

from plm_core.config import Config
from plm_core.models.bert import BertConfig
from plm_core.models.blocks import GATED
from plm_core.models.config import TransformerConfig, make_position
from plm_core.models.recurrent import RecurrentConfig
from plm_core.models.seq2seq import Seq2SeqConfig

Ledger = dict[str, int]


@dataclass(frozen=True)
class Architecture(Config):
    """The sizes on which the parameter count of a published Transformer depends."""

    vocab_size: int
    """Number of token ids V."""
    hidden_size: int
    """Width D of the stream."""
    num_hidden_layers: int
    """Number of blocks; of the encoder's blocks in an encoder-decoder."""
    intermediate_size: int
    """Width F of the feed-forward networks."""
    num_decoder_layers: int = 0
    """Number of blocks with cross attention."""
    embedding_size: int | None = None
    """Width of the word embeddings where it is not D (ALBERT); a linear layer then leads to D."""
    position_rows: int = 0
    """Rows of a table of learned positions."""
    position_parameters: int = 0
    """Parameters of a position scheme that acts in attention."""
    type_vocab_size: int = 0
    """Rows of the table of token types."""
    embedding_norm: bool = False
    """Whether the embeddings are normalised."""
    final_norms: int = 0
    """Norms after the last block of a stack."""
    norm_vectors: int = 2
    """Vectors of a norm: 2 for LayerNorm (scale, shift), 1 for RMSNorm."""
    gated: bool = False
    """Whether the feed-forward networks have a gate, a third matrix."""
    use_bias: bool = True
    """Whether the linear layers of the blocks have a bias."""
    shared_layers: bool = False
    """Whether all blocks are one and the same (ALBERT)."""
    pooler: bool = False
    """A linear layer D to D on the first token."""
    mlm_head: bool = False
    """Linear layer, norm, and a bias over the vocabulary."""
    nsp_head: bool = False
    """A linear layer D to 2."""
    untied_output: bool = False
    """An output matrix of its own, V by D."""


def linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Parameters of a linear layer: one weight for each pair, one bias for each output."""
    return inputs * outputs + (outputs if bias else 0)


def ledger(shape: Architecture) -> Ledger:
    """The rows of a parameter count; zero rows are left out, and the sum of the rows is the count."""
    V, D, F = shape.vocab_size, shape.hidden_size, shape.intermediate_size
    E = D if shape.embedding_size is None else shape.embedding_size
    blocks = 1 if shape.shared_layers else shape.num_hidden_layers + shape.num_decoder_layers
    crosses = shape.num_decoder_layers
    norm = shape.norm_vectors * D
    matrices_up = 2 if shape.gated else 1
    feed_forward = matrices_up * linear(D, F, bias=shape.use_bias) + linear(F, D, bias=shape.use_bias)
    rows = {
        "word embeddings": V * E,
        "position embeddings": shape.position_rows * E,
        "token types": shape.type_vocab_size * E,
        "embedding norm": shape.norm_vectors * E if shape.embedding_norm else 0,
        "embedding projection": linear(E, D) if E != D else 0,
        "attention": (blocks + crosses) * 4 * linear(D, D, bias=shape.use_bias),
        "position scheme": shape.position_parameters,
        "feed-forward": blocks * feed_forward,
        "norms": (2 * blocks + crosses + shape.final_norms) * norm,
        "pooler": linear(D, D) if shape.pooler else 0,
        "MLM head": linear(D, D) + norm + V if shape.mlm_head else 0,
        "NSP head": linear(D, 2) if shape.nsp_head else 0,
        "output layer": V * D if shape.untied_output else 0,
    }
    return {name: count for name, count in rows.items() if count}


def architecture(config: TransformerConfig) -> Architecture:
    """The sizes on which the parameter count of one of our models depends."""
    pre = config.norm_position == "pre"
    shape = Architecture(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        intermediate_size=config.intermediate_size,
        position_rows=(config.max_position_embeddings or 0) if config.position == "learned" else 0,
        final_norms=1 if pre else 0,
        norm_vectors=2 if config.norm == "layernorm" else 1,
        gated=config.hidden_act in GATED,
        use_bias=config.use_bias,
        untied_output=not config.tie_word_embeddings,
    )
    if isinstance(config, BertConfig):
        shape = shape.replace(
            type_vocab_size=config.type_vocab_size, embedding_norm=True, pooler=True, mlm_head=True, nsp_head=True
        )
    if isinstance(config, Seq2SeqConfig):
        shape = shape.replace(num_decoder_layers=config.num_decoder_layers, final_norms=2 if pre else 0)
        stacks = [(config.num_hidden_layers, True), (config.num_decoder_layers, False)]
    else:
        stacks = [(config.num_hidden_layers, isinstance(config, BertConfig))]
    if config.position != "learned":
        in_schemes = sum(_position_parameters(config, layers, both_ways) for layers, both_ways in stacks if layers)
        shape = shape.replace(position_parameters=in_schemes)
    return shape


def _position_parameters(config: TransformerConfig, layers: int, bidirectional: bool) -> int:
    """Parameters of the schemes of one stack, counted on tensors without memory, because classes share differently."""
    with torch.device("meta"):
        schemes = make_position(config, bidirectional=bidirectional).per_layer(layers)
    return sum(parameter.numel() for parameter in nn.ModuleList(schemes).parameters())


@singledispatch
def num_parameters(thing: object) -> int:
    """Number of parameters of a model (a shared one counts once) or of a configuration.

    Raises:
        TypeError: something that is neither.
    """
    raise TypeError(f"num_parameters takes a model or its configuration, got {type(thing).__name__}")


@num_parameters.register
def _(thing: nn.Module) -> int:
    return sum(parameter.numel() for parameter in thing.parameters())


@num_parameters.register
def _(thing: Architecture) -> int:
    return sum(ledger(thing).values())


@num_parameters.register
def _(thing: TransformerConfig) -> int:
    return sum(ledger(architecture(thing)).values())


@num_parameters.register
def _(thing: RecurrentConfig) -> int:
    V, D = thing.vocab_size, thing.hidden_size
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[thing.cell]
    cells = thing.num_hidden_layers * gates * 2 * linear(D, D)  # torch keeps two biases
    return V * D * (1 if thing.tie_word_embeddings else 2) + cells


@dataclass(frozen=True)
class Published:
    """A published model: its shape, and the number of parameters that its paper or authors state."""

    shape: Architecture
    stated_millions: float
    citation: str
    """Key in the book's bibliography."""


_BASE = Architecture(
    vocab_size=30522,
    hidden_size=768,
    num_hidden_layers=12,
    intermediate_size=3072,
    position_rows=512,
    type_vocab_size=2,
    embedding_norm=True,
    pooler=True,
)

PUBLISHED = {
    "BERT-base": Published(_BASE, 110, "devlin2019bert"),
    "RoBERTa-base": Published(
        _BASE.replace(vocab_size=50265, position_rows=514, type_vocab_size=1), 125, "liu2019roberta"
    ),
    "DistilBERT": Published(
        _BASE.replace(num_hidden_layers=6, type_vocab_size=0, pooler=False), 66, "sanh2019distilbert"
    ),
    "ALBERT-base": Published(
        _BASE.replace(vocab_size=30000, embedding_size=128, shared_layers=True), 12, "lan2020albert"
    ),
    "GPT-2": Published(
        _BASE.replace(
            vocab_size=50257, position_rows=1024, type_vocab_size=0, embedding_norm=False, final_norms=1, pooler=False
        ),
        124,
        "radford2019language",
    ),
    "T5-small": Published(
        Architecture(
            vocab_size=32128,
            hidden_size=512,
            num_hidden_layers=6,
            num_decoder_layers=6,
            intermediate_size=2048,
            position_parameters=2 * 32 * 8,
            final_norms=2,
            norm_vectors=1,
            use_bias=False,
        ),
        60,
        "raffel2020exploring",
    ),
}
"""Trunks as they are published, without task heads; output layers are tied to the word embeddings."""

"""The cost of a Transformer per token: floating-point operations, and bytes to read and to keep.

A product of an (m, k) and a (k, n) matrix costs 2·m·k·n operations: a multiplication and an addition each. Norms,
softmax, activations and additions are left out; they are below 2 % of the work at any useful width. A backward pass
costs twice the forward pass, so training costs three times these figures.
"""

from __future__ import annotations

from plm_core.models.bert import BertConfig
from plm_core.models.blocks import GATED
from plm_core.models.config import TransformerConfig
from plm_core.models.counting import num_parameters
from plm_core.models.seq2seq import Seq2SeqConfig


def flops_ledger(config: TransformerConfig, length: int, *, masked_fraction: float = 0.15) -> dict[str, float]:
    """Forward operations per token, row by row.

    Scores are counted for all pairs of tokens, also under a causal mask: dense kernels compute them and throw half
    away. What a position scheme adds inside attention is left out.

    Args:
        config: the model's shape. For a Seq2Seq, a token is one source token together with one target token.
        length: tokens in a sequence T (each side's, for a Seq2Seq).
        masked_fraction: the share of tokens on which BERT's masked-language-model head runs.

    Raises:
        ValueError: a length below 1.
    """
    if length < 1:
        raise ValueError(f"length is a number of tokens, at least 1; got {length}")
    V, D, F, L = config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers
    decoder_layers = config.num_decoder_layers if isinstance(config, Seq2SeqConfig) else 0
    attentions = L + 2 * decoder_layers  # a decoder's block has two
    matrices = 3 if config.hidden_act in GATED else 2
    rows = {
        "attention projections": attentions * 8.0 * D * D,  # query, key, value, output
        "attention scores and means": attentions * 4.0 * length * D,  # q kᵀ, then weights · v
        "feed-forward": (L + decoder_layers) * matrices * 2.0 * D * F,
    }
    if isinstance(config, BertConfig):
        rows["MLM head"] = masked_fraction * (2.0 * D * D + 2.0 * D * V)
        rows["pooler and NSP head"] = (2.0 * D * D + 4.0 * D) / length  # once for each sequence
    else:
        rows["output layer"] = 2.0 * D * V
    return rows


def flops_per_token(config: TransformerConfig, length: int, *, masked_fraction: float = 0.15) -> float:
    """Forward operations per token in a sequence of ``length`` tokens; arguments as in :func:`flops_ledger`."""
    return sum(flops_ledger(config, length, masked_fraction=masked_fraction).values())


def attention_crossover(config: TransformerConfig) -> float:
    """The length in tokens at which scores and means cost as much as everything else in a block.

    From 4·T·D = 8·D² + 4·D·F follows T = 2·D + F, which is 6·D where F = 4·D.
    """
    matrices = 3 if config.hidden_act in GATED else 2
    return 2 * config.hidden_size + matrices * config.intermediate_size / 2


def kv_cache_bytes_per_token(config: TransformerConfig, *, bytes_per_number: int = 2) -> int:
    """Bytes that the keys and values of one token occupy in all caches of self-attention."""
    layers = config.num_decoder_layers if isinstance(config, Seq2SeqConfig) else config.num_hidden_layers
    return 2 * layers * config.hidden_size * bytes_per_number


def bytes_per_generated_token(
    config: TransformerConfig, length: int, *, batch_size: int = 1, bytes_per_number: int = 2
) -> float:
    """Bytes read from memory to generate one token: all weights, shared by the batch, and the token's own cache.

    Args:
        config: the model's shape.
        length: tokens already in the cache.
        batch_size: sequences that are generated together.
        bytes_per_number: 4 for fp32, 2 for fp16 and bf16.
    """
    weights = num_parameters(config) * bytes_per_number / batch_size
    return weights + length * kv_cache_bytes_per_token(config, bytes_per_number=bytes_per_number)

"""The model shapes that are measured, as configurations of ours; the other side gets them by way of the weights."""

from __future__ import annotations

from plm_core.models.bert import BertConfig
from plm_core.models.gpt import GptConfig

SHAPES: dict[str, dict[str, int]] = {
    "smoke": {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2},
    "tiny": {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4},
    "small": {"num_hidden_layers": 6, "hidden_size": 512, "num_attention_heads": 8},
    "bert-base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12},
    "gpt2": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12},
}
"""Blocks, width and heads. The feed-forward networks are four times as wide as the stream. ``smoke`` is for tests."""


def bert_config(shape: str, *, vocab_size: int, length: int, dropout: float) -> BertConfig:
    """A BERT of a named shape."""
    return BertConfig(vocab_size=vocab_size, **_fields(shape, length, dropout))  # type: ignore[arg-type]


def gpt_config(shape: str, *, vocab_size: int, length: int, dropout: float) -> GptConfig:
    """A GPT-2 of a named shape."""
    return GptConfig(vocab_size=vocab_size, **_fields(shape, length, dropout))  # type: ignore[arg-type]


def _fields(shape: str, length: int, dropout: float) -> dict[str, float]:
    if shape not in SHAPES:
        raise ValueError(f"unknown shape {shape!r}: use one of {', '.join(SHAPES)}")
    return SHAPES[shape] | {
        "intermediate_size": 4 * SHAPES[shape]["hidden_size"],
        "max_position_embeddings": length,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }

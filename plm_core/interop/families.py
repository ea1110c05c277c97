"""Which of Hugging Face's models computes what one of ours does.

A shape of ours fits a family if, with weights carried over, both compute the same function. Five families are enough
for the models that this library trains: BERT (post-norm, positions from a table), ESM (a pre-norm encoder with rotary
positions), GPT-2 (pre-norm, positions from a table), GPT-NeoX without parallel residuals (the same with rotary
positions) and Llama (RMSNorm, rotary positions, gated feed-forward networks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plm_core.models.bert import BertConfig
from plm_core.models.classifier import ClassifierConfig
from plm_core.models.config import TransformerConfig
from plm_core.models.gpt import GptConfig

AnyConfig = BertConfig | ClassifierConfig | GptConfig

_TABLE = ("learned", "sinusoidal", "none")  # the last two become a table with fixed rows
_PLAIN = ("gelu", "gelu_new", "relu")
_GATED = ("swiglu", "geglu")


@dataclass(frozen=True)
class Family:
    """One of Hugging Face's architectures."""

    model_type: str
    """Its name in ``config.json``."""
    title: str
    """Its name in messages."""
    is_encoder: bool
    """Whether it is computed by a Bert or BertClassifier (True) or by a Gpt."""
    computes: Mapping[str, tuple[Any, ...]]
    """For each field of our configurations that matters, the values that it can express."""
    architecture: str
    """The class that holds the pretrained model."""
    classifier: str = ""
    """The class that holds a classifier; empty if there is none."""
    headless: str = ""
    """The class of an encoder without heads."""

    def obstacles(self, config: TransformerConfig) -> list[str]:
        """The reasons why this family cannot compute a shape of ours; empty if it can."""
        found = [
            f"{name} is {getattr(config, name)!r} and should be {' or '.join(map(repr, values))}"
            for name, values in self.computes.items()
            if getattr(config, name) not in values
        ]
        if "learned" in self.computes["position"] and config.max_position_embeddings is None:
            found.append("max_position_embeddings is None, but its table of positions needs a length")
        return found


FAMILIES = (
    Family(
        "bert",
        "BERT",
        True,
        {"position": _TABLE, "norm": ("layernorm",), "norm_position": ("post",), "hidden_act": _PLAIN},
        "BertForPreTraining",
        "BertForSequenceClassification",
        "BertModel",
    ),
    Family(
        "esm",
        "ESM",
        True,
        {"position": ("rope",), "norm": ("layernorm",), "norm_position": ("pre",), "hidden_act": ("gelu",)},
        "EsmForMaskedLM",
        "EsmForSequenceClassification",
        "EsmModel",
    ),
    Family(
        "gpt2",
        "GPT-2",
        False,
        {"position": _TABLE, "norm": ("layernorm",), "norm_position": ("pre",), "hidden_act": _PLAIN},
        "GPT2LMHeadModel",
    ),
    Family(
        "gpt_neox",
        "GPT-NeoX",
        False,
        {"position": ("rope",), "norm": ("layernorm",), "norm_position": ("pre",), "hidden_act": _PLAIN},
        "GPTNeoXForCausalLM",
    ),
    Family(
        "llama",
        "Llama",
        False,
        {"position": ("rope",), "norm": ("rmsnorm",), "norm_position": ("pre",), "hidden_act": _GATED},
        "LlamaForCausalLM",
    ),
)


def family_of(config: AnyConfig) -> Family:
    """The family that computes a shape of ours.

    Raises:
        ValueError: none does; what stands in the way of each is named.
    """
    families = [family for family in FAMILIES if family.is_encoder == isinstance(config, BertConfig)]
    for family in families:
        if not family.obstacles(config):
            return family
    reasons = "; ".join(f"as {family.title}, {', '.join(family.obstacles(config))}" for family in families)
    raise ValueError(f"no known model of Hugging Face's computes this shape: {reasons}")

"""The content of a ``config.json`` of Hugging Face, translated into one of our configurations and back.

Fields that change what is computed, and that our models do not have, are refused by name and not passed over.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn

from plm_core.interop.families import FAMILIES, AnyConfig, family_of
from plm_core.models.bert import BertConfig
from plm_core.models.classifier import ClassifierConfig
from plm_core.models.gpt import GptConfig

ROPE_BASE = 10_000.0
UNLIMITED = 131_072
"""The length that is written for a model of ours that takes any length; nothing is allocated for it."""

_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_new", "relu": "relu", "gelu_pytorch_tanh": "gelu_new"}
_GATES = {"silu": "swiglu", "gelu": "geglu"}
_ACTIVATION_FIELD = {"gpt2": "activation_function"}

_SHARED = {
    name: name
    for name in (
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
        *("max_position_embeddings", "initializer_range", "tie_word_embeddings"),
    )
}
_ENCODER = {name: name for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps")}
_FIELDS: dict[str, dict[str, str]] = {
    "bert": {**_SHARED, **_ENCODER, "type_vocab_size": "type_vocab_size"},
    "esm": {**_SHARED, **_ENCODER},
    "gpt2": {
        "vocab_size": "vocab_size",
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "intermediate_size": "n_inner",
        "max_position_embeddings": "n_positions",
        "layer_norm_eps": "layer_norm_epsilon",
        "hidden_dropout_prob": "resid_pdrop",
        "attention_probs_dropout_prob": "attn_pdrop",
        "initializer_range": "initializer_range",
        "tie_word_embeddings": "tie_word_embeddings",
    },
    "gpt_neox": {
        **_SHARED,
        "layer_norm_eps": "layer_norm_eps",
        "hidden_dropout_prob": "hidden_dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    },
    "llama": {
        **_SHARED,
        "layer_norm_eps": "rms_norm_eps",
        "attention_probs_dropout_prob": "attention_dropout",
    },
}
"""Our fields and theirs, for each family."""


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    """Hugging Face's defaults of fields that ``config.json`` leaves out, under our names."""
    return {
        "bert": BertConfig.base().to_dict(),
        "esm": {**BertConfig.base().to_dict(), "max_position_embeddings": 1026, "vocab_size": 33},
        "gpt2": GptConfig.gpt2().to_dict(),
        "gpt_neox": {
            "vocab_size": 50432,
            "hidden_size": 6144,
            "num_hidden_layers": 44,
            "num_attention_heads": 64,
            "intermediate_size": 24576,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        "llama": {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "intermediate_size": 11008,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "layer_norm_eps": 1e-6,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
    }


_EVERYWHERE: dict[str, tuple[Any, ...]] = {
    "quantization_config": (None,),
    "add_cross_attention": (False, None),
    "sliding_window": (None,),
    "use_sliding_window": (False, None),
    "layer_types": (None,),
    "pruned_heads": ({}, None),
}
_VARIANTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "bert": {
        "is_decoder": (False, None),
        "position_embedding_type": ("absolute",),
        "embedding_size": (None,),
    },
    "esm": {
        "is_decoder": (False, None),
        "position_embedding_type": ("rotary",),
        "emb_layer_norm_before": (True,),
        "token_dropout": (False,),
        "is_folding_model": (False, None),
    },
    "gpt2": {"scale_attn_by_inverse_layer_idx": (False, None), "scale_attn_weights": (True,)},
    "gpt_neox": {"use_parallel_residual": (False,), "attention_bias": (True,)},
    "llama": {"pretraining_tp": (1, None)},
}
"""Fields that change what is computed, and the values that can be computed here. The first is meant where a file lacks
the field, except where :data:`_MUST_SAY` holds."""

_MUST_SAY: dict[str, dict[str, Any]] = {
    "gpt_neox": {"use_parallel_residual": True},
    "esm": {"position_embedding_type": "absolute"},
}
"""Hugging Face's default of a field that a file lacks, if that cannot be computed here."""

_CONSTANTS: dict[str, dict[str, Any]] = {
    "bert": {},
    "esm": {
        "position_embedding_type": "rotary",
        "rope_theta": ROPE_BASE,
        "emb_layer_norm_before": True,
        "token_dropout": False,
    },
    "gpt2": {},
    "gpt_neox": {
        "use_parallel_residual": False,
        "attention_bias": True,
        "rotary_pct": 1.0,
        "rotary_emb_base": ROPE_BASE,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE, "partial_rotary_factor": 1.0},
    },
    "llama": {
        "rope_theta": ROPE_BASE,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE},
    },
}
"""Fields that are written besides our own, so that Hugging Face computes the same function."""


def config_to_hugging_face(config: AnyConfig) -> dict[str, Any]:
    """The content of a ``config.json`` for one of our shapes.

    Raises:
        ValueError: a shape that no family computes.
    """
    family = family_of(config)
    kind = family.model_type
    values: dict[str, Any] = {
        "architectures": [family.classifier if isinstance(config, ClassifierConfig) else family.architecture],
        "model_type": kind,
        **{theirs: getattr(config, ours) for ours, theirs in _FIELDS[kind].items()},
        **_CONSTANTS[kind],
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id")),
    }
    length = _FIELDS[kind]["max_position_embeddings"]
    values[length] = values[length] or UNLIMITED
    if kind == "llama":
        values["hidden_act"] = next(theirs for theirs, ours in _GATES.items() if ours == config.hidden_act)
        values |= {"attention_bias": config.use_bias, "mlp_bias": config.use_bias}
        values["num_key_value_heads"] = config.num_attention_heads
    else:
        values[_ACTIVATION_FIELD.get(kind, "hidden_act")] = config.hidden_act
    if kind == "gpt2":
        values["embd_pdrop"] = config.hidden_dropout_prob
    if isinstance(config, ClassifierConfig):
        values["id2label"] = {str(number): f"LABEL_{number}" for number in range(config.num_labels)}
        values["label2id"] = {f"LABEL_{number}": number for number in range(config.num_labels)}
    return values


def config_from_hugging_face(values: Mapping[str, Any]) -> AnyConfig:
    """Translate the content of a ``config.json``.

    Raises:
        ValueError: a model of another family, a variant that these classes do not compute, or values of wrong types.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        known = ", ".join(repr(family.model_type) for family in FAMILIES)
        raise ValueError(f"config.json is of a model of type {kind!r}: only {known} can be read")
    for name, accepted in {**_EVERYWHERE, **_VARIANTS[kind]}.items():
        value = values.get(name, _MUST_SAY.get(kind, {}).get(name, accepted[0]))
        if not any(type(value) is type(each) and value == each for each in accepted):
            _refuse(name, value, *accepted)
    ours = {name: values[theirs] for name, theirs in _FIELDS[kind].items() if values.get(theirs) is not None}
    ours = {**_defaults()[kind], **ours, **_READERS[kind](values)}
    try:
        if kind not in ("bert", "esm"):
            return GptConfig.from_dict(ours)
        if is_classifier(values):
            return ClassifierConfig.from_dict({**ours, "num_labels": _num_labels(values)})
        return BertConfig.from_dict(ours)
    except ValueError as error:
        raise ValueError(f"config.json: {error}") from error


def is_classifier(values: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` describes a classifier of whole texts."""
    architectures = values.get("architectures")
    return bool(isinstance(architectures, list) and str(architectures[:1]).endswith("ForSequenceClassification']"))


def _read_bert(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"hidden_act": _activation(values, "hidden_act", "gelu")}


def _read_esm(values: Mapping[str, Any]) -> dict[str, Any]:
    _check_rope(values, fraction=1.0)
    return {"position": "rope", "norm_position": "pre", "type_vocab_size": 0, "hidden_act": "gelu"}


def _read_gpt2(values: Mapping[str, Any]) -> dict[str, Any]:
    embedding, residual = values.get("embd_pdrop", 0.1), values.get("resid_pdrop", 0.1)
    if embedding != residual:
        warnings.warn(
            f"embd_pdrop {embedding!r} and resid_pdrop {residual!r} differ; both become {residual!r} here, which "
            "matters for further training only",
            stacklevel=4,
        )
    ours: dict[str, Any] = {"hidden_act": _activation(values, "activation_function", "gelu_new")}
    width = values.get("n_embd", 768)
    if values.get("n_inner") is None and isinstance(width, int):
        ours["intermediate_size"] = 4 * width
    return ours


def _read_gpt_neox(values: Mapping[str, Any]) -> dict[str, Any]:
    _check_rope(values, fraction=0.25)
    return {"position": "rope", "hidden_act": _activation(values, "hidden_act", "gelu")}


def _read_llama(values: Mapping[str, Any]) -> dict[str, Any]:
    _check_rope(values, fraction=1.0)
    heads, width = values.get("num_attention_heads", 32), values.get("hidden_size", 4096)
    shared = values.get("num_key_value_heads")
    if shared not in (None, heads):  # grouped-query attention
        _refuse("num_key_value_heads", shared, heads)
    size = values.get("head_dim")
    if size is not None and (not isinstance(size, int) or not isinstance(heads, int) or size * heads != width):
        _refuse("head_dim", size, "hidden_size / num_attention_heads")
    bias = values.get("attention_bias", False)
    if values.get("mlp_bias", False) != bias or not isinstance(bias, bool):
        _refuse("mlp_bias", values.get("mlp_bias", False), bias)
    act = values.get("hidden_act", "silu")
    if act not in _GATES:
        _refuse("hidden_act", act, *_GATES)
    return {"position": "rope", "norm": "rmsnorm", "hidden_act": _GATES[act], "use_bias": bias}


_READERS = {
    "bert": _read_bert,
    "esm": _read_esm,
    "gpt2": _read_gpt2,
    "gpt_neox": _read_gpt_neox,
    "llama": _read_llama,
}


def _check_rope(values: Mapping[str, Any], *, fraction: float) -> None:
    """Refuse rotary positions of another base, scaled ones, and those that turn only a part of each head."""
    parameters, scaling = values.get("rope_parameters") or {}, values.get("rope_scaling") or {}
    if not isinstance(parameters, Mapping) or not isinstance(scaling, Mapping):
        raise ValueError("config.json: rope_parameters and rope_scaling should be objects")
    kind = {**scaling, **parameters}.get("rope_type", scaling.get("type", "default"))
    base = parameters.get("rope_theta", values.get("rope_theta", values.get("rotary_emb_base", ROPE_BASE)))
    turned = parameters.get("partial_rotary_factor", values.get("rotary_pct", fraction))
    for name, value, expected in (
        ("rope_type", kind, "default"),
        ("rope_theta", base, ROPE_BASE),
        ("partial_rotary_factor", turned, 1.0),
    ):
        if value != expected:
            _refuse(name, value, expected)


def _num_labels(values: Mapping[str, Any]) -> Any:
    labels = values.get("id2label")
    return len(labels) if isinstance(labels, Mapping) else values.get("num_labels", 2)


def _activation(values: Mapping[str, Any], name: str, default: str) -> str:
    value = values.get(name, default)
    if not isinstance(value, str) or value not in _ACTIVATIONS:
        _refuse(name, value, *_ACTIVATIONS)
    return _ACTIVATIONS[value]


def _refuse(name: str, value: Any, *expected: Any) -> NoReturn:
    raise ValueError(
        f"config.json says {name}={repr(value)[:80]}, a variant that cannot be computed here: expected "
        f"{' or '.join(map(repr, expected))}"
    )

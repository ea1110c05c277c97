"""Names, layouts and configurations of Hugging Face's BERT and GPT-2, translated into ours and back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from plm_core.models.bert import BertConfig
from plm_core.models.blocks import Activation
from plm_core.models.gpt import GptConfig

State = dict[str, Tensor]

# Ours -> theirs, without the number of the layer.
_BERT_LAYER = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.up": "intermediate.dense",
    "feed_forward.down": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
_BERT_TOP = {
    "encoder.embeddings.word_embeddings": "bert.embeddings.word_embeddings",
    "encoder.embeddings.token_type_embeddings": "bert.embeddings.token_type_embeddings",
    "encoder.embeddings.position.table": "bert.embeddings.position_embeddings",
    "encoder.embeddings.norm": "bert.embeddings.LayerNorm",
    "pooler.dense": "bert.pooler.dense",
    "mlm_head.dense": "cls.predictions.transform.dense",
    "mlm_head.norm": "cls.predictions.transform.LayerNorm",
    "nsp_head": "cls.seq_relationship",
}
_GPT_LAYER = {
    "attention.output": "attn.c_proj",
    "attention_norm": "ln_1",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
    "feed_forward_norm": "ln_2",
}
_GPT_TOP = {
    "embeddings.word_embeddings": "transformer.wte",
    "embeddings.position.table": "transformer.wpe",
    "decoder.final_norm": "transformer.ln_f",
}
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_new", "gelu": "gelu", "gelu_new": "gelu_new", "relu": "relu"}


def config_from_hugging_face(values: Mapping[str, Any]) -> BertConfig | GptConfig:
    """Translate the content of a ``config.json``.

    Raises:
        ValueError: a model other than BERT and GPT-2, or a variant of them that these classes do not compute.
    """
    kind = values.get("model_type")
    if kind == "bert":
        refused = {"is_decoder": True, "add_cross_attention": True, "position_embedding_type": "relative_key"}
        _refuse(values, refused)
        fields = (
            *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
            *("max_position_embeddings", "type_vocab_size", "hidden_dropout_prob", "attention_probs_dropout_prob"),
            *("initializer_range", "layer_norm_eps", "tie_word_embeddings"),
        )
        known = {name: values[name] for name in fields if name in values}
        base = BertConfig.base().replace(**known)
        return base.replace(hidden_act=_activation(values.get("hidden_act", "gelu")))
    if kind == "gpt2":
        refused = {
            "add_cross_attention": True,
            "scale_attn_by_inverse_layer_idx": True,
            "scale_attn_weights": False,
        }
        _refuse(values, refused)
        width = values.get("n_embd", 768)
        embedding, residual = values.get("embd_pdrop", 0.1), values.get("resid_pdrop", 0.1)
        if embedding != residual:
            warnings.warn(
                f"embd_pdrop {embedding} and resid_pdrop {residual} differ; both become {residual} here, which matters "
                "for further training only",
                stacklevel=2,
            )
        return GptConfig(
            vocab_size=values.get("vocab_size", 50257),
            hidden_size=width,
            num_hidden_layers=values.get("n_layer", 12),
            num_attention_heads=values.get("n_head", 12),
            intermediate_size=values.get("n_inner") or 4 * width,
            max_position_embeddings=values.get("n_positions", 1024),
            hidden_act=_activation(values.get("activation_function", "gelu_new")),
            layer_norm_eps=values.get("layer_norm_epsilon", 1e-5),
            hidden_dropout_prob=residual,
            attention_probs_dropout_prob=values.get("attn_pdrop", 0.1),
            initializer_range=values.get("initializer_range", 0.02),
            tie_word_embeddings=values.get("tie_word_embeddings", True),
        )
    raise ValueError(f"config.json is of a model of type {kind!r}: only 'bert' and 'gpt2' can be read")


def config_to_hugging_face(config: BertConfig | GptConfig) -> dict[str, Any]:
    """The content of a ``config.json`` for one of our shapes.

    Raises:
        ValueError: a shape that Hugging Face's BERT or GPT-2 cannot express; every obstacle is named.
    """
    wanted = {"position": "learned", "norm": "layernorm", "use_bias": True}
    wanted["norm_position"] = "post" if isinstance(config, BertConfig) else "pre"
    obstacles = [
        f"{name} is {getattr(config, name)!r} instead of {value!r}"
        for name, value in wanted.items()
        if getattr(config, name) != value
    ]
    if config.hidden_act not in _ACTIVATIONS:
        obstacles.append(f"hidden_act is {config.hidden_act!r}")
    if isinstance(config, BertConfig) and config.type_vocab_size == 0:
        obstacles.append("type_vocab_size is 0")
    if obstacles:
        target = "BERT" if isinstance(config, BertConfig) else "GPT-2"
        raise ValueError(f"Hugging Face's {target} has no such variant: {'; '.join(obstacles)}")
    if isinstance(config, BertConfig):
        values = config.to_dict()
        for name in (*wanted, "use_bias"):
            values.pop(name, None)
        return {"architectures": ["BertForPreTraining"], "model_type": "bert", "pad_token_id": None, **values}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_embd": config.hidden_size,
        "n_layer": config.num_hidden_layers,
        "n_head": config.num_attention_heads,
        "n_inner": config.intermediate_size,
        "n_positions": config.max_position_embeddings,
        "activation_function": config.hidden_act,
        "layer_norm_epsilon": config.layer_norm_eps,
        "resid_pdrop": config.hidden_dropout_prob,
        "embd_pdrop": config.hidden_dropout_prob,
        "attn_pdrop": config.attention_probs_dropout_prob,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def to_hugging_face(state: Mapping[str, Tensor], config: BertConfig | GptConfig) -> State:
    """Rename (and, for GPT-2, transpose and join) a stripped state of ours; gradients can be translated as well."""
    is_bert = isinstance(config, BertConfig)
    stack = "encoder.stack" if is_bert else "decoder"
    result: State = {}
    for name, tensor in state.items():
        owner, _, kind = name.rpartition(".")
        match = re.fullmatch(rf"{re.escape(stack)}\.layers\.(\d+)\.(.+)", owner)
        if is_bert:
            if match:
                result[f"bert.encoder.layer.{match[1]}.{_BERT_LAYER[match[2]]}.{kind}"] = tensor
            elif owner == "mlm_head.decoder":
                if kind == "bias":
                    result["cls.predictions.bias"] = tensor
                if not config.tie_word_embeddings:  # without ties their decoder has a bias of its own, and uses it
                    result[f"cls.predictions.decoder.{kind}"] = tensor.clone()
            else:
                result[f"{_BERT_TOP[owner]}.{kind}"] = tensor
        elif match and match[2] in ("attention.key", "attention.value"):
            continue  # joined with the query
        elif match and match[2] == "attention.query":
            prefix = f"decoder.layers.{match[1]}.attention"
            joined = torch.cat([state[f"{prefix}.{part}.{kind}"] for part in ("query", "key", "value")])
            result[f"transformer.h.{match[1]}.attn.c_attn.{kind}"] = joined.T if kind == "weight" else joined
        elif match:
            transposed = kind == "weight" and not match[2].endswith("norm")
            result[f"transformer.h.{match[1]}.{_GPT_LAYER[match[2]]}.{kind}"] = tensor.T if transposed else tensor
        elif owner == "lm_head":
            result["lm_head.weight"] = tensor
        else:
            result[f"{_GPT_TOP[owner]}.{kind}"] = tensor
    return result


def from_hugging_face(state: Mapping[str, Tensor], config: BertConfig | GptConfig) -> State:
    """The inverse of :func:`to_hugging_face`; names that have no place in our models are left out."""
    is_bert = isinstance(config, BertConfig)
    tops = {theirs: ours for ours, theirs in (_BERT_TOP if is_bert else _GPT_TOP).items()}
    layers = {theirs: ours for ours, theirs in (_BERT_LAYER if is_bert else _GPT_LAYER).items()}
    pattern, stack = (r"bert\.encoder\.layer", "encoder.stack") if is_bert else (r"transformer\.h", "decoder")
    result: State = {}
    for name, tensor in state.items():
        owner, _, kind = _with_prefix(name, is_bert).rpartition(".")
        match = re.fullmatch(rf"{pattern}\.(\d+)\.(.+)", owner)
        if match and match[2] == "attn.c_attn":
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3, dim=-1), strict=True):
                result[f"decoder.layers.{match[1]}.attention.{part}.{kind}"] = piece.T if kind == "weight" else piece
        elif match and match[2] in layers:
            transposed = not is_bert and kind == "weight" and tensor.dim() == 2
            result[f"{stack}.layers.{match[1]}.{layers[match[2]]}.{kind}"] = tensor.T if transposed else tensor
        elif owner in tops:
            result[f"{tops[owner]}.{kind}"] = tensor
        elif is_bert and owner == ("cls.predictions" if config.tie_word_embeddings else "cls.predictions.decoder"):
            result[f"mlm_head.decoder.{kind}"] = tensor
        elif not config.tie_word_embeddings and not is_bert and owner == "lm_head":
            result["lm_head.weight"] = tensor
    return result


def _with_prefix(name: str, is_bert: bool) -> str:
    """Today's full name of a parameter: headless models leave the prefix out, old ones call norms gamma and beta."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
    known = ("bert.", "cls.") if is_bert else ("transformer.", "lm_head.")
    return name if name.startswith(known) else known[0] + name


def _activation(name: str) -> Activation:
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not among {', '.join(_ACTIVATIONS)}")
    return cast(Activation, _ACTIVATIONS[name])


def _refuse(values: Mapping[str, Any], refused: Mapping[str, Any]) -> None:
    for name, value in refused.items():
        if values.get(name) == value:
            raise ValueError(f"config.json says {name}={value!r}, a variant that cannot be computed here")

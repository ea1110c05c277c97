"""A model of ours in the form that one of Hugging Face's families stores: the same function, other parameters.

Hugging Face's classes have fewer options than ours. Where a parameter of theirs can stand for an option of ours, it is
computed here: fixed positions become rows of a table, missing biases become zeros, and a missing token type becomes a
row of zeros.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from plm_core.compression.quantize import plain_weights
from plm_core.compression.saved import describe
from plm_core.interop.families import AnyConfig, family_of
from plm_core.interop.weight_files import State
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier
from plm_core.models.config import TransformerConfig, make_position
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.positions import PositionScheme, Sinusoidal
from plm_core.weights import stripped_state_dict

Model = Bert | BertClassifier | Gpt
C = TypeVar("C", bound=TransformerConfig)


@dataclass(frozen=True)
class Canonical:
    """The form in which a model is stored."""

    config: AnyConfig
    """A shape that a family of Hugging Face has parameters for."""
    state: State
    """Its parameters under our names, without aliases of ties."""
    notes: tuple[str, ...]
    """Sentences for the user about what the family cannot express."""


def canonical(model: Model) -> Canonical:
    """The form of a model that one of Hugging Face's families stores.

    Raises:
        ValueError: a shape that no family computes, a position scheme that the configuration does not name, or a
            compressed model with layers that no family has.
    """
    if not isinstance(model, Model):
        raise ValueError(
            f"a {type(model).__name__} has no place in Hugging Face's layout: use a Bert, a classifier or a Gpt"
        )
    config = model.config
    family = family_of(config)
    _check_position(model)
    model = copy.deepcopy(model).cpu().float()
    plain_weights(model)
    if changed := describe(model):
        name, entry = next(iter(changed.items()))
        raise ValueError(
            f"a compressed model has {len(changed)} layers that {family.title} has not, for example {name} "
            f"({entry.get('kind')}): export it as ONNX, or export the model that it was made from"
        )
    state = {name: tensor.detach().clone() for name, tensor in stripped_state_dict(model).items()}
    untrained = tuple(f"{head}." for head in getattr(model, "untrained_heads", ()))
    if untrained:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(untrained)}
    notes: list[str] = []
    prefix = "encoder.embeddings." if family.is_encoder else "embeddings."
    if config.position in ("none", "sinusoidal") and family.model_type in ("bert", "gpt2"):
        config, state = _with_table(config, state, prefix)
    if isinstance(config, BertConfig):
        if family.model_type == "bert" and not config.type_vocab_size:
            state[f"{prefix}token_type_embeddings.weight"] = torch.zeros(1, config.hidden_size)
            config = config.replace(type_vocab_size=1)
        elif family.model_type == "esm":
            config, state = _without_types(config, state, prefix, notes)
    if not config.use_bias and family.model_type != "llama":
        config, state = _with_biases(config, state)
    return Canonical(config, state, tuple(notes))


def _check_position(model: Model) -> None:
    """Refuse a model that was built with a position scheme of its own."""
    named = make_position(model.config, bidirectional=not isinstance(model, Gpt))
    for scheme in (module for module in model.modules() if isinstance(module, PositionScheme)):
        same = type(scheme) is type(named) and all(
            getattr(scheme, option, None) == getattr(named, option, None)
            for option in ("base", "pairing", "head_size", "hidden_size")
        )
        if not same:
            raise ValueError(
                f"the model was built with positions of another kind ({type(scheme).__name__}) than its configuration "
                f"names ({model.config.position!r}): such a model cannot be exported"
            )


def _with_table(config: AnyConfig, state: State, prefix: str) -> tuple[AnyConfig, State]:
    """Fixed positions as a table; under sinusoids word vectors are scaled, so the output layer needs its own copy."""
    assert config.max_position_embeddings is not None  # the family requires it
    table = torch.zeros(1, config.max_position_embeddings, config.hidden_size)
    words = f"{prefix}word_embeddings.weight"
    if config.position == "sinusoidal":
        table = Sinusoidal(config.hidden_size).embed(table)
        config, state = _untied(config, state, words)
        state[words] = state[words] * config.hidden_size**0.5
    return config.replace(position="learned"), {**state, f"{prefix}position.table.weight": table[0]}


def _without_types(config: BertConfig, state: State, prefix: str, notes: list[str]) -> tuple[BertConfig, State]:
    """ESM has no token types: the vector of type 0, which every token of a single text gets, joins the word vectors."""
    if "nsp_head.weight" in state:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(("nsp_head.", "pooler."))}
        notes.append("ESM has no next-sentence head and no pooler for it: these are left out")
    if not config.type_vocab_size:
        return config, state
    words, types = f"{prefix}word_embeddings.weight", f"{prefix}token_type_embeddings.weight"
    untied, state = _untied(config, state, words)
    state[words] = state[words] + state.pop(types)[0]
    if config.type_vocab_size > 1:
        notes.append("ESM has no token types: single texts are computed as here, the second text of a pair is not")
    return untied.replace(type_vocab_size=0), state


def _untied(config: C, state: State, words: str) -> tuple[C, State]:
    """A model whose output layer is a copy of the word embeddings."""
    if not config.tie_word_embeddings:
        return config, dict(state)
    output = "mlm_head.decoder.weight" if isinstance(config, BertConfig) else "lm_head.weight"
    has_output = not isinstance(config, BertConfig) or "mlm_head.decoder.bias" in state
    copied = {output: state[words].clone()} if has_output else {}
    return config.replace(tie_word_embeddings=False), {**state, **copied}


def _with_biases(config: AnyConfig, state: State) -> tuple[AnyConfig, State]:
    """The same function with biases of zero in the linear layers of the blocks."""
    full = config.replace(use_bias=True)
    with torch.device("meta"):
        fresh: nn.Module = Gpt(full) if isinstance(full, GptConfig) else Bert(full)
    zeros = {
        name: torch.zeros(tensor.shape)
        for name, tensor in stripped_state_dict(fresh).items()
        if name not in state and ".layers." in name
    }
    return full, {**state, **zeros}

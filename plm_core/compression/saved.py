"""A compressed model on disk: its weights, and the structure that differs from its configuration.

The shape is read off the modules, so a file needs no log of what was done to a model: :func:`describe` gives for each
changed module what it is now, :func:`rebuild` gives a fresh model the same modules, and the weights then fit. Nothing
in these files is executed: one is JSON, the other safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import nn

from plm_core.compression.low_rank import LowRankLinear
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear
from plm_core.compression.quantized_tables import QuantizedEmbedding, TiedOutput
from plm_core.models.bert import Bert
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.models.replacement import replace_modules
from plm_core.weights import load_weights, save_weights

STRUCTURE_FILE = "structure.json"
WEIGHTS_FILE = "weights.safetensors"

Description = Mapping[str, Mapping[str, Any]]


@runtime_checkable
class Compressed(Protocol):
    """A module that replaces a larger one."""

    def description(self) -> dict[str, Any]:
        """The kind and the sizes of the module, as plain values from which :func:`rebuild` makes an empty one."""
        ...


def describe(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The modules of a model that are not as its configuration makes them, by name; empty if there are none."""
    with torch.device("meta"):
        fresh = dict(type(model)(model.config).named_modules())
    found: dict[str, dict[str, Any]] = {}
    for name, module in model.named_modules():
        if isinstance(module, Compressed):
            found[name] = module.description()
        elif isinstance(module, MultiHeadAttention):
            if module.num_heads != cast(MultiHeadAttention, fresh[name]).num_heads:
                found[name] = {"kind": "attention", "num_heads": module.num_heads}
        elif type(module) is nn.Linear and name in fresh:
            sizes = (module.in_features, module.out_features)
            if sizes != (fresh[name].in_features, fresh[name].out_features):
                bias = module.bias is not None
                found[name] = {"kind": "linear", "in_features": sizes[0], "out_features": sizes[1], "bias": bias}
    return found


def rebuild(model: nn.Module, description: Description) -> None:
    """Give a fresh model the modules of a description, empty, in place.

    Raises:
        ValueError: a description that does not fit the model or is damaged.
    """
    made: nn.Module | None
    outputs: dict[str, dict[str, Any]] = {}
    for name, entry in description.items():
        values = dict(entry)
        kind, made = values.pop("kind", None), None
        try:
            old = model.get_submodule(name)
            check_sizes(old, values)
            if kind == "untrained" and isinstance(model, Bert):
                model.untrained_heads = (*model.untrained_heads, name)
            elif kind == "attention" and isinstance(old, MultiHeadAttention):
                old.num_heads = int(values["num_heads"])
            elif kind == "linear":
                made = nn.Linear(**values)
            elif kind == "low_rank_linear":
                made = LowRankLinear(**values)
            elif kind == "quantized_linear":
                config = QuantizeConfig.from_dict(values.pop("config"))
                made = QuantizedLinear(**values, config=config)
            elif kind == "quantized_embedding":
                made = QuantizedEmbedding(**values)
            elif kind == "tied_output":
                outputs[name] = values
            else:
                raise ValueError(f"unknown kind {kind!r}")
            if made is not None:  # at once: what is described next may lie inside it
                replace_modules(model, {name: made})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{name} cannot be rebuilt from its description: {error}") from error
    for name, values in outputs.items():
        table_name = str(values.get("table"))
        table = dict(model.named_modules()).get(table_name)
        if not isinstance(table, QuantizedEmbedding):
            raise ValueError(f"{name} should read the table {table_name!r}, which the description does not have")
        replace_modules(model, {name: TiedOutput(table, table_name, bias=bool(values.get("bias")))})


SIZES = ("in_features", "out_features", "num_heads", "num_embeddings", "embedding_dim")
FLAGS = ("bias", "scaled_inputs")
CHOICES = {"scale_bits": (16, 32), "bits": (4, 8)}


def check_sizes(old: nn.Module, values: Mapping[str, Any]) -> None:
    """Refuse sizes that no compression results in, before memory is allocated.

    Raises:
        ValueError: a size that is no positive whole number, that the module in this place does not have, or that is
            larger than its own; a rank above both sizes, or groups longer than a vector; a flag that is neither true
            nor false; ``bits`` other than 4 and 8, or ``scale_bits`` other than 16 and 32.
    """
    for name in FLAGS:
        if not isinstance(values.get(name, False), bool):
            raise ValueError(f"{name} must be true or false, got {values[name]!r}")
    for name, allowed in CHOICES.items():
        if values.get(name, allowed[0]) not in allowed:
            raise ValueError(f"{name} must be {allowed[0]} or {allowed[1]}, got {values[name]!r}")
    for name, value in values.items():
        if name in (*FLAGS, *CHOICES, "config", "table"):
            continue
        if name not in (*SIZES, "rank", "group_size"):
            raise ValueError(f"unknown entry {name!r}")
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")
        here: tuple[int, ...] = ()
        if name == "rank" and isinstance(old, nn.Linear):
            here = old.in_features, old.out_features
        elif name == "group_size" and isinstance(old, nn.Embedding):
            here = (old.embedding_dim,)
        highest = min(here) if here else getattr(old, name, 0)
        if value > highest:
            raise ValueError(f"{name} is {value}, but a {type(old).__name__} with {highest} is to be made smaller")


def save_compressed(model: nn.Module, folder: Path) -> None:
    """Write the structure and the weights of a compressed model into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(model, folder / WEIGHTS_FILE)
    untrained = {name: {"kind": "untrained"} for name in getattr(model, "untrained_heads", ())}
    structure = {**describe(model), **untrained}
    (folder / STRUCTURE_FILE).write_text(json.dumps(structure, indent=1), encoding="utf-8")


def load_compressed(model: nn.Module, folder: Path) -> None:
    """Turn a fresh model of the same configuration into the compressed one of a folder, in place.

    Raises:
        FileNotFoundError: the folder holds no compressed model.
        ValueError: a damaged file, or one of another model.
    """
    path = folder / STRUCTURE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no compressed model: it has no {STRUCTURE_FILE}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(description, dict) or not all(isinstance(entry, dict) for entry in description.values()):
        raise ValueError(f"{path} is damaged: expected an object that describes modules by name")
    rebuild(model, description)
    load_weights(model, folder / WEIGHTS_FILE)

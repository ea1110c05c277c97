"""The part of a model that fine-tuning trains, on disk: a small file beside the large one of the pretrained weights.

With LoRA, adapters or prompts a task costs a few thousandths of the model's weights, and only these are stored. Such a
file makes sense on the weights that it was trained on and on no others, so it carries their fingerprint. A model into
which it was merged has other weights: it cannot be applied a second time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from plm_core.files import require_file
from plm_core.weights import check_fit, check_numbers, read_weights, shapes, tied_weights

HEAD = "classifier"
"""The last layer of every classifier here, which is new and therefore trained, whatever else is."""


def modules_to_train(model: nn.Module, names: Sequence[str] | None) -> tuple[str, ...]:
    """The modules that are trained whole: the named ones, or for None :data:`HEAD` if the model has one.

    Raises:
        ValueError: a name that the model does not have.
    """
    if names is None:
        names = [HEAD] if hasattr(model, HEAD) else []
    known = dict(model.named_modules())
    for name in names:
        if name not in known or not name:
            children = ", ".join(child for child, _ in model.named_children())
            raise ValueError(f"{type(model).__name__} has no module {name!r} to train: its parts are {children}")
    return tuple(names)


def freeze_all_but(model: nn.Module, modules: Sequence[str]) -> None:
    """Let only the named modules require gradients."""
    model.requires_grad_(False)
    for name in modules:
        model.get_submodule(name).requires_grad_(True)


def split_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters that require gradients and those that do not, by name, each once."""
    aliases = tied_weights(model)
    named = {name: p for name, p in model.named_parameters(remove_duplicate=False) if name not in aliases}
    trained = {name: p.detach() for name, p in named.items() if p.requires_grad}
    return trained, {name: p.detach() for name, p in named.items() if not p.requires_grad}


def fingerprint(state: dict[str, Tensor]) -> str:
    """The SHA-256 of tensors: names, shapes and values, the values in single precision."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def save_trained_part(model: nn.Module, path: str | Path, *, kind: str, config: dict[str, Any]) -> None:
    """Write the parameters that require gradients, and nothing else, to a safetensors file.

    Args:
        model: a model with frozen and trained parameters.
        path: the file.
        kind: what the small part is: ``"lora"``.
        config: plain values from which the same modules can be made again.

    Raises:
        ValueError: a model without a trained or without a frozen parameter.
    """
    trained, frozen = split_state(model)
    if not trained or not frozen:
        missing = "trained" if not trained else "frozen"
        raise ValueError(f"the model has no {missing} parameter: there is no small part to be stored by itself")
    metadata = {"format": "pt", "kind": kind, "config": json.dumps(config), "base": fingerprint(frozen)}
    save_file({name: tensor.cpu().contiguous() for name, tensor in trained.items()}, str(path), metadata=metadata)


def read_config(path: str | Path, kind: str) -> dict[str, Any]:
    """The values that :func:`save_trained_part` stored with a small part.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a damaged file, or one of another kind.
    """
    metadata = _metadata(path)
    if metadata.get("kind") != kind:
        found = metadata.get("kind", "weights of a whole model")
        raise ValueError(f"{path} holds {found!r}, expected {kind!r}")
    try:
        config = json.loads(metadata["config"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged: its metadata have no readable configuration") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} is damaged: expected a configuration with names, got {type(config).__name__}")
    return config


def load_trained_part(model: nn.Module, path: str | Path) -> None:
    """Copy a stored part into a model that has the same modules and the weights that the part was trained on.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a damaged file; tensors that do not fit; frozen weights that differ from those it was trained on.
    """
    stored, (trained, frozen) = read_weights(path), split_state(model)
    try:
        check_fit(model, shapes(trained), shapes(stored))
        check_numbers(trained, stored)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if _metadata(path).get("base") != fingerprint(frozen):
        raise ValueError(
            f"{path} was trained on other weights than this model has. Open the model that it was trained on; if the "
            "part was merged into this one, it is in effect already, and a second time would double it"
        )
    with torch.no_grad():
        for name, tensor in trained.items():
            tensor.copy_(stored[name])


def _metadata(path: str | Path) -> dict[str, str]:
    try:
        with safe_open(str(require_file(Path(path), "weights file")), framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error

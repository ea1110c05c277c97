"""Weights on disk: declared ties are stripped at save and tied again at load.

A tie is one parameter under two names. A file that stores it twice wastes space, and a program that loads the two
copies into two parameters has silently made another model, whose copies become different in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plm_core.files import require_file


class DeclaresTies(Protocol):
    """A model that declares which of its parameters are shared."""

    def tied_weights(self) -> dict[str, str]:
        """Each alias and the name of the parameter that it shares."""
        ...


def tied_weights(model: nn.Module) -> dict[str, str]:
    """The ties that a model declares: alias -> name of the parameter it shares; empty if it declares none."""
    return cast(DeclaresTies, model).tied_weights() if hasattr(model, "tied_weights") else {}


def tie_weights(model: nn.Module) -> None:
    """Make every alias the same parameter as its source again."""
    for alias, source in tied_weights(model).items():
        owner_name, _, attribute = alias.rpartition(".")
        setattr(model.get_submodule(owner_name), attribute, model.get_parameter(source))


def redeclare_ties(model: nn.Module) -> None:
    """Declare the ties that exist now, after modules of a model were replaced by others."""
    if hasattr(model, "_ties"):
        model._ties = shared_parameters(model)  # type: ignore[assignment]


def check_ties(model: nn.Module) -> None:
    """Raise ValueError if a declared tie is broken: the alias has become a parameter of its own."""
    for alias, source in tied_weights(model).items():
        if model.get_parameter(alias) is not model.get_parameter(source):
            raise ValueError(
                f"{alias} should be the same parameter as {source} but is a copy: call tie_weights(model), and build "
                "the optimiser after it"
            )


def shared_parameters(model: nn.Module) -> dict[str, str]:
    """The ties that exist now, found by identity: alias -> first name of the same parameter."""
    first: dict[int, str] = {}
    ties = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            ties[name] = first[id(parameter)]
        else:
            first[id(parameter)] = name
    return ties


def stripped_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model without the aliases of tied weights.

    Raises:
        ValueError: a declared tie is broken, so that leaving the alias out would lose it.
    """
    check_ties(model)
    aliases = tied_weights(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in aliases}


def load_stripped(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy a state without aliases into a model, whose ties are tied again first.

    Raises:
        ValueError: missing or unexpected names, tensors of another shape or kind of number, or numbers that are not
            finite; they are named.
    """
    tie_weights(model)
    aliases = tied_weights(model)
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in aliases}
    check_fit(model, shapes(own), shapes(state))
    check_numbers(own, state)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def check_fit(model: nn.Module, own: Mapping[str, torch.Size], stored: Mapping[str, torch.Size]) -> None:
    """Compare the shapes of a model's weights with stored ones.

    Raises:
        ValueError: missing or unexpected names, or other shapes; they are named.
    """
    missing, unexpected = sorted(own.keys() - stored.keys()), sorted(stored.keys() - own.keys())
    wrong = [
        f"{name} {tuple(stored[name])} instead of {tuple(own[name])}"
        for name in own.keys() & stored.keys()
        if own[name] != stored[name]
    ]
    problems = [
        f"{what}: {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        for what, names in (("missing", missing), ("unexpected", unexpected), ("shape", sorted(wrong)))
        if names
    ]
    if problems:
        raise ValueError(f"the weights do not fit {type(model).__name__}; " + "; ".join(problems))


def check_numbers(own: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    """Compare the kinds of numbers of weights and stored ones: a float may have another precision, nothing else.

    Raises:
        ValueError: integers in place of floats or of other integers, or a float that is infinite or not a number.
    """
    for name, tensor in stored.items():
        expected = own[name].dtype
        if tensor.dtype != expected and not (tensor.is_floating_point() and expected.is_floating_point):
            raise ValueError(f"the tensor {name} is stored as {tensor.dtype}, expected {expected}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.to(expected)).all()):
            raise ValueError(
                f"the tensor {name} holds numbers that are not finite: the file was damaged or its training diverged"
            )


def shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shape of every tensor in a state; of one that is split among processes, the shape of the whole."""
    return {name: tensor.shape for name, tensor in state.items()}


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write the weights of a model to a safetensors file, each parameter once."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in stripped_state_dict(model).items()}
    save_file(state, str(path), metadata={"format": "pt"})


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file by name, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a damaged file.
    """
    try:
        return load_file(str(require_file(Path(path), "weights file")))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Read the weights of a model from a file of :func:`save_weights`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a damaged file, or weights of another model.
    """
    state = read_weights(path)
    try:
        load_stripped(model, state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

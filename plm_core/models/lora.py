"""LoRA: fine-tuning by an update of low rank beside each frozen weight (Hu et al. 2022).

A weight W of shape (M, K) stays as it was pretrained. Beside it, two thin matrices are trained, A (r, K) and B (M, r):

    y = W·x + (alpha / r)·B·A·x

B starts at zero, so that the model starts as the pretrained one. After training the update can be added to W once; the
merged layer is an ordinary linear layer and as fast.

Shapes are written into names: K inputs, M outputs, r rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.config import Config
from plm_core.models.dropout import Dropout
from plm_core.models.replacement import replace_modules
from plm_core.models.trained_part import (
    freeze_all_but,
    load_trained_part,
    modules_to_train,
    read_config,
    save_trained_part,
)
from plm_core.weights import shared_parameters

KIND = "lora"


@dataclass(frozen=True)
class LoraConfig(Config):
    """Which layers get an update, and of what rank."""

    rank: int = 8
    """Rank r of the update."""
    alpha: float = 16.0
    """The update is multiplied by alpha / r, so that one learning rate serves several ranks."""
    dropout: float = 0.0
    """Probability of dropping an input of the update, in training."""
    targets: tuple[str, ...] = ("query", "value")
    """Linear layers that get an update, by the last part of their name; these two in the paper."""
    modules_to_save: tuple[str, ...] | None = None
    """Modules that are trained whole and stored with the update; None for the classifier, if the model has one."""

    def validate(self) -> None:
        """Refuse a rank or scale that is not positive, and an empty list of layers."""
        self.require_positive("rank", "alpha")
        self.require_probability("dropout")
        if not self.targets:
            raise ValueError("LoraConfig.targets is empty: name the linear layers to update, such as query and value")


class LoraLinear(nn.Module):
    """A frozen linear layer and a trained update of low rank.

    The initial weights of A are N(0, 1/K), drawn from torch's global generator, those of B are zero.

    Args:
        base: the layer.
        config: rank, scale and dropout of the update.

    Raises:
        ValueError: a rank above what the layer can have.
    """

    def __init__(self, base: nn.Linear, config: LoraConfig) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        if config.rank > min(self.in_features, self.out_features):
            raise ValueError(
                f"rank {config.rank} is above what a layer {self.out_features}x{self.in_features} has: at most "
                f"{min(self.in_features, self.out_features)}"
            )
        self.scale = config.alpha / config.rank
        self.base = base
        self.dropout = Dropout(config.dropout)
        self.A = nn.Parameter(base.weight.new_empty(config.rank, self.in_features))
        self.B = nn.Parameter(base.weight.new_zeros(self.out_features, config.rank))
        nn.init.normal_(self.A, std=1 / math.sqrt(self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., M)."""
        return self.base(x) + self.scale * F.linear(F.linear(self.dropout(x), self.A), self.B)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One linear layer with the weight W + (alpha / r)·B·A, computed in double precision."""
        made = nn.Linear(self.in_features, self.out_features, bias=self.base.bias is not None)
        weight = self.base.weight.double() + self.scale * (self.B.double() @ self.A.double())
        made.weight = nn.Parameter(weight.to(self.base.weight.dtype), requires_grad=self.base.weight.requires_grad)
        if self.base.bias is not None:
            made.bias = self.base.bias
        return made

    def extra_repr(self) -> str:
        """What ``print(model)`` shows of the module besides its parts."""
        return f"rank={len(self.A)}, scale={self.scale:g}"


def lora_layers(model: nn.Module) -> dict[str, LoraLinear]:
    """The layers with an update, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def add_lora(model: nn.Module, config: LoraConfig) -> None:
    """Give linear layers of a model an update of low rank, and freeze all the rest but ``modules_to_save``, in place.

    Call it before the optimiser is made.

    Raises:
        ValueError: a model that has updates already, a target that names no linear layer, a layer whose weight is
            shared, a rank that is too high, or an unknown module to save. The model is then as it was.
    """
    if lora_layers(model):
        raise ValueError("the model has LoRA layers already: merge them (merge_lora), or train those that are there")
    ties = shared_parameters(model)
    tied = {*ties, *ties.values()}
    kept = modules_to_train(model, config.modules_to_save)
    linears = {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.Linear and f"{name}.weight" not in tied
        if not any(name == module or name.startswith(f"{module}.") for module in kept)
    }
    chosen = {name: layer for name, layer in linears.items() if name.rpartition(".")[2] in config.targets}
    found = {name.rpartition(".")[2] for name in chosen}
    if missing := [target for target in config.targets if target not in found]:
        names = ", ".join(sorted({name.rpartition(".")[2] for name in linears})) or "none"
        raise ValueError(
            f"{type(model).__name__} has no linear layer {missing[0]!r} for LoRA: its linear layers are called {names}"
        )
    made = {name: LoraLinear(layer, config) for name, layer in chosen.items()}
    freeze_all_but(model, kept)
    replace_modules(model, made)


def merge_lora(model: nn.Module) -> int:
    """Add each update to its weight, once: the layers become ordinary linear layers again, in place.

    Merging a model that has no updates left changes nothing, and a stored update is refused by weights that hold it
    already (:func:`load_lora`), so that no update can take effect twice.

    Returns:
        The number of merged layers.
    """
    layers = lora_layers(model)
    replace_modules(model, {name: layer.merged() for name, layer in layers.items()})
    return len(layers)


def save_lora(model: nn.Module, path: str | Path, config: LoraConfig) -> None:
    """Write the updates and the modules to save, and nothing else, to a safetensors file.

    Raises:
        ValueError: a model without updates, or with updates of another rank or scale than the configuration's.
    """
    layers = lora_layers(model)
    if not layers:
        raise ValueError("the model has no LoRA layers: it was merged, or none were added (add_lora)")
    if any((len(layer.A), layer.scale) != (config.rank, config.alpha / config.rank) for layer in layers.values()):
        raise ValueError(f"the model's LoRA layers are not those of {config}")
    save_trained_part(model, path, kind=KIND, config=config.to_dict())


def load_lora(model: nn.Module, path: str | Path) -> LoraConfig:
    """Add stored updates to the model that they were trained on, in place.

    Args:
        model: without updates, and with the weights that the updates were trained on.
        path: a file of :func:`save_lora`.

    Returns:
        The configuration of the updates.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as :func:`add_lora`; a damaged file; other weights, among them those that hold the update already.
            The model's weights are then as they were.
    """
    config = LoraConfig.from_dict(read_config(path, KIND))
    add_lora(model, config)
    try:
        load_trained_part(model, path)
    except ValueError:
        replace_modules(model, {name: layer.base for name, layer in lora_layers(model).items()})
        raise
    return config

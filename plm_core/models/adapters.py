"""Adapters: small networks inside a frozen model, one after each branch of its blocks (Houlsby et al. 2019).

An adapter is a bottleneck with a residual connection of its own: h + up(activation(down(h))). It stands after the last
linear layer of a branch, before the branch is added to the stream. ``down`` is drawn as in the paper; ``up``, which the
paper draws in the same way, starts at zero, so that the model starts as the pretrained one, not only near it. (The
paper finds scores robust for standard deviations below 0.01, section 3.6; zero is their limit.) Unlike an update of
LoRA, an adapter is not linear and cannot be merged: it costs time at every use.

Shapes are written into names: D model width, R width of the bottleneck.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from plm_core.config import Config
from plm_core.models.blocks import Activation, Block, activate
from plm_core.models.trained_part import (
    freeze_all_but,
    load_trained_part,
    modules_to_train,
    read_config,
    save_trained_part,
)
from plm_core.weights import redeclare_ties

KIND = "adapters"
INITIAL_STD = 0.01
"""Standard deviation of the initial weights of ``down``, cut off at two of them (Houlsby et al. 2019, section 3.6)."""


@dataclass(frozen=True)
class AdapterConfig(Config):
    """Where adapters stand, and how wide they are."""

    bottleneck: int = 16
    """Width R of the hidden layer."""
    activation: Activation = "gelu"
    """Its nonlinearity; not a gated one."""
    branches: tuple[Literal["attention", "feed_forward"], ...] = ("attention", "feed_forward")
    """The branches of a block that get an adapter; both in the paper."""
    train_norms: bool = True
    """Whether the norms of the blocks are trained too, as in the paper."""
    modules_to_save: tuple[str, ...] | None = None
    """Modules that are trained whole and stored with the adapters; None for the classifier, if the model has one."""

    def validate(self) -> None:
        """Refuse an empty bottleneck, a gated activation, and a model without any adapter."""
        self.require_positive("bottleneck")
        if self.activation in ("swiglu", "geglu"):
            raise ValueError(f"AdapterConfig.activation {self.activation!r} is gated: use 'gelu', 'gelu_new' or 'relu'")
        if not self.branches:
            raise ValueError("AdapterConfig.branches is empty: name attention, feed_forward or both")


class Adapter(nn.Module):
    """h + up(activation(down(h))): D -> R -> D.

    Args:
        hidden_size: model width D.
        bottleneck: width R.
        activation: the nonlinearity between the two.
    """

    def __init__(self, hidden_size: int, bottleneck: int, *, activation: Activation = "gelu") -> None:
        super().__init__()
        self.activation = activation
        self.down = nn.Linear(hidden_size, bottleneck)
        self.up = nn.Linear(bottleneck, hidden_size)
        nn.init.trunc_normal_(self.down.weight, std=INITIAL_STD, a=-2 * INITIAL_STD, b=2 * INITIAL_STD)
        for start_at_zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start_at_zero)

    def forward(self, h: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return h + self.up(activate(self.down(h), self.activation))


class AdaptedLinear(nn.Module):
    """The last linear layer of a branch and the adapter after it.

    Args:
        base: the layer.
        adapter: the adapter.
    """

    def __init__(self, base: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.base, self.adapter = base, adapter

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., D)."""
        return self.adapter(self.base(x))


def adapters(model: nn.Module) -> dict[str, Adapter]:
    """The adapters of a model, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Adapter)}


def add_adapters(model: nn.Module, config: AdapterConfig) -> None:
    """Put adapters into every block of a model, and freeze all the rest but norms and ``modules_to_save``, in place.

    Call it before the optimiser is made. The initial weights are drawn from torch's global generator.

    Raises:
        ValueError: a model without blocks, one that has adapters already, or an unknown module to save. The model is
            then as it was.
    """
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    if not blocks:
        raise ValueError(f"adapters stand in Transformer blocks, and {type(model).__name__} has none")
    if adapters(model):
        raise ValueError("the model has adapters already: train those, or open the pretrained model again")
    freeze_all_but(model, modules_to_train(model, config.modules_to_save))
    for block in blocks:
        if "attention" in config.branches:
            block.attention.output = _adapted(block.attention.output, config)  # type: ignore[assignment]
        if "feed_forward" in config.branches:
            block.feed_forward.down = _adapted(block.feed_forward.down, config)  # type: ignore[assignment]
        if config.train_norms:
            block.attention_norm.requires_grad_(True)
            block.feed_forward_norm.requires_grad_(True)
    redeclare_ties(model)


def remove_adapters(model: nn.Module) -> None:
    """Take the adapters out again, in place. Norms and ``modules_to_save`` keep what they have learned."""
    for block in [module for module in model.modules() if isinstance(module, Block)]:
        for branch, name in ((block.attention, "output"), (block.feed_forward, "down")):
            layer = getattr(branch, name)
            if isinstance(layer, AdaptedLinear):
                setattr(branch, name, layer.base)
    redeclare_ties(model)


def save_adapters(model: nn.Module, path: str | Path, config: AdapterConfig) -> None:
    """Write the adapters, and what was trained with them, to a safetensors file; nothing else.

    Raises:
        ValueError: a model without adapters, or with adapters of another width than the configuration's.
    """
    found = adapters(model)
    if not found:
        raise ValueError("the model has no adapters: add them first (add_adapters)")
    if any(adapter.down.out_features != config.bottleneck for adapter in found.values()):
        raise ValueError(f"the model's adapters are not those of {config}")
    save_trained_part(model, path, kind=KIND, config=config.to_dict())


def load_adapters(model: nn.Module, path: str | Path) -> AdapterConfig:
    """Put stored adapters into the model that they were trained in, in place.

    Args:
        model: without adapters, and with the weights that the adapters were trained with.
        path: a file of :func:`save_adapters`.

    Returns:
        The configuration of the adapters.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as :func:`add_adapters`; a damaged file, or other weights. The model's weights are then as they
            were.
    """
    config = AdapterConfig.from_dict(read_config(path, KIND))
    add_adapters(model, config)
    try:
        load_trained_part(model, path)
    except ValueError:
        remove_adapters(model)
        raise
    return config


def _adapted(layer: nn.Linear, config: AdapterConfig) -> AdaptedLinear:
    adapter = Adapter(layer.out_features, config.bottleneck, activation=config.activation)
    made = AdaptedLinear(layer, adapter.to(layer.weight.device, layer.weight.dtype))
    return made.train(layer.training)

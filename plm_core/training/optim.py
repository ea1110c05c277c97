"""Optimisers, and their parameter groups: which parameters decay, and the learning rate of each layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.training.blocks import only_block_list
from plm_core.training.config import TrainConfig

Groups = list[dict[str, Any]]


def trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that require a gradient, each once even if it is tied."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def decay_groups(model: nn.Module, weight_decay: float, *, layer_decay: float = 1.0) -> Groups:
    """Split the trainable parameters into those that decay (two or more dimensions) and those that do not.

    Decay pulls a matrix towards zero, which limits the function it computes; pulling the gain of a norm or a bias
    towards zero limits nothing useful. A tied parameter appears once. Embeddings are matrices and decay.

    Args:
        model: its trainable parameters are grouped.
        weight_decay: the decay of the first kind.
        layer_decay: below 1, each layer learns slower than the one above it by this factor: its groups carry
            ``lr_scale``, the factor to the power of the number of layers above (Clark et al. 2020, section 3.1).

    Raises:
        ValueError: no trainable parameter, or layer-wise decay of a model without one stack of layers.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not named:
        raise ValueError("the model has no trainable parameter: every parameter has requires_grad=False")
    depths = {name: 0 for name, _ in named} if layer_decay == 1.0 else layer_depths(model)
    groups: Groups = []
    for depth in sorted({depths[name] for name, _ in named}, reverse=True):
        scale = {} if layer_decay == 1.0 else {"lr_scale": layer_decay ** (max(depths.values()) - depth)}
        here = [parameter for name, parameter in named if depths[name] == depth]
        matrices, others = [p for p in here if p.dim() >= 2], [p for p in here if p.dim() < 2]
        groups.append({"params": matrices, "weight_decay": weight_decay, **scale})
        groups.append({"params": others, "weight_decay": 0.0, **scale})
    return [group for group in groups if group["params"]]


def layer_depths(model: nn.Module) -> dict[str, int]:
    """The depth of each parameter: 0 below the stack of layers, 1 for its first layer, ..., one more above the last.

    The stack is the model's only outermost ``nn.ModuleList``; what is registered before it lies at the bottom
    (embeddings), what is registered after it at the top (heads).

    Raises:
        ValueError: there is no such list, or more than one.
    """
    prefix, blocks = only_block_list(model, "layer-wise decay (layer_decay below 1)")
    depths, depth = {}, 0
    for name, _ in model.named_parameters():
        if name.startswith(prefix + "."):
            depth = int(name.removeprefix(prefix + ".").split(".")[0]) + 1
        elif depth:
            depth = len(blocks) + 1
        depths[name] = depth
    return depths


def adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over :func:`decay_groups`, as torch's fused kernel.

    Raises:
        ValueError: a model without trainable parameters.
    """
    return torch.optim.AdamW(decay_groups(model, weight_decay), lr=learning_rate, betas=betas, eps=eps, fused=True)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser that a configuration names, over :func:`decay_groups`, in torch's fused kernels where it has them.

    ``"adamw"`` decays the weights beside the gradient, ``"adam"`` and ``"sgd"`` add the decay to the gradient, as an L2
    penalty would. ``"muon"`` is :class:`MuonAdamW`.

    Raises:
        ValueError: no trainable parameter; Muon or layer-wise decay on a model without one stack of layers; Muon on a
            torch that lacks it.
    """
    groups = decay_groups(model, config.weight_decay, layer_decay=config.layer_decay)
    rate, betas = config.learning_rate, (config.beta1, config.beta2)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, betas=betas, fused=True)
    if config.optimizer == "sgd":
        momentum = 0.9 if config.momentum is None else config.momentum
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, fused=True)
    momentum = 0.95 if config.momentum is None else config.momentum
    return MuonAdamW(groups, hidden_matrices(model), learning_rate=rate, momentum=momentum, betas=betas)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group of parameters, times the group's ``lr_scale`` (:func:`decay_groups`)."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def skips_on_device(optimizer: torch.optim.Optimizer, device: torch.device) -> bool:
    """Whether :func:`step_unless` works: on a GPU, for optimisers whose fused kernel reads a flag on the device."""
    return device.type != "cpu" and hasattr(optimizer, "_step_supports_amp_scaling")


def step_unless(optimizer: torch.optim.Optimizer, skip: Tensor) -> None:
    """Make a step on a GPU, unless a flag there is 1; the host does not wait for the flag.

    Args:
        optimizer: one for which :func:`skips_on_device` is true.
        skip: 0.0 or 1.0, a scalar on the device. Torch's fused kernels read it from the attribute ``found_inf``, which
            torch's own ``GradScaler`` sets in the same way.
    """
    optimizer.found_inf = skip  # type: ignore[attr-defined]
    optimizer.step()


def hidden_matrices(model: nn.Module) -> set[nn.Parameter]:
    """The weights of the linear layers inside the model's stack, which Muon optimises.

    Raises:
        ValueError: the model has no stack of layers, or several.
    """
    _, blocks = only_block_list(model, "the optimiser Muon")
    linear = [module for module in blocks.modules() if isinstance(module, nn.Linear)]
    return {p for module in linear for name, p in module.named_parameters(recurse=False) if name == "weight"}


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for the matrices of the hidden layers, AdamW for everything else.

    Muon's update is scaled to the size of AdamW's (Liu et al. 2025), so that one learning rate and one weight decay
    serve both.

    Args:
        groups: parameter groups as :func:`decay_groups` makes them.
        matrices: the parameters among them that Muon takes.
        learning_rate: of both.
        momentum: Muon's.
        betas: AdamW's.

    Raises:
        ValueError: a torch without Muon.
    """

    def __init__(
        self,
        groups: Groups,
        matrices: set[nn.Parameter],
        *,
        learning_rate: float,
        momentum: float,
        betas: tuple[float, float],
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(f"the optimiser 'muon' needs torch 2.9 or newer, this is {torch.__version__}: use 'adamw'")
        from plm_core.training.muon import Muon

        muon, rest = (split(groups, kept) for kept in (lambda p: p in matrices, lambda p: p not in matrices))
        self.parts: dict[str, torch.optim.Optimizer] = {
            "muon": Muon(muon, lr=learning_rate, momentum=momentum),
            "adamw": torch.optim.AdamW(rest, lr=learning_rate, betas=betas, fused=True),
        }
        super().__init__([group for part in self.parts.values() for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make a step of both optimisers."""
        assert closure is None
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both optimisers, by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]


def split(groups: Groups, keeps: Callable[[nn.Parameter], bool]) -> Groups:
    """The groups with those parameters only for which ``keeps`` is true; groups that become empty are left out."""
    smaller = [{**group, "params": [p for p in group["params"] if keeps(p)]} for group in groups]
    return [group for group in smaller if group["params"]]

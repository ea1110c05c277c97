"""Fine-tuning of a part of the weights: frozen layers, biases alone, and layers that are unfrozen one after the other.

A parameter that does not require a gradient is frozen: the optimiser never sees it, and no gradient is computed for it.
Freeze before the trainer is made. Slower rates for lower layers are ``TrainConfig.layer_decay``
(:func:`~plm_core.training.optim.decay_groups`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from plm_core.training.optim import layer_depths
from plm_core.training.trainer import Trainer


def freeze(model: nn.Module, names: Iterable[str]) -> None:
    """Freeze parts of a model.

    Args:
        model: any model.
        names: of modules or parameters, such as ``"encoder.embeddings"``.

    Raises:
        ValueError: a name that the model does not have; nothing was changed then.
    """
    _require_gradients(model, names, False)


def unfreeze(model: nn.Module, names: Iterable[str]) -> None:
    """Let parts of a model be trained again; arguments and errors as for :func:`freeze`."""
    _require_gradients(model, names, True)


def freeze_below(model: nn.Module, depth: int) -> None:
    """Freeze everything below a depth, and let all above be trained.

    Args:
        model: a model with one stack of L layers.
        depth: 0 trains everything, 1 freezes the embeddings, n + 1 the embeddings and n layers, L + 1 all but what
            stands above the stack, the head.

    Raises:
        ValueError: a model without one stack of layers, or a depth that it does not have.
    """
    depths = layer_depths(model)
    highest = max(depths.values())
    if not 0 <= depth <= highest:
        raise ValueError(f"depth {depth}: {type(model).__name__} has depths from 0 (embeddings) to {highest} (head)")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(depths[name] >= depth)


def train_biases_only(model: nn.Module, whole: Sequence[str] = ("classifier",)) -> None:
    """Freeze everything but the biases, those of norms included (BitFit, Ben Zaken et al. 2022).

    Args:
        model: any model.
        whole: modules that are trained whole: the new head.

    Raises:
        ValueError: a model without biases, or without one of the modules.
    """
    biases = [name for name, _ in model.named_parameters() if name.rpartition(".")[2] == "bias"]
    if not biases:
        raise ValueError(f"{type(model).__name__} has no bias to train")
    _known(model, whole)
    model.requires_grad_(False)
    unfreeze(model, [*biases, *whole])


@dataclass(frozen=True)
class ParameterCount:
    """How many numbers of a model are trained."""

    trained: int
    """Those in parameters that require gradients."""
    total: int
    """All, tied ones once."""

    @property
    def share(self) -> float:
        """Trained parameters, as a fraction of all."""
        return self.trained / self.total


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count the parameters of a model, those that are trained and all."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return ParameterCount(sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes))


class UnfreezingTrainer(Trainer):
    """A trainer that trains the head first and unfreezes one layer after the other, from the top (Howard and Ruder
    2018, section 3.3). Which layers are trained follows from the step, so that a resumed run goes on as it would have.

    Args:
        arguments, named: as for :class:`~plm_core.training.trainer.Trainer`.
        steps_per_layer: steps until the next layer is unfrozen; the embeddings come last.

    Raises:
        ValueError: as for the trainer; a model without one stack of layers, less than one step, or several processes.
    """

    def __init__(self, *arguments: Any, steps_per_layer: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if steps_per_layer < 1:
            raise ValueError(f"steps_per_layer must be at least 1, got {steps_per_layer}")
        if self.processes.size > 1:
            raise ValueError("gradual unfreezing runs in one process: the number of gradients changes under way")
        self.steps_per_layer = steps_per_layer
        self.highest = max(layer_depths(self.model).values())

    def step(self) -> bool:
        """Unfreeze what is due, and make one step of the trainer."""
        freeze_below(self.model, max(0, self.highest - self.progress.step // self.steps_per_layer))
        return super().step()


def _known(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module | nn.Parameter]:
    parts: dict[str, nn.Module | nn.Parameter] = {**dict(model.named_modules()), **dict(model.named_parameters())}
    chosen = {}
    for name in names:
        if not name or name not in parts:
            children = ", ".join(child for child, _ in model.named_children())
            raise ValueError(f"{type(model).__name__} has no part {name!r}: its parts are {children}")
        chosen[name] = parts[name]
    return chosen


def _require_gradients(model: nn.Module, names: Iterable[str], required: bool) -> None:
    for part in _known(model, names).values():
        part.requires_grad_(required)

"""AdamW with decay groups: matrices decay, gains and biases do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters into those that decay (two or more dimensions) and those that do not.

    Decay pulls a matrix towards zero, which limits the function it computes; pulling the gain of a norm or a bias
    towards zero limits nothing useful. A tied parameter appears once. Embeddings are matrices and decay.
    """
    matrices = [parameter for parameter in trainable(model) if parameter.dim() >= 2]
    others = [parameter for parameter in trainable(model) if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that require a gradient, each once however often it is tied."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


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
    groups = decay_groups(model, weight_decay)
    if not groups:
        raise ValueError("the model has no trainable parameter: every parameter has requires_grad=False")
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=eps, fused=True)

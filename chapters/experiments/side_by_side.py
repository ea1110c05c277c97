"""Models of one architecture trained side by side, each at its own learning rate: a sweep in one pass.

A small model keeps a processor busy with overhead, not with arithmetic. Several of them, stacked along one more
dimension by ``torch.func.vmap``, take little longer than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class SideBySide:
    """M models that read the same batches and are updated by AdamW, each at its own rate.

    Args:
        models: M models of one architecture, whose parameters are copied. Tied parameters count once.
        rates: M learning rates.
        clip: the largest gradient norm of a model, or None.
        betas, eps, weight_decay: as in :class:`torch.optim.AdamW`.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        rates: Sequence[float],
        *,
        clip: float | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        self.models = list(models)
        self.shapes = {name: parameter.shape for name, parameter in models[0].named_parameters()}
        self.weights_MP = torch.stack([parameters_to_vector(model.parameters()).detach() for model in models])
        self.weights_MP.requires_grad_()
        self.rates_M1 = torch.tensor(rates, device=self.weights_MP.device)[:, None]
        self.clip, self.betas, self.eps, self.weight_decay = clip, betas, eps, weight_decay
        self.mean_MP, self.square_MP = torch.zeros_like(self.weights_MP), torch.zeros_like(self.weights_MP)
        self.steps = 0

    def __call__(self, *inputs: Any) -> Tensor:
        """What the models return on the same inputs, stacked: (M, ...)."""
        sizes = [shape.numel() for shape in self.shapes.values()]

        def one(weights_P: Tensor) -> Any:
            parts = zip(self.shapes.items(), weights_P.split(sizes), strict=True)
            return functional_call(self.models[0], {name: part.view(shape) for (name, shape), part in parts}, inputs)

        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no rule for several models at once
            return vmap(one)(self.weights_MP)

    def step(self, loss_M: Tensor, scale: float = 1.0) -> None:
        """One step of AdamW for each model on its own loss, (M,), at ``scale`` times its rate."""
        [gradient_MP] = torch.autograd.grad(loss_M.sum(), self.weights_MP)
        self.steps += 1
        with torch.no_grad():
            if self.clip is not None:
                gradient_MP *= (self.clip / (gradient_MP.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1)
            self.mean_MP.lerp_(gradient_MP, 1 - self.betas[0])
            self.square_MP.lerp_(gradient_MP.square(), 1 - self.betas[1])
            mean_MP = self.mean_MP / (1 - self.betas[0] ** self.steps)
            root_MP = (self.square_MP / (1 - self.betas[1] ** self.steps)).sqrt()
            rates_M1 = scale * self.rates_M1
            self.weights_MP.mul_(1 - self.weight_decay * rates_M1)
            self.weights_MP.sub_(rates_M1 * mean_MP / (root_MP + self.eps))

    def trained(self) -> list[nn.Module]:
        """The models with their trained weights."""
        for model, weights_P in zip(self.models, self.weights_MP.detach(), strict=True):
            vector_to_parameters(weights_P, model.parameters())
        return self.models

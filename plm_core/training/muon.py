"""Muon in the arithmetic that a CPU is fast in."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic polynomial that moves singular values towards 1 (Jordan et al. 2024)."""
ITERATIONS = 5


class Muon(torch.optim.Muon):
    """Torch's Muon with Nesterov momentum and updates of AdamW's size, orthogonalised in float32 on a CPU.

    Torch computes the Newton-Schulz iteration in bfloat16. A processor without bf16 units emulates that, and at width
    128 four fifths of a training step went into it; float32 is faster there and as good. On other devices, and in what
    it stores, this is torch's own optimiser.

    Args:
        groups: parameter groups of matrices.
        lr: learning rate.
        momentum: of the running mean of the gradients.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make a step."""
        assert closure is None
        if any(p.device.type != "cpu" for group in self.param_groups for p in group["params"]):
            super().step()
            return
        for group in self.param_groups:
            rate, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
                direction = orthogonalise(matrix.grad.lerp(mean, momentum))
                matrix.mul_(1 - rate * decay)
                matrix.add_(direction, alpha=-rate * 0.2 * math.sqrt(max(matrix.shape)))


def orthogonalise(matrix: Tensor) -> Tensor:
    """Move the singular values of a matrix close to 1 and keep its singular vectors, in the arithmetic it comes in.

    Five Newton-Schulz iterations with the coefficients of Jordan et al. (2024): the values end between about 0.68
    and 1.21, unless they were below 0.0015 of the Frobenius norm.

    Args:
        matrix: (m, n), not changed.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide

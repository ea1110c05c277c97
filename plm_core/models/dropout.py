"""Dropout whose random numbers are cheap to draw on a CPU (Srivastava et al. 2014).

torch draws a floating-point number for every element, which on a CPU takes an eighth of the time of a training step of
a small Transformer. Here 16 random bits decide whether an element is kept, so that one draw of 64 bits serves four
elements.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16
"""The probability is rounded to a multiple of 1/LEVELS. The scale is that of the rounded probability, so the mean of
the output is exact."""


def dropout(x: Tensor, probability: float, *, training: bool = True) -> Tensor:
    """Set each element to zero with a given probability, and scale the rest so that the mean is unchanged.

    Args:
        x: any shape.
        probability: in [0, 1]. On a CPU it is rounded to a multiple of 2^-16.
        training: False returns x itself.

    Raises:
        ValueError: a probability outside [0, 1].
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"a dropout probability lies in [0, 1], got {probability}")
    if not training or probability == 0:
        return x
    dropped_levels = round(probability * LEVELS)
    if x.device.type != "cpu" or torch.compiler.is_compiling() or dropped_levels in (0, LEVELS):
        return F.dropout(x, probability)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    levels = words.view(torch.int16)[: x.numel()].view(x.shape)  # uniform on -2^15 to 2^15 - 1
    noise = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(levels, dropped_levels - LEVELS // 2, out=noise)
    return x * noise.mul_(LEVELS / (LEVELS - dropped_levels))


class Dropout(nn.Module):
    """:func:`dropout` as a module: on in training, off in evaluation."""

    def __init__(self, probability: float = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout to a tensor of any shape; the result has the same shape."""
        return dropout(x, self.probability, training=self.training)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows of the module."""
        return f"probability={self.probability}"

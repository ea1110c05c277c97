"""Rounding that repairs itself: each column of a weight is rounded, and the columns to come make up for its error.

For inputs x with second moments S = E[x·xᵀ], rounding W to Q changes the squared output by tr((W - Q)·S·(W - Q)ᵀ). The
columns are rounded from left to right. Once some are fixed, the best values of the others are a least-squares solution;
with the Cholesky factor U of S⁻¹ (upper, S⁻¹ = Uᵀ·U) it needs no solving: an error e in column j, divided by U_jj, is
taken off the later columns in proportion to row j of U.

Source: Frantar et al. (2023), GPTQ, section 3 (fixed order, Cholesky form); the step without rounding is Hassibi and
Stork (1993), the optimal brain surgeon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from plm_core.compression.integers import IntegerFormat, Quantized, quantize, round_to, scale_for
from plm_core.compression.structure import block_linears

DAMPING = 0.01
"""Added to the diagonal of the moments, as a fraction of its mean, as the authors do."""
BLOCK = 128
"""Columns after which the later ones are brought up to date, as in the authors' lazy batches; whole groups."""


def inverse_factor(moments_KK: Tensor, *, damping: float = DAMPING) -> Tensor:
    """The upper triangular U with S⁻¹ = Uᵀ·U of the damped moments S, in double precision.

    Inputs that are always zero get a moment of 1: their weights do not matter, and rounding them disturbs nothing.

    Raises:
        ValueError: a matrix that is not square or not finite.
    """
    if moments_KK.dim() != 2 or moments_KK.shape[0] != moments_KK.shape[1]:
        raise ValueError(f"expected square second moments, got a tensor of shape {tuple(moments_KK.shape)}")
    if not torch.isfinite(moments_KK).all():
        raise ValueError("the second moments are not finite: look for an overflow in the layer's inputs")
    damped = moments_KK.double().clone()
    damped.diagonal()[damped.diagonal() == 0] = 1
    damped.diagonal().add_(damping * damped.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def gptq(weight_MK: Tensor, moments_KK: Tensor, layout: IntegerFormat, *, damping: float = DAMPING) -> Quantized:
    """Round a weight column by column, each error made up for by the columns to come.

    Args:
        weight_MK: the weight.
        moments_KK: second moments of the layer's inputs, from :func:`~plm_core.compression.low_rank.input_moments`.
        layout: the integers. Scales of rows or of the tensor are those of the weight as it is; the scale of a group is
            chosen when its first column is reached, from what its columns have become.
        damping: see :data:`DAMPING`.

    Raises:
        ValueError: moments or a weight that do not fit each other or the format.
    """
    rows, columns = weight_MK.shape
    if moments_KK.shape != (columns, columns):
        raise ValueError(f"expected second moments of shape {(columns, columns)}, got {tuple(moments_KK.shape)}")
    factor = inverse_factor(moments_KK, damping=damping)
    start = quantize(weight_MK.detach(), layout)  # checks the weight and lays out the scales
    scale, zero_point, values = start.scale.clone(), start.zero_point.clone(), start.values.clone()
    rest = weight_MK.detach().double().cpu().clone()
    in_groups = layout.granularity == "group"
    size = layout.group_size if in_groups else columns
    block = size * max(1, BLOCK // size) if in_groups else BLOCK
    one = IntegerFormat(bits=layout.bits, symmetric=layout.symmetric, granularity="channel")
    for first in range(0, columns, block):
        end = min(first + block, columns)
        near = rest[:, first:end].clone()
        errors = torch.zeros_like(near)
        for column in range(first, end):
            place, group = column - first, column // size
            if in_groups and column % size == 0:
                piece = near[:, place : place + size]
                found = scale_for(piece.amin(-1), piece.amax(-1), layout)
                scale[:, group, 0] = found[0].to(scale).clamp(min=torch.finfo(scale.dtype).tiny)
                zero_point[:, group, 0] = found[1].to(zero_point)
            own_scale, own_zero = (part_of(x, group, rows, layout) for x in (scale, zero_point))
            rounded = round_to(near[:, place : place + 1], own_scale.double().cpu(), own_zero.cpu(), one)
            values[:, column] = rounded.values[:, 0].to(values)
            errors[:, place] = (near[:, place] - rounded.dequantize()[:, 0]) / factor[column, column]
            near[:, place:] -= errors[:, place, None] * factor[column, column:end]
        rest[:, end:] -= errors @ factor[first:end, end:]  # the later blocks at once: several times as fast
    return Quantized(values, scale, zero_point, layout)


def part_of(x: Tensor, group: int, rows: int, layout: IntegerFormat) -> Tensor:
    """The scales, or zero points, of one group of columns, (rows, 1)."""
    return x[:, group] if layout.granularity == "group" else x.expand(rows, 1)


def output_error(weight_MK: Tensor, rounded_MK: Tensor, moments_KK: Tensor) -> float:
    """The mean squared error of the layer's output, summed over its outputs: tr((W - Q)·S·(W - Q)ᵀ)."""
    difference = (weight_MK - rounded_MK).detach().double().cpu()
    return float(((difference @ moments_KK.double()) * difference).sum())


@torch.no_grad()
def round_blocks(model: nn.Module, rounder: Callable[[Tensor, Tensor], Tensor], moments: Mapping[str, Tensor]) -> None:
    """Replace the weights of attention and feed-forward layers by what they are read back as, in place.

    The layers stay layers of floats: this judges a rounding, it saves no bytes.

    Args:
        model: any model.
        rounder: (weight (M, K), moments (K, K)) -> the weight as it is read back.
        moments: by layer name.
    """
    for name, layer in block_linears(model).items():
        layer.weight.copy_(rounder(layer.weight.detach(), moments[name]))

"""Pruning without training: which weights go is decided by the inputs, and the others make up for them.

Wanda scores a weight by its size times the size of its input, and compares within each row (Sun et al. 2024). SparseGPT
removes weights column by column and lets the columns to come make up for the error, as
:mod:`plm_core.compression.gptq` does for rounding (Frantar and Alistarh 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from plm_core.compression.gptq import DAMPING, inverse_factor
from plm_core.compression.prune import Masks, best_two_of_four, highest
from plm_core.compression.structure import block_linears

Pattern = Literal["row", "2:4"]

BLOCK = 128
"""Columns for which SparseGPT chooses its zeros at once."""


def keep_in_rows(scores_MK: Tensor, sparsity: float, pattern: Pattern) -> Tensor:
    """True for the highest scores of every row, or for two of every four neighbours.

    Raises:
        ValueError: a sparsity outside [0, 1], other than 0.5 for ``"2:4"``, or an unknown pattern.
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"the sparsity is a share of the weights: expected 0 to 1, got {sparsity}")
    if pattern == "2:4":
        if sparsity != 0.5:
            raise ValueError(f"the pattern 2:4 removes half of the weights: sparsity must be 0.5, got {sparsity}")
        return best_two_of_four(scores_MK)
    if pattern != "row":
        raise ValueError(f"unknown pattern {pattern!r}: use 'row' or '2:4'")
    return torch.stack([highest(row, sparsity) for row in scores_MK])


def wanda(model: nn.Module, moments: Mapping[str, Tensor], sparsity: float, *, pattern: Pattern = "row") -> Masks:
    """The masks of the weights that stay: in each row those with the largest ``|w|`` times root mean square of input.

    Args:
        model: any model.
        moments: second moments of every layer's inputs.
        sparsity: share of each row's weights that goes.
        pattern: ``"row"``, or ``"2:4"``.
    """
    masks = {}
    for name, layer in block_linears(model).items():
        size = moments[name].diagonal().clamp(min=0).sqrt().to(layer.weight)
        masks[name] = keep_in_rows(layer.weight.detach().abs() * size, sparsity, pattern)
    return masks


def sparsegpt(
    weight_MK: Tensor,
    moments_KK: Tensor,
    sparsity: float,
    *,
    pattern: Pattern = "row",
    block: int = BLOCK,
    damping: float = DAMPING,
) -> Tensor:
    """A weight with zeros whose other numbers make up for them.

    Block by block the weights go whose removal, made up for by the columns to come, costs least: w²/U_jj², with the
    factor U of :func:`~plm_core.compression.gptq.inverse_factor`. The columns of the block are then set one by one.

    Args:
        weight_MK: the weight.
        moments_KK: second moments of the layer's inputs.
        sparsity: share that goes, of each row in each block (the authors compare the whole block).
        pattern: ``"row"``, or ``"2:4"``.
        block: number of columns of a block.
        damping: see :data:`~plm_core.compression.gptq.DAMPING`.

    Returns:
        The new weight, (M, K), of the same type.

    Raises:
        ValueError: moments, sparsity or pattern that do not fit.
    """
    columns = weight_MK.shape[1]
    if moments_KK.shape != (columns, columns):
        raise ValueError(f"expected second moments of shape {(columns, columns)}, got {tuple(moments_KK.shape)}")
    factor = inverse_factor(moments_KK, damping=damping)
    rest = weight_MK.detach().double().cpu().clone()
    for first in range(0, columns, block):
        end = min(first + block, columns)
        cost = rest[:, first:end].square() / factor.diagonal()[first:end].square()
        kept = keep_in_rows(cost, sparsity, pattern)
        errors = torch.zeros_like(rest[:, first:end])
        for column in range(first, end):
            error_M = torch.where(kept[:, column - first], 0, rest[:, column]) / factor[column, column]
            rest[:, column:end] -= error_M[:, None] * factor[column, column:end]
            errors[:, column - first] = error_M
        rest[:, end:] -= errors @ factor[first:end, end:]  # the later blocks at once: many times as fast
        rest[:, first:end] = torch.where(kept, rest[:, first:end], 0)  # exactly zero, without the rounding of floats
    return rest.to(weight_MK)

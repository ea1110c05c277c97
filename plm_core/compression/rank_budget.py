"""A budget of weights for a whole model, spent on the ranks of its layers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from plm_core.compression.low_rank import decompose
from plm_core.compression.structure import block_linears

BUDGET_STEPS = 20_000
"""Into how many steps :func:`ranks_by_budget` divides a budget of weights, where the sizes have no common divisor."""


def spectra(
    model: nn.Module, *, row_weights: Mapping[str, Tensor] | None = None, moments: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The squared singular values of the weighted layers of the blocks, (min(M, K),) each, in falling order.

    The i-th of them is the squared error that is removed by the i-th rank.

    Args:
        model: any model.
        row_weights: result of :func:`~plm_core.compression.low_rank.fisher_rows` or
            :func:`~plm_core.compression.low_rank.row_curvature`; None weights all rows alike.
        moments: result of :func:`~plm_core.compression.low_rank.input_moments`; None weights all inputs alike.
    """
    return {
        name: decompose(
            layer,
            row_weights=None if row_weights is None else row_weights[name],
            input_moments=None if moments is None else moments[name],
        )[1].square()
        for name, layer in block_linears(model).items()
    }


def ranks_by_budget(model: nn.Module, share: float, errors: Mapping[str, Tensor]) -> dict[str, int]:
    """Spend a budget of weights on ranks so that the least error is left.

    A layer can have any rank that saves weights, or stay whole without an error. Layer by layer, and for every budget,
    the least error of the layers so far is noted: a knapsack with one choice from each group, solved exactly up to
    1/:data:`BUDGET_STEPS` of the budget (Kellerer, Pferschy and Pisinger 2004, chapter 11).

    Args:
        model: any model.
        share: of the weights of all layers of the blocks together, kept at most.
        errors: for every layer the squared error that each rank removes, from :func:`spectra`; comparable between
            layers, as it is with the weights of :func:`~plm_core.compression.low_rank.row_curvature`.

    Returns:
        The rank of every layer that is worth factorising; a layer that is not named stays whole.

    Raises:
        ValueError: a share outside (0, 1), or one that does not suffice for rank 1 everywhere.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of the weights to keep must lie in (0, 1), got {share}")
    shapes = {name: layer.weight.shape for name, layer in block_linears(model).items()}
    total, least = sum(rows * columns for rows, columns in shapes.values()), sum(map(sum, shapes.values()))
    budget = int(share * total)
    if least > budget:
        raise ValueError(
            f"a share of {share} of the weights does not suffice for rank 1 in every layer: it takes "
            f"{least / total:.3f}"
        )
    unit = max(math.gcd(*(number for m, n in shapes.values() for number in (m + n, m * n))), budget // BUDGET_STEPS)
    steps = budget // unit
    left_B = torch.zeros(steps + 1, dtype=torch.double)  # least error of the layers so far, by budget in units
    choices: list[tuple[str, list[int], Tensor]] = []
    for name, (rows, columns) in shapes.items():
        thin = range(1, math.ceil(rows * columns / (rows + columns)))
        costs = [math.ceil(rank * (rows + columns) / unit) for rank in thin] + [math.ceil(rows * columns / unit)]
        kept = errors[name].double().cpu().sum() - errors[name].double().cpu().cumsum(0)[: len(thin)]
        best_B, choice_B = torch.full_like(left_B, math.inf), torch.zeros(steps + 1, dtype=torch.int16)
        for number, (cost, error) in enumerate(zip(costs, [*kept.tolist(), 0.0], strict=True)):
            candidate_B = left_B[: max(0, steps + 1 - cost)] + error
            better_B = candidate_B < best_B[cost:]
            best_B[cost:][better_B], choice_B[cost:][better_B] = candidate_B[better_B], number
        left_B = best_B
        choices.append((name, costs, choice_B))
    if left_B[-1] == math.inf:  # rounded up to units, rank 1 everywhere no longer fits
        return dict.fromkeys(shapes, 1)
    ranks = {}
    for name, costs, choice_B in reversed(choices):
        number = int(choice_B[steps])
        steps -= costs[number]
        if number < len(costs) - 1:  # the last choice is the whole layer
            ranks[name] = number + 1
    return {name: ranks[name] for name in shapes if name in ranks}

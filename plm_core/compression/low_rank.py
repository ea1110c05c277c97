"""Low rank: a linear layer of m·n weights as the product of two thin ones with r·(m + n).

The truncated singular value decomposition is the best approximation of rank r in squared error of the *weights* (Eckart
and Young 1936). What matters is the output, and not every row or column matters equally, so the error can be weighted:
rows by their Fisher information (Hsu et al. 2022), or inputs by their second moments, which makes the decomposition the
best one for the layer's *output* on the sample text.

Layers differ in the rank that they need: :mod:`plm_core.compression.rank_budget` spends the weights of a whole model
where they reduce the expected loss most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plm_core.compression.inputs import watched_inputs
from plm_core.compression.structure import block_linears, linear_layers
from plm_core.data.batch import Batch
from plm_core.evaluation.modes import evaluation_mode
from plm_core.models.replacement import replace_modules
from plm_core.objectives.base import Objective

DAMPING = 1e-6
"""Added to second moments, as a fraction of their mean, so that their matrix can be inverted."""

TINY = 1e-30


class LowRankLinear(nn.Module):
    """y = up(down(x)): in_features -> rank -> out_features, the bias in ``up``.

    Args:
        in_features, out_features: sizes of the layer it replaces.
        rank: width between the two.
        bias: whether there is a bias.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, *, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return self.up(self.down(x))

    @property
    def weight(self) -> Tensor:
        """The product of the two, (out_features, in_features)."""
        return self.up.weight @ self.down.weight

    def description(self) -> dict[str, Any]:
        """Kind and sizes: see :class:`~plm_core.compression.saved.Compressed`."""
        return {
            "kind": "low_rank_linear",
            "in_features": self.in_features,
            "out_features": self.out_features,
            "rank": self.rank,
            "bias": self.up.bias is not None,
        }


def break_even_rank(in_features: int, out_features: int) -> float:
    """The rank m·n/(m + n) below which two thin layers have fewer weights than one. Square: half its width."""
    return in_features * out_features / (in_features + out_features)


def rank_for_share(in_features: int, out_features: int, share: float) -> int:
    """The largest rank whose two layers have at most that share of the weights, at least 1.

    Raises:
        ValueError: a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of the weights to keep must lie in (0, 1), got {share}")
    return max(1, int(share * break_even_rank(in_features, out_features)))


def factorise(
    layer: nn.Linear,
    rank: int,
    *,
    row_weights: Tensor | None = None,
    input_moments: Tensor | None = None,
    input_mean: Tensor | None = None,
    allow_growth: bool = False,
) -> LowRankLinear:
    """The best product of two thin layers for a linear layer, by a (weighted) singular value decomposition.

    With the mean μ of the inputs the bias moves as well: what the pair loses on average, (W - U·D)·μ, is added to it.
    Only the deviations of the inputs from their mean are left to be approximated, with their covariance in place of the
    second moments.

    Args:
        layer: weight (M, K).
        rank: r.
        row_weights: (M,) positive: the error of row i counts that much.
        input_moments: (K, K), the mean of x·xᵀ over inputs x: the error of the *output* is what is minimised.
        input_mean: (K,), the mean of the inputs x, together with ``input_moments``, for a layer with a bias.
        allow_growth: accept a rank that saves nothing, for comparison.

    Raises:
        ValueError: a rank that saves nothing (see :func:`break_even_rank`) or exceeds what the layer has, weights of
            the wrong shape, or a mean without second moments or bias.
    """
    rows, columns = layer.weight.shape
    limit = break_even_rank(columns, rows)
    if not 1 <= rank <= min(rows, columns):
        raise ValueError(f"a layer {rows}x{columns} has ranks from 1 to {min(rows, columns)}, got {rank}")
    if rank >= limit and not allow_growth:
        raise ValueError(
            f"rank {rank} saves nothing on a layer {rows}x{columns}: two layers of it have {rank * (rows + columns):,} "
            f"weights, the layer has {rows * columns:,}. Stay below {limit:.1f}"
        )
    if input_mean is not None:
        if input_moments is None or layer.bias is None:
            raise ValueError(
                "a mean of the inputs moves the bias: it needs their second moments, and a layer with a bias"
            )
        input_moments = input_moments.double() - torch.outer(input_mean.double(), input_mean.double())
    up, values, down = decompose(layer, row_weights=row_weights, input_moments=input_moments)
    up, down = up[:, :rank] * values[:rank], down[:rank]
    # column i of up and row i of down equally long: an optimiser's step is then about as large for both
    size = (down.norm(dim=1).clamp(min=TINY) / up.norm(dim=0).clamp(min=TINY)).sqrt()
    made = LowRankLinear(columns, rows, rank, bias=layer.bias is not None)
    with torch.no_grad():
        made.up.weight.copy_(up * size)
        made.down.weight.copy_(down / size[:, None])
        if layer.bias is not None:
            made.up.bias.copy_(layer.bias)
        if input_mean is not None:
            made.up.bias.add_(((layer.weight.double().cpu() - up @ down) @ input_mean.double()).to(made.up.bias))
    made.requires_grad_(layer.weight.requires_grad)
    return made.to(layer.weight.device, layer.weight.dtype)


def decompose(
    layer: nn.Linear, *, row_weights: Tensor | None = None, input_moments: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the weight (M, K) as up·diag(values)·down, by the singular value decomposition of the weighted matrix.

    Returns:
        up (M, R), values (R,) in falling order and down (R, K), with R = min(M, K), in double precision. Cutting after
        r values leaves the smallest weighted squared error that rank r can have: the sum of the other values squared.

    Raises:
        ValueError: weights of the wrong shape, or row weights that are all zero.
    """
    rows, columns = layer.weight.shape
    left = torch.ones(rows) if row_weights is None else row_weights.double().clamp(min=0).sqrt()
    if left.shape != (rows,):
        raise ValueError(f"expected {rows} row weights, got a tensor of shape {tuple(left.shape)}")
    if left.max() == 0:
        raise ValueError("all row weights are zero: the sample text gives this layer no gradient. Leave the layer out")
    left = left.double().clamp(min=DAMPING * float(left.max()))
    right, inverse = whitening(columns, input_moments)
    # minimise |diag(left) (W - U D) right|: decompose the weighted matrix, then take the weights off again
    u, values, vt = torch.linalg.svd(left[:, None] * layer.weight.detach().double().cpu() @ right, full_matrices=False)
    return u / left[:, None], values, vt @ inverse


def whitening(size: int, moments: Tensor | None) -> tuple[Tensor, Tensor]:
    """A matrix R with R·Rᵀ = the second moments, and its inverse: ``|E·R|²`` is the mean squared output of an error E.

    Raises:
        ValueError: moments of the wrong shape.
    """
    if moments is None:
        identity = torch.eye(size, dtype=torch.double)
        return identity, identity
    if moments.shape != (size, size):
        raise ValueError(f"expected second moments of shape {(size, size)}, got {tuple(moments.shape)}")
    moments = moments.double()
    damped = moments + DAMPING * moments.diagonal().mean() * torch.eye(size, dtype=torch.double)
    right = torch.linalg.cholesky(damped)
    return right, torch.linalg.solve_triangular(right, torch.eye(size, dtype=torch.double), upper=False)


def input_moments(model: nn.Module, run: Callable[[nn.Module], object]) -> dict[str, Tensor]:
    """The second moments of the inputs of every linear layer, (K, K), over the real tokens of sample text.

    Args:
        model: run in evaluation mode; every module is left in the mode it was in.
        run: calls the model on the text.
    """
    return mean_over_inputs(model, run, lambda x_NK: x_NK.T @ x_NK)


def input_means(model: nn.Module, run: Callable[[nn.Module], object]) -> dict[str, Tensor]:
    """The mean of the inputs of every linear layer, (K,); arguments as for :func:`input_moments`."""
    return mean_over_inputs(model, run, lambda x_NK: x_NK.sum(0))


def mean_over_inputs(
    model: nn.Module, run: Callable[[nn.Module], object], total: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """By layer the sum of ``total(x_NK)`` over all calls, in double precision, divided by the number of inputs."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def add(name: str, x_NK: Tensor) -> None:
        sums[name] = sums.get(name, 0) + total(x_NK.double().cpu())
        counts[name] = counts.get(name, 0) + len(x_NK)

    with evaluation_mode(model), torch.no_grad(), watched_inputs(model, add):
        run(model)
    return {name: each / counts[name] for name, each in sums.items() if counts[name]}


def fisher_rows(
    model: nn.Module, objective: Objective, batches: Iterable[Batch], *, per: Literal["output", "input"] = "output"
) -> dict[str, Tensor]:
    """The empirical Fisher information of every row of every linear layer: mean squared gradient, summed over the row.

    Source: Hsu et al. (2022), equation 6. They write a layer as x·W, so that their rows are those of the transposed
    weight: that is ``per="input"``, and its diagonal matrix takes the place of the moments in :func:`factorise`.

    Args:
        model: run in evaluation mode; every module is left in the mode it was in; its gradients are cleared.
        objective: the loss.
        batches: sample text; the gradient is squared per batch, so small batches estimate it better.
        per: one number for each output, (M,), or for each input, (K,).

    Raises:
        ValueError: no batch.
    """
    layers, summed = linear_layers(model), 1 if per == "output" else 0
    totals = {name: torch.zeros(layer.weight.shape[1 - summed]) for name, layer in layers.items()}
    steps = 0
    with evaluation_mode(model):
        for batch in batches:
            parts = objective(model, batch)
            (parts.total / max(1, parts.count)).backward()
            for name, layer in layers.items():
                if layer.weight.grad is not None:
                    totals[name] += layer.weight.grad.square().sum(summed).cpu()
            model.zero_grad()
            steps += 1
    if steps == 0:
        raise ValueError("no batch to estimate the Fisher information on")
    return {name: total / steps for name, total in totals.items()}


def row_curvature(fisher: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Row weights with which the squared error of every layer estimates the same quantity, the rise of the loss.

    The Fisher information of a row is about ``E[g²]·E[|x|²]``, with g the gradient by that output and x the input.
    Divided by ``E[|x|²]`` it is the curvature of the loss along that output (Martens and Grosse 2015, with a diagonal
    on the side of the outputs). Used with the moments, the error of a layer is then 2·(rise of the loss), up to one
    common factor.

    Args:
        fisher: result of :func:`fisher_rows`.
        moments: result of :func:`input_moments` on the same text.
    """
    return {name: rows / moments[name].trace() for name, rows in fisher.items() if name in moments}


def factorise_model(
    model: nn.Module,
    ranks: float | Mapping[str, int],
    *,
    row_weights: Mapping[str, Tensor] | None = None,
    moments: Mapping[str, Tensor] | None = None,
    means: Mapping[str, Tensor] | None = None,
) -> None:
    """Exchange the layers of attention and feed-forward networks for thin pairs, in place.

    Args:
        model: any model.
        ranks: a share of each layer's weights, kept at most (see :func:`rank_for_share`), or the rank of each layer by
            name, as :func:`~plm_core.compression.rank_budget.ranks_by_budget` chooses them; layers that are not named
            stay whole.
        row_weights: result of :func:`fisher_rows` or :func:`row_curvature`; None weights all rows alike.
        moments: result of :func:`input_moments`; None weights all inputs alike.
        means: result of :func:`input_means`, together with ``moments``: biases move as well, where there are any.

    Raises:
        ValueError: a share outside (0, 1), a rank that does not fit its layer, or a name that is no layer of a block.
    """
    layers = block_linears(model)
    if not isinstance(ranks, Mapping):
        ranks = {name: rank_for_share(layer.in_features, layer.out_features, ranks) for name, layer in layers.items()}
    if unknown := sorted(set(ranks) - set(layers)):
        raise ValueError(f"no layer of a block is called {', '.join(unknown)}: there are {', '.join(layers)}")
    made: dict[str, nn.Module] = {
        name: factorise(
            layers[name],
            rank,
            row_weights=None if row_weights is None else row_weights[name],
            input_moments=None if moments is None else moments[name],
            input_mean=None if means is None or layers[name].bias is None else means[name],
        )
        for name, rank in ranks.items()
    }
    replace_modules(model, made)

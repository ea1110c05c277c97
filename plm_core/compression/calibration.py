"""Choose the range of a layer's input on sample text, for static quantisation.

A range that holds the largest value ever seen wastes its integers on outliers; a narrower one clips them and is finer
for all others. There are three methods: the whole range, all but a share of the values, or the range of least squared
error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from plm_core.compression.inputs import thinned, watched_inputs
from plm_core.compression.integers import round_to, scale_for
from plm_core.compression.quantize import LAYER_FORMAT, Range
from plm_core.compression.structure import linear_layers
from plm_core.evaluation.modes import evaluation_mode

Method = Literal["minmax", "percentile", "mse"]

SHRINKS = 60
"""Number of narrower ranges that the least-squares search tries."""


@contextmanager
def recorded_inputs(model: nn.Module, *, values_per_call: int = 4096) -> Iterator[dict[str, list[Tensor]]]:
    """Record the inputs of every linear layer while the block runs.

    Args:
        model: any model.
        values_per_call: of a layer's input so many numbers are drawn, seeded; its extremes are always kept. Padding is
            left out (:func:`~plm_core.compression.inputs.watched_inputs`).

    Yields:
        For each layer a list that grows with every forward pass.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in linear_layers(model)}
    generator = torch.Generator().manual_seed(0)

    def record(name: str, x_NK: Tensor) -> None:
        values = x_NK.flatten().float()
        if values.numel():
            low, high = values.aminmax()
            seen[name].append(torch.cat((thinned(values, values_per_call, generator), torch.stack((low, high)))))

    with watched_inputs(model, record):
        yield seen


def calibrate(
    model: nn.Module, run: Callable[[nn.Module], object], *, method: Method = "percentile", percentile: float = 99.9
) -> dict[str, Range]:
    """Run a model on sample text and choose the input range of every linear layer.

    Args:
        model: it is run in evaluation mode; every module is left in the mode it was in.
        run: calls the model on text that is not used to evaluate it; a few hundred sequences are enough.
        method: ``"minmax"``, ``"percentile"`` or ``"mse"``.
        percentile: share of the values, in per cent, that ``"percentile"`` does not clip, half of the rest at each end.

    Raises:
        ValueError: an unknown method or share, or a layer that no input reached.
    """
    with evaluation_mode(model), torch.no_grad(), recorded_inputs(model) as seen:
        run(model)
    if silent := [name for name, values in seen.items() if not values]:
        raise ValueError(
            f"no input reached {', '.join(silent)}: calibrate with text that uses the whole model, heads included, "
            "or leave these layers out (`choose` of quantize_model)"
        )
    return {
        name: choose_range(torch.cat(values), method=method, percentile=percentile) for name, values in seen.items()
    }


def choose_range(values: Tensor, *, method: Method = "percentile", percentile: float = 99.9) -> Range:
    """The scale and zero point for a sample of values.

    Raises:
        ValueError: an unknown method, or a percentile outside (50, 100].
    """
    low, high = values.aminmax()
    if method == "percentile":
        if not 50 < percentile <= 100:
            raise ValueError(f"the percentile must lie in (50, 100], got {percentile}")
        tail = (100 - percentile) / 200
        low, high = torch.quantile(values, torch.tensor([tail, 1 - tail], dtype=values.dtype, device=values.device))
    elif method == "mse":
        errors = [squared_error(values, low * f, high * f) for f in shrink_factors()]
        best = shrink_factors()[min(range(len(errors)), key=errors.__getitem__)]
        low, high = low * best, high * best
    elif method != "minmax":
        raise ValueError(f"unknown calibration {method!r}: use 'minmax', 'percentile' or 'mse'")
    scale, zero_point = scale_for(low, high, LAYER_FORMAT)
    return Range(float(scale), int(zero_point))


def shrink_factors() -> list[float]:
    """The fractions of the whole range that the least-squares search tries, the whole one first."""
    return [1 - step / (SHRINKS + 1) for step in range(SHRINKS)]


def squared_error(values: Tensor, low: Tensor, high: Tensor) -> float:
    """Mean squared error of values that are quantised with that range."""
    scale, zero_point = scale_for(low, high, LAYER_FORMAT)
    back = round_to(values, scale.view(1, 1), zero_point.view(1, 1), LAYER_FORMAT).dequantize()
    return float((values - back).square().mean())

"""Checks of the exercises on outliers: what one large channel does to integers, and how to move its scale away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.compression.integers import IntegerFormat, quantize

TensorFunction = Callable[..., Any]

# --- predict, then run -------------------------------------------------------------------------------------------

prediction = Check("One large channel, one large row")


def typical_errors(factor: float, generator: torch.Generator) -> dict[str, float]:
    """Errors of a layer of 128 columns in int8, the first column of its input and a row of its weights stretched.

    Channel 0 of the input is multiplied by the factor and column 0 of the weights divided: the product is the same.
    Apart from that, row 0 of other weights is multiplied. Errors are relative to the size of the exact output.
    """
    x_NK = torch.randn(64, 128, generator=generator)
    x_NK[:, 0] = x_NK.abs().amax(-1)  # the largest of its token
    w_MK = torch.randn(64, 128, generator=generator)
    exact_NM = x_NK @ w_MK.T
    long_x_NK, long_w_MK = x_NK.clone(), w_MK.clone()
    long_x_NK[:, 0] *= factor
    long_w_MK[:, 0] /= factor
    by_row, by_matrix = IntegerFormat(), IntegerFormat(granularity="tensor")
    tall_MK = w_MK.clone()
    tall_MK[0] *= factor
    tall_NM = x_NK @ tall_MK.T

    def relative(found_NM: Tensor, exact_NM: Tensor) -> float:
        return ((found_NM - exact_NM).std() / exact_NM.std()).item()

    rounded_x = quantize(long_x_NK, by_row)
    return {
        "scale": rounded_x.scale.mean().item(),
        "inputs": relative(rounded_x.dequantize() @ long_w_MK.T, exact_NM),
        "weights": relative(long_x_NK @ quantize(long_w_MK, by_row).dequantize().T, exact_NM),
        "row": relative((x_NK @ quantize(tall_MK, by_row).dequantize().T)[:, 1:], tall_NM[:, 1:]),
        "matrix": relative((x_NK @ quantize(tall_MK, by_matrix).dequantize().T)[:, 1:], tall_NM[:, 1:]),
    }


def change(name: str, draw: Draw, factor: float = 64.0) -> float:
    """By what a number grows from no stretching to a stretching by ``factor``, on the same inputs."""
    seed = draw.integer(0, 10**6)
    before, after = (typical_errors(f, torch.Generator().manual_seed(seed))[name] for f in (1.0, factor))
    return after / before


def expect_change(answer: Any, name: str, draw: Draw, why: str) -> None:
    """Compare "falls", "stays" or "grows" with a measurement."""
    measured = change(name, draw)
    truth = "stays" if 0.8 < measured < 1.25 else ("grows" if measured > 1 else "falls")
    if answer not in ("falls", "stays", "grows"):
        raise CheckFailed(f'the answer is {answer!r}; it should be "falls", "stays" or "grows"')
    if answer != truth:
        raise CheckFailed(f"measured, it is {measured:.1f} times what it was, not {answer!r}: {why}")


@prediction.stage("the scale of a token")
def _(scale: Any, inputs: Any, weights: Any, row: Any, matrix: Any, draw: Draw) -> None:
    value = expect_tensor(scale, (), what="scale").item()
    measured = change("scale", draw)
    if not 0.85 < value / measured < 1.15:
        raise CheckFailed(f"measured, the scale grows {measured:.0f}-fold: it is the largest number over 127")


@prediction.stage("one large channel")
def _(scale: Any, inputs: Any, weights: Any, row: Any, matrix: Any, draw: Draw) -> None:
    expect_change(inputs, "inputs", draw, "one large component makes the steps of all others coarse")
    why = "the small column is rounded in the steps of its row, and its error is multiplied by the large input"
    expect_change(weights, "weights", draw, why)


@prediction.stage("one large row")
def _(scale: Any, inputs: Any, weights: Any, row: Any, matrix: Any, draw: Draw) -> None:
    expect_change(row, "row", draw, "every row has a scale of its own: the others never hear of it")
    expect_change(matrix, "matrix", draw, "one scale has to hold the large row, and is coarse for all others")


# --- smoothing ---------------------------------------------------------------------------------------------------

smoothing = Check("smooth: factors that share the trouble")


def outliers(draw: Draw) -> tuple[Tensor, Tensor]:
    """Inputs with a large channel and weights, (N, K) and (M, K)."""
    x_NK, w_MK = draw.normal(40, 16), draw.normal(24, 16)
    x_NK[:, 3] *= 100
    w_MK[:, 3] /= 50
    return x_NK, w_MK


def factors(function: TensorFunction, x_NK: Tensor, w_MK: Tensor) -> Tensor:
    """A student's factors, positive and finite."""
    found = expect_tensor(
        function(x_NK, w_MK), (x_NK.shape[1],), what="smooth(x, w)", hints={"one for each column": ()}
    )
    if not found.isfinite().all() or (found <= 0).any():
        raise CheckFailed("a factor is zero, negative or not finite: a channel of zeros divides by zero, so clamp")
    return found.detach()


@smoothing.stage("a factor for each channel")
def _(function: TensorFunction, draw: Draw) -> None:
    factors(function, *outliers(draw))


@smoothing.stage("equal sizes")
def _(function: TensorFunction, draw: Draw) -> None:
    x_NK, w_MK = outliers(draw)
    found_K = factors(function, x_NK, w_MK)
    size_x_K, size_w_K = x_NK.abs().amax(0), w_MK.abs().amax(0)
    expect_close(
        (size_x_K / found_K) / (size_w_K * found_K),
        torch.ones(16),
        what="the size of x / f over the size of w * f",
        message="Take the root of the ratio of the two sizes.",
        tolerance=1e-3,
        mistakes={
            "the ratio without its root gives the whole trouble to the weights": lambda: size_w_K / size_x_K,
            "upside down: x is divided by the factor": lambda: (size_x_K / size_w_K) ** 2,
            "sizes are absolute: take abs() before the largest": lambda: (
                (size_x_K / size_w_K) * w_MK.amax(0) / x_NK.amax(0)
            ),
        },
    )


@smoothing.stage("a channel that is never used")
def _(function: TensorFunction, draw: Draw) -> None:
    x_NK, w_MK = outliers(draw)
    x_NK[:, 5] = 0.0
    w_MK[:, 7] = 0.0
    found_K = factors(function, x_NK, w_MK)
    smoothed_NM = (x_NK / found_K) @ (w_MK * found_K).T
    expect_close(smoothed_NM, x_NK @ w_MK.T, what="the product", message="The product must stay what it was.")


@smoothing.stage("int8 recovers")
def _(function: TensorFunction, draw: Draw) -> None:
    x_NK, w_MK = outliers(draw)
    found_K = factors(function, x_NK, w_MK)

    def error(x_NK: Tensor, w_MK: Tensor) -> float:
        product_NM = quantize(x_NK, IntegerFormat()).dequantize() @ quantize(w_MK, IntegerFormat()).dequantize().T
        return (product_NM - x_NK @ w_MK.T).std().item()

    before, after = error(x_NK, w_MK), error(x_NK / found_K, w_MK * found_K)
    if not after <= before / 5:  # so that NaN fails, too
        raise CheckFailed(f"the error of the int8 product went from {before:.3f} to {after:.3f}; it can be far smaller")

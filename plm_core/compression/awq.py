"""Scaling before rounding: input channels that carry large values get finer steps.

A weight times s and its input divided by s give the same product, and the rounding error of that weight counts 1/s as
much. Large s everywhere would enlarge the scale of the whole row, so the scales follow the inputs: s = a^α with a the
mean size of the channel's input, and α is searched for.

Source: Lin et al. (2024), AWQ, section 3.2. Smoothing of activations (Xiao et al. 2023, SmoothQuant, equation 4) scales
the other way round, so that the *inputs* become easy to round.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from plm_core.compression.gptq import output_error
from plm_core.compression.integers import IntegerFormat, Quantized, quantize

GRID = 20
"""Number of steps of the search for the exponent between 0 and 1."""


@dataclass(frozen=True)
class Scaled:
    """A rounded weight whose input is to be divided by a scale for each channel."""

    weights: Quantized
    """The integers of the scaled weight."""
    input_scale: Tensor
    """What the input is divided by, (K,)."""
    exponent: float
    """The α that was chosen; 0 is rounding without scaling."""

    def dequantize(self) -> Tensor:
        """The weight that acts on the input as it is, (M, K)."""
        return self.weights.dequantize() / self.input_scale


def scale_of(moments_KK: Tensor, exponent: float) -> Tensor:
    """Scales of the channels by the root of their second moments, to a power, with a geometric mean of 1, (K,)."""
    size = moments_KK.diagonal().double().clamp(min=0).sqrt()
    size = size.clamp(min=1e-4 * float(size.max().clamp(min=1e-30)))
    scale = size**exponent
    return scale / scale.log().mean().exp()


def awq(weight_MK: Tensor, moments_KK: Tensor, layout: IntegerFormat) -> Scaled:
    """Round a weight after scaling its columns, with the exponent of least output error.

    Args:
        weight_MK: the weight.
        moments_KK: second moments of the layer's inputs. The authors take the mean size of a channel, this its root
            mean square, and they measure the error on the inputs themselves, which is the same number.
        layout: the integers.

    Raises:
        ValueError: moments that do not fit, or a weight that does not fit the format.
    """
    columns = weight_MK.shape[1]
    if moments_KK.shape != (columns, columns):
        raise ValueError(f"expected second moments of shape {(columns, columns)}, got {tuple(moments_KK.shape)}")
    best: tuple[float, Scaled] | None = None
    for step in range(GRID + 1):
        scale = scale_of(moments_KK, step / GRID).to(weight_MK)
        made = Scaled(quantize(weight_MK.detach() * scale, layout), scale, step / GRID)
        error = output_error(weight_MK, made.dequantize(), moments_KK)
        if best is None or error < best[0]:
            best = error, made
    assert best is not None
    return best[1]


def smoothing(largest_input_K: Tensor, weight_MK: Tensor, *, strength: float = 0.5) -> Tensor:
    """What SmoothQuant divides a layer's inputs by, and multiplies the columns of its weight with, (K,).

    Args:
        largest_input_K: largest absolute input of each channel on sample text.
        weight_MK: the weight.
        strength: α of equation 4: 0 leaves the inputs as they are, 1 makes all channels equally large.

    Raises:
        ValueError: a strength outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"the strength of smoothing must lie in [0, 1], got {strength}")
    tiny = torch.finfo(weight_MK.dtype).tiny
    inputs, weights = largest_input_K.clamp(min=tiny), weight_MK.detach().abs().amax(0).clamp(min=tiny)
    scale = inputs**strength / weights ** (1 - strength)
    return torch.where(largest_input_K > 0, scale, torch.ones_like(scale))

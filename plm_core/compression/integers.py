"""Quantisation of numbers: scales, zero points, rounding, packing, and an exact integer product.

A real number x is stored as the integer q = round(x / s) + z and read back as s·(q - z). The scale s is the distance
between neighbouring values, the zero point z the integer that stands for 0. A number that is not clipped is read back
with an error of at most s/2.

Source: Jacob et al. (2018), sections 2.1 and 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from plm_core.config import Config

Granularity = Literal["tensor", "channel", "group"]

EXACT_BLOCK = 1024
"""Products of two int8 add up exactly in fp32 over that many columns: 1024 · 128 · 128 = 2^24."""
HALF = torch.finfo(torch.float16)
"""The range of a 16-bit scale: it is normal, so that it is off by at most 1/2048 of itself."""


@dataclass(frozen=True)
class IntegerFormat(Config):
    """How real numbers are rounded to integers."""

    bits: int = 8
    """Bits of an integer, 2 to 8."""
    symmetric: bool = True
    """Range -m to m without a zero point, or the range of the data with one (affine)."""
    granularity: Granularity = "channel"
    """Which numbers share a scale: the tensor, a row (the weights of one output), or a group of neighbours in a row."""
    group_size: int = 32
    """Number of weights in a group."""
    scale_bits: Literal[16, 32] = 32
    """Bits of a stored scale: 32 (that of the numbers themselves), or 16 (fp16)."""

    def validate(self) -> None:
        """Refuse a number of bits outside 2 to 8 and a group without elements."""
        if not 2 <= self.bits <= 8:
            raise ValueError(f"IntegerFormat.bits must lie between 2 and 8, got {self.bits}")
        self.require_positive("group_size")

    @property
    def highest(self) -> int:
        """The largest integer of the format."""
        return 2 ** (self.bits - 1) - 1

    @property
    def lowest(self) -> int:
        """The smallest integer of the format; a symmetric one leaves the extra negative integer out."""
        return -self.highest if self.symmetric else -self.highest - 1


@dataclass(frozen=True)
class Quantized:
    """Integers, with the scale and the zero point that are needed to read them.

    Attributes:
        values: int8, in the shape of the tensor.
        scale: positive floats, broadcastable to ``grouped(values)``; fp16 where the format says 16 bits.
        zero_point: integers of the scale's shape; zero where the format is symmetric.
        layout: the format.
    """

    values: Tensor
    scale: Tensor
    zero_point: Tensor
    layout: IntegerFormat

    def dequantize(self) -> Tensor:
        """The real numbers that the integers stand for."""
        groups, scale = grouped(self.values, self.layout), readable(self.scale)
        return ((groups.to(scale.dtype) - self.zero_point) * scale).view(self.values.shape)


def grouped(x: Tensor, layout: IntegerFormat) -> Tensor:
    """View a tensor so that the last axis holds what shares a scale: (1, n), (rows, n) or (rows, groups, n).

    Raises:
        ValueError: rows that groups do not divide.
    """
    if layout.granularity == "tensor":
        return x.reshape(1, -1)
    if layout.granularity == "channel":
        return x.reshape(-1, x.shape[-1])
    if x.shape[-1] % layout.group_size:
        raise ValueError(f"rows of {x.shape[-1]} numbers cannot be cut into groups of {layout.group_size}")
    return x.reshape(-1, x.shape[-1] // layout.group_size, layout.group_size)


def quantize(x: Tensor, layout: IntegerFormat) -> Quantized:
    """Round a tensor to integers, the scale chosen so that the largest number still fits.

    Raises:
        ValueError: numbers that are not finite, rows that groups do not divide, or a scale too large for 16 bits.
    """
    if not torch.isfinite(x).all():
        raise ValueError("numbers that are not finite cannot be quantised: look for a diverged weight or an overflow")
    groups = grouped(x, layout)
    scale, zero_point = scale_for(groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True), layout)
    return round_to(x, scale, zero_point, layout)


def scale_for(low: Tensor, high: Tensor, layout: IntegerFormat) -> tuple[Tensor, Tensor]:
    """Scale and zero point for numbers between low and high. Zero is always represented exactly.

    Args:
        low, high: the range, of any shape.

    Returns:
        The scale and the zero point (int32), both of that shape.

    Raises:
        ValueError: a scale too large for 16 bits.
    """
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    if layout.symmetric:
        scale = storable(torch.maximum(-low, high) / layout.highest, layout)
        return scale, torch.zeros_like(scale, dtype=torch.int32)
    scale = storable((high - low) / (layout.highest - layout.lowest), layout)
    zero_point = (layout.lowest - low / scale).round().clamp(layout.lowest, layout.highest)
    return scale, zero_point.to(torch.int32)


def storable(scale: Tensor, layout: IntegerFormat) -> Tensor:
    """The nearest positive scale that the format can store, before anything is rounded with it.

    Raises:
        ValueError: a scale too large for 16 bits.
    """
    if layout.scale_bits == 32:
        return scale.clamp(min=torch.finfo(scale.dtype).tiny)
    if scale.max() > HALF.max:
        raise ValueError(f"a scale of {float(scale.max()):.3g} does not fit into 16 bits: use scale_bits=32")
    return scale.clamp(min=HALF.tiny).to(torch.float16)


def readable(scale: Tensor) -> Tensor:
    """A stored scale for arithmetic: one of 16 bits in fp32, which holds its products with 8-bit integers exactly."""
    return scale.float() if scale.dtype == torch.float16 else scale


def round_to(x: Tensor, scale: Tensor, zero_point: Tensor, layout: IntegerFormat) -> Quantized:
    """Round to the nearest integer of a given scale; what lies outside its range is clipped."""
    values = (grouped(x, layout) / scale).round() + zero_point
    return Quantized(
        values.clamp(layout.lowest, layout.highest).to(torch.int8).view(x.shape), scale, zero_point, layout
    )


def pack(values: Tensor) -> Tensor:
    """Store two 4-bit integers in a byte: int8 in -8..7 (..., 2n) -> uint8 (..., n), the first one in the low half.

    Raises:
        ValueError: rows of odd length.
    """
    if values.shape[-1] % 2:
        raise ValueError(f"4-bit integers are packed in pairs: rows of {values.shape[-1]} have a single one left")
    low, high = (values.to(torch.int16) & 15).unflatten(-1, (-1, 2)).unbind(-1)
    return (low | high << 4).to(torch.uint8)


def unpack(packed: Tensor) -> Tensor:
    """The inverse of :func:`pack`: uint8 (..., n) -> int8 (..., 2n)."""
    halves = torch.stack((packed & 15, packed >> 4), dim=-1).to(torch.int8).flatten(-2)
    return torch.where(halves > 7, halves - 16, halves)


def integer_product(a_NK: Tensor, b_MK: Tensor) -> Tensor:
    """The exact product a·bᵀ of int8 matrices, (N, M) in int64, by fp32 matrix products.

    A sum of at most 1024 products of int8 is an integer of at most 2^24, which fp32 holds exactly, in whatever order it
    is added up. Longer rows are cut into blocks whose sums are added as integers.
    """
    total = torch.zeros(a_NK.shape[0], b_MK.shape[0], dtype=torch.int64, device=a_NK.device)
    for start in range(0, a_NK.shape[1], EXACT_BLOCK):
        a, b = a_NK[:, start : start + EXACT_BLOCK].float(), b_MK[:, start : start + EXACT_BLOCK].float()
        total += (a @ b.T).long()
    return total

"""Small numbers that are not integers: NF4, MXFP4 and FP8, as codes for a list of values and a scale for each block.

A block of neighbouring weights is divided by a scale and each number rounded to the nearest value of a list. NF4 puts
its 16 values where a normal distribution has equal shares (Dettmers et al. 2023, QLoRA). MXFP4 has the 15 values of a
float with two bits of exponent and one of mantissa, and a power of two as the scale of 32 numbers (Open Compute Project
2023). FP8 is a float with eight bits, of which torch has both kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Fp8 = Literal["e4m3", "e5m2"]
FP8: dict[Fp8, torch.dtype] = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}

NF4_TAIL = 0.9677083
"""The highest quantile that NF4 uses, as its authors' code has it: the mean of 1 - 1/30 and 1 - 1/32."""


def nf4_values() -> Tensor:
    """The 16 values of NF4 in rising order, from -1 to 1, with an exact 0.

    Source: Dettmers et al. (2023), equation 4: quantiles of the normal distribution, eight for the positive half and
    seven for the negative one, divided by the largest.
    """
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.double), 1.0)
    positive = normal.icdf(torch.linspace(NF4_TAIL, 0.5, 9, dtype=torch.double)[:-1])
    negative = -normal.icdf(torch.linspace(NF4_TAIL, 0.5, 8, dtype=torch.double)[:-1])
    values = torch.cat([negative, torch.zeros(1, dtype=torch.double), positive]).sort().values
    return (values / values.max()).float()


def e2m1_values() -> Tensor:
    """The 15 different values of a float with one sign, two exponent and one mantissa bit: 0, 0.5, 1, 1.5, 2, 3, 4, 6.

    Source: Open Compute Project (2023), Microscaling Formats, section 5.3.
    """
    positive = torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    return torch.cat([-positive.flip(0), torch.zeros(1), positive])


@dataclass(frozen=True)
class Coded:
    """Numbers as codes for a list of values, with a scale for each block.

    Attributes:
        codes: uint8, in the shape of the tensor (..., K); two of them fit into a byte.
        scale: one for each block, (..., K / block).
        values: the list, in rising order.
        block: numbers that share a scale.
        scale_bits: bits that a scale takes in a file.
    """

    codes: Tensor
    scale: Tensor
    values: Tensor
    block: int
    scale_bits: int

    def dequantize(self) -> Tensor:
        """The numbers that the codes stand for."""
        numbers = self.values[self.codes.long()].unflatten(-1, (-1, self.block)) * self.scale[..., None].float()
        return numbers.flatten(-2)

    @property
    def bits_per_number(self) -> float:
        """Bits of a code (4) and its share of the scale."""
        return 4 + self.scale_bits / self.block


def nf4(x: Tensor, *, block: int = 64) -> Coded:
    """Round a tensor to NF4, the largest number of each block to 1 or -1; scales are kept in fp16.

    The authors round the scales once more ("double quantisation"), which saves another 0.12 of the 0.25 bits at 64
    numbers a block; this does not.

    Raises:
        ValueError: rows that blocks do not divide, or numbers that are not finite.
    """
    scale = blocks(x, block).abs().amax(-1).clamp(min=torch.finfo(torch.float16).tiny).half()
    return coded(x, scale, nf4_values(), block, 16)


def mxfp4(x: Tensor, *, block: int = 32) -> Coded:
    """Round a tensor to MXFP4: the scale is the power of two that brings the largest number of a block to 4 up to 8.

    Numbers above 6 of the scale are clipped to 6, as the standard's conversion does.

    Raises:
        ValueError: rows that blocks do not divide, or numbers that are not finite.
    """
    largest = blocks(x, block).abs().amax(-1).float()
    exponent = (largest.clamp(min=2.0**-120).log2().floor() - 2).clamp(
        -127, 127
    )  # 2: the exponent of 4, e2m1's largest
    return coded(x, torch.exp2(exponent), e2m1_values(), block, 8)


def fp8(x: Tensor, kind: Fp8 = "e4m3") -> tuple[Tensor, Tensor]:
    """Round a tensor to FP8 with one scale for each row, which brings its largest number to the largest of the format.

    Returns:
        The numbers as torch's fp8, in the shape of x, and the scales, (..., 1); their product is what is read back.

    Raises:
        ValueError: an unknown kind, or numbers that are not finite.
    """
    if kind not in FP8:
        raise ValueError(f"unknown fp8 format {kind!r}: use 'e4m3' or 'e5m2'")
    require_finite(x)
    highest = torch.finfo(FP8[kind]).max
    scale = (x.abs().amax(-1, keepdim=True) / highest).clamp(min=torch.finfo(torch.float32).tiny)
    return (x / scale).clamp(-highest, highest).to(FP8[kind]), scale


def blocks(x: Tensor, block: int) -> Tensor:
    """View the last axis as blocks, (..., K / block, block).

    Raises:
        ValueError: rows that blocks do not divide, or numbers that are not finite.
    """
    if block < 1 or x.shape[-1] % block:
        raise ValueError(f"rows of {x.shape[-1]} numbers cannot be cut into blocks of {block}")
    require_finite(x)
    return x.unflatten(-1, (-1, block))


def coded(x: Tensor, scale: Tensor, values: Tensor, block: int, scale_bits: int) -> Coded:
    """Round every number, divided by its block's scale, to the nearest value of a list."""
    numbers = (blocks(x, block).float() / scale[..., None].float()).flatten(-2)
    middles = (values[1:] + values[:-1]) / 2
    return Coded(torch.bucketize(numbers, middles).to(torch.uint8), scale, values, block, scale_bits)


def require_finite(x: Tensor) -> None:
    """Refuse numbers that are not finite.

    Raises:
        ValueError: there are some.
    """
    if not torch.isfinite(x).all():
        raise ValueError("numbers that are not finite cannot be rounded: look for a diverged weight or an overflow")

"""Rounding to integers: error bounds, packing, and products that are exact."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchao.quantization.quant_primitives import quantize_affine

from plm_core.compression.integers import (
    IntegerFormat,
    grouped,
    integer_product,
    pack,
    quantize,
    unpack,
)

layouts = st.builds(
    IntegerFormat,
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
    granularity=st.sampled_from(["tensor", "channel", "group"]),
    group_size=st.sampled_from([2, 4, 8]),
)


@settings(max_examples=150, deadline=None)
@given(
    layout=layouts, rows=st.integers(1, 5), groups=st.integers(1, 3), seed=st.integers(0, 10**6), log=st.floats(-8, 8)
)
def test_numbers_come_back_within_half_a_step(layout, rows, groups, seed, log):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, groups * 8, generator=generator, dtype=torch.double) * 10**log
    x = x + torch.randn(1, generator=generator, dtype=torch.double) * 10**log  # not centred
    rounded = quantize(x, layout)
    assert rounded.values.min() >= layout.lowest
    assert rounded.values.max() <= layout.highest
    error = grouped((rounded.dequantize() - x).abs(), layout)
    assert (error <= rounded.scale / 2 * (1 + 1e-9)).all()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_zero_stays_zero(seed):
    x = torch.rand(4, 16, generator=torch.Generator().manual_seed(seed)) + 3  # far from zero on one side
    x[:, 3] = 0.0
    for symmetric in (True, False):
        assert (quantize(x, IntegerFormat(symmetric=symmetric)).dequantize()[:, 3] == 0).all()


def test_a_row_of_zeros_comes_back_as_zeros():
    assert (quantize(torch.zeros(2, 4), IntegerFormat()).dequantize() == 0).all()


@pytest.mark.parametrize("columns", [1, 7, 1024, 1025, 3000])
def test_the_product_is_that_of_the_integers(columns):
    generator = torch.Generator().manual_seed(columns)
    a = torch.randint(-128, 128, (5, columns), generator=generator, dtype=torch.int8)
    b = torch.randint(-128, 128, (6, columns), generator=generator, dtype=torch.int8)
    assert torch.equal(integer_product(a, b), a.long() @ b.long().T)


def test_the_product_is_exact_at_its_largest():
    a = torch.full((1, 5000), -128, dtype=torch.int8)
    assert integer_product(a, a).item() == 5000 * 128 * 128


@given(st.lists(st.integers(-8, 7), min_size=2, max_size=40).filter(lambda x: len(x) % 2 == 0))
def test_packed_integers_come_back(numbers):
    values = torch.tensor(numbers, dtype=torch.int8).view(1, -1)
    packed = pack(values)
    assert packed.numel() * 2 == values.numel()
    assert torch.equal(unpack(packed), values)


@pytest.mark.parametrize("granularity", ["channel", "group"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_integers_are_those_of_torchao(granularity, symmetric):
    layout = IntegerFormat(symmetric=symmetric, granularity=granularity, group_size=8)
    x = torch.randn(6, 32, generator=torch.Generator().manual_seed(3))
    ours = quantize(x, layout)
    block = (1, 32 if granularity == "channel" else 8)
    theirs = quantize_affine(
        x, block, ours.scale.squeeze(-1), ours.zero_point.squeeze(-1), torch.int8, layout.lowest, layout.highest
    )
    assert (ours.values.int() - theirs.int()).abs().max() <= 1  # x·(1/s) against x/s can differ at a tie
    assert (ours.values != theirs).float().mean() < 0.01


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="between 2 and 8"):
        IntegerFormat(bits=16)
    with pytest.raises(ValueError, match="groups of 32"):
        quantize(torch.zeros(2, 20), IntegerFormat(granularity="group"))
    with pytest.raises(ValueError, match="not finite"):
        quantize(torch.tensor([[1.0, float("nan")]]), IntegerFormat())
    with pytest.raises(ValueError, match="pairs"):
        pack(torch.zeros(1, 3, dtype=torch.int8))

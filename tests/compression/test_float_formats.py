"""NF4, MXFP4 and FP8: the published values, the nearest of them, and the bits they take."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.compression.float_formats import e2m1_values, fp8, mxfp4, nf4, nf4_values

PUBLISHED = [
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
    *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
    *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
]
"""Dettmers et al. (2023), appendix E."""


def test_the_values_of_nf4_are_the_published_ones():
    torch.testing.assert_close(nf4_values(), torch.tensor(PUBLISHED), rtol=0, atol=1e-6)


def test_the_values_of_e2m1_are_those_of_its_bits():
    bits = [(-1) ** s * (2 ** (e - 1) * (1 + m / 2) if e else m / 2) for s in (0, 1) for e in range(4) for m in (0, 1)]
    assert sorted(set(bits)) == e2m1_values().tolist()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.floats(1e-3, 1e3))
def test_every_number_goes_to_the_nearest_value_of_its_block(seed, size):
    x = torch.randn(3, 128, generator=torch.Generator().manual_seed(seed)) * size
    for found in (nf4(x), mxfp4(x)):
        blocks = x.unflatten(-1, (-1, found.block))
        distance = (blocks[..., None] - found.values * found.scale[..., None, None].float()).abs()
        back = found.dequantize().unflatten(-1, (-1, found.block))
        torch.testing.assert_close((blocks - back).abs(), distance.amin(-1), rtol=1e-4, atol=1e-6 * size)


def test_scales_of_mxfp4_are_powers_of_two_that_use_the_whole_range():
    x = torch.randn(4, 64)
    found = mxfp4(x)
    exponent = found.scale.log2()
    assert exponent.equal(exponent.round())
    largest = x.unflatten(-1, (-1, 32)).abs().amax(-1) / found.scale
    assert ((largest >= 4) & (largest < 8)).all()
    assert mxfp4(torch.zeros(1, 32)).dequantize().eq(0).all()
    assert nf4(torch.zeros(1, 64)).dequantize().eq(0).all()


def test_bits_are_counted_with_the_scales():
    assert nf4(torch.randn(2, 128)).bits_per_number == 4.25
    assert mxfp4(torch.randn(2, 128)).bits_per_number == 4.25


def test_nf4_is_finer_than_integers_on_normal_numbers():
    from plm_core.compression.integers import IntegerFormat, quantize

    x = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
    integers = quantize(x, IntegerFormat(bits=4, granularity="group", group_size=64)).dequantize()
    assert (x - nf4(x).dequantize()).square().mean() < 0.9 * (x - integers).square().mean()


@pytest.mark.parametrize(("kind", "mantissa"), [("e4m3", 3), ("e5m2", 2)])
def test_fp8_errs_by_at_most_half_a_step(kind, mantissa):
    x = torch.randn(8, 256) * torch.logspace(-3, 3, 8)[:, None]
    values, scale = fp8(x, kind)
    error = (values.float() * scale - x).abs()
    largest = x.abs().amax(-1, keepdim=True)
    assert (error <= x.abs() * 2.0 ** -(mantissa + 1) + largest * 1e-4).all()
    assert values.element_size() == 1


def test_what_does_not_fit_is_refused():
    for method in (nf4, mxfp4):
        with pytest.raises(ValueError, match="cannot be cut into blocks"):
            method(torch.randn(2, 33))
        with pytest.raises(ValueError, match="not finite"):
            method(torch.full((1, 64), float("inf")))
    with pytest.raises(ValueError, match="unknown fp8"):
        fp8(torch.randn(2, 2), "e3m4")  # type: ignore[arg-type]

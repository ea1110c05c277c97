"""GPTQ against a direct solution, AWQ, SmoothQuant: what they promise, on small layers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import plm_core.compression.gptq
from plm_core.compression.awq import awq, scale_of, smoothing
from plm_core.compression.gptq import gptq, inverse_factor, output_error, round_blocks
from plm_core.compression.integers import IntegerFormat, quantize, round_to
from plm_core.compression.low_rank import input_moments
from plm_core.compression.structure import block_linears

FOUR, THREE = IntegerFormat(bits=4), IntegerFormat(bits=3, symmetric=False, granularity="group", group_size=8)


def example(seed: int, rows: int = 6, columns: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight and the moments of correlated inputs, some channels much larger than others."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    mixing = torch.randn(columns, columns, generator=generator, dtype=torch.double)
    x = torch.randn(400, columns, generator=generator, dtype=torch.double) @ mixing
    x *= torch.exp(torch.randn(columns, generator=generator, dtype=torch.double))
    return weight, x.T @ x / len(x)


def directly(weight: torch.Tensor, moments: torch.Tensor, layout: IntegerFormat, damping: float) -> torch.Tensor:
    """Round the columns in turn; after each one solve for the best values of all the others."""
    exact, h = weight.double(), moments + damping * moments.diagonal().mean() * torch.eye(len(moments))
    start, fixed = quantize(weight, layout), torch.zeros_like(exact)
    rest = exact.clone()
    for column in range(weight.shape[1]):
        rounded = round_to(rest[:, column : column + 1], start.scale.double(), start.zero_point, layout)
        fixed[:, column] = rounded.dequantize()[:, 0]
        f, r = slice(0, column + 1), slice(column + 1, None)
        error = exact[:, f] - fixed[:, f]
        rest[:, r] = exact[:, r] + error @ h[f, r] @ torch.linalg.inv(h[r, r])
    return fixed


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_gptq_equals_the_direct_solution(seed):
    weight, moments = example(seed)
    found = gptq(weight, moments, FOUR, damping=0.01)
    torch.testing.assert_close(found.dequantize().double(), directly(weight, moments, FOUR, 0.01), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", [FOUR, THREE])
@pytest.mark.parametrize("block", [1, 24])
def test_the_blocks_of_columns_do_not_matter(layout, block, monkeypatch):
    weight, moments = example(3, columns=32)
    at_once = gptq(weight, moments, layout)
    monkeypatch.setattr(plm_core.compression.gptq, "BLOCK", block)
    in_blocks = gptq(weight, moments, layout)
    assert in_blocks.values.equal(at_once.values)
    torch.testing.assert_close(in_blocks.scale, at_once.scale)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_factor_is_that_of_the_inverse(seed):
    _, moments = example(seed)
    factor = inverse_factor(moments, damping=0.01)
    damped = moments + 0.01 * moments.diagonal().mean() * torch.eye(len(moments))
    torch.testing.assert_close(factor.T @ factor @ damped, torch.eye(len(moments), dtype=torch.double))
    assert not factor.tril(-1).any()


@pytest.mark.parametrize("layout", [FOUR, THREE, IntegerFormat(bits=3, granularity="tensor")])
def test_errors_of_outputs_shrink_on_average(layout):
    ratios = []
    for seed in range(20):
        weight, moments = example(seed, rows=16, columns=32)
        plain = output_error(weight, quantize(weight, layout).dequantize(), moments)
        ratios.append(output_error(weight, gptq(weight, moments, layout).dequantize(), moments) / plain)
    assert torch.tensor(ratios).log().mean() < -0.3


def test_independent_inputs_leave_nothing_to_make_up_for():
    weight, _ = example(0)
    moments = torch.diag(torch.rand(16, dtype=torch.double) + 0.1)
    assert gptq(weight, moments, FOUR).values.equal(quantize(weight, FOUR).values)


def test_inputs_that_are_always_zero_disturb_nothing():
    weight, moments = example(1)
    moments[3], moments[:, 3] = 0, 0
    assert torch.isfinite(gptq(weight, moments, FOUR).dequantize()).all()


def test_integers_stay_in_their_range_and_groups_have_scales_of_their_own():
    weight, moments = example(2, columns=32)
    found = gptq(weight, moments, THREE)
    assert found.values.min() >= -4
    assert found.values.max() <= 3
    assert found.scale.shape == (6, 4, 1)
    assert len(found.scale.unique()) == 24


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_scaling_never_makes_the_output_worse(seed):
    weight, moments = example(seed)
    plain = output_error(weight, quantize(weight, FOUR).dequantize(), moments)
    found = awq(weight, moments, FOUR)
    assert output_error(weight, found.dequantize(), moments) <= plain * (1 + 1e-6)
    x = torch.randn(5, 16)
    torch.testing.assert_close((x / found.input_scale) @ found.weights.dequantize().T, x @ found.dequantize().T)


def test_a_channel_with_large_inputs_is_scaled_up():
    weight, moments = torch.randn(64, 16), torch.eye(16, dtype=torch.double)
    moments[5, 5] = 10_000
    found = awq(weight, moments, FOUR)
    assert found.exponent > 0
    assert found.input_scale.argmax() == 5
    assert scale_of(moments, 0.0).equal(torch.ones(16, dtype=torch.double))
    assert scale_of(moments, 0.5).log().mean().abs() < 1e-12


def test_smoothing_makes_channels_equal_at_full_strength_and_keeps_the_product():
    largest, weight = torch.tensor([100.0, 1.0, 0.0, 4.0]), torch.randn(3, 4)
    scale = smoothing(largest, weight, strength=1.0)
    torch.testing.assert_close((largest / scale)[[0, 1, 3]], torch.ones(3))
    assert scale[2] == 1
    x = torch.randn(2, 4)
    scale = smoothing(largest, weight)
    torch.testing.assert_close((x / scale) @ (weight * scale).T, x @ weight.T)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        smoothing(largest, weight, strength=2.0)


def test_a_model_is_rounded_layer_by_layer(gpt, ids):
    moments = input_moments(gpt, lambda model: model(ids))
    before = {name: layer.weight.detach().clone() for name, layer in block_linears(gpt).items()}
    layout = IntegerFormat(bits=4, granularity="channel")
    round_blocks(gpt, lambda weight, found: gptq(weight, found, layout).dequantize(), moments)
    for name, layer in block_linears(gpt).items():
        torch.testing.assert_close(layer.weight, gptq(before[name], moments[name], layout).dequantize())


def test_what_does_not_fit_is_refused():
    weight, moments = example(0)
    for method in (gptq, awq):
        with pytest.raises(ValueError, match="expected second moments"):
            method(weight, moments[:3, :3], FOUR)
    with pytest.raises(ValueError, match="square"):
        inverse_factor(moments[:3])
    moments[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        inverse_factor(moments)

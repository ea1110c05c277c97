"""Integer layers: bounds, ties, calibration, quantisation-aware training, and the model's interface."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.compression.calibration import calibrate, choose_range
from plm_core.compression.integers import IntegerFormat, quantize
from plm_core.compression.quantization_aware import finish, prepare, round_straight_through
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear, Range, error_bound, quantize_model
from plm_core.compression.quantized_tables import QuantizedEmbedding
from plm_core.compression.structure import linear_layers, stored_bytes
from plm_core.models.gpt import Gpt
from plm_core.objectives.causal_lm import CausalLM

FORMATS = [
    QuantizeConfig(activations="dynamic"),
    QuantizeConfig(granularity="tensor", activations="dynamic"),
    QuantizeConfig(),
    QuantizeConfig(bits=4, granularity="group", group_size=8),
    QuantizeConfig(bits=4),
]


@settings(max_examples=60, deadline=None)
@given(config=st.sampled_from(FORMATS), seed=st.integers(0, 10**6), columns=st.sampled_from([8, 32, 2048]))
def test_the_output_stays_within_the_bound(config, seed, columns):
    torch.manual_seed(seed)
    layer = nn.Linear(columns, 7).double()
    x = torch.randn(5, columns, dtype=torch.double) * torch.rand(columns, dtype=torch.double) * 10
    quantized = QuantizedLinear.of(layer, config)
    error = (quantized(x) - layer(x)).abs()
    assert (error <= error_bound(layer, x, quantized) * (1 + 1e-9) + 1e-12).all()


def test_static_ranges_stay_within_the_bound_where_nothing_is_clipped():
    torch.manual_seed(0)
    layer, x = nn.Linear(32, 7), torch.rand(20, 32) * 3 - 1
    chosen = choose_range(x.flatten(), method="minmax")
    quantized = QuantizedLinear.of(layer, QuantizeConfig(activations="static"), chosen)
    assert ((quantized(x) - layer(x)).abs() <= error_bound(layer, x, quantized) * (1 + 1e-4) + 1e-6).all()


def test_integer_inputs_and_weights_give_the_product_of_what_they_stand_for():
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 9).double(), torch.randn(4, 64, dtype=torch.double)
    quantized = QuantizedLinear.of(layer, QuantizeConfig(activations="dynamic"))
    expected = quantized.round_input(x).dequantize() @ quantized.weight.T + layer.bias
    torch.testing.assert_close(quantized(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_model_shrinks_to_its_integers_and_scales_and_still_speaks(gpt, ids, bits):
    before, bytes_before = gpt(ids), stored_bytes(gpt)
    layers = linear_layers(gpt).values()
    weights, rows = sum(layer.weight.numel() for layer in layers), sum(layer.out_features for layer in layers)
    table = gpt.embeddings.word_embeddings.weight
    quantize_model(gpt, QuantizeConfig(bits=bits))
    saved = weights * (4 - bits / 8) + table.numel() * 3
    assert stored_bytes(gpt) == bytes_before - saved + 4 * (rows + len(table))
    after = gpt(ids)
    assert after.shape == before.shape
    assert (after - before).abs().mean() < (0.05 if bits == 8 else 0.6) * before.abs().mean()


def test_the_tied_output_reads_the_table_once(bert, ids):
    quantize_model(bert, QuantizeConfig())
    table = bert.encoder.embeddings.word_embeddings
    assert isinstance(table, QuantizedEmbedding)
    logits = bert(ids, masked_positions=torch.ones_like(ids, dtype=torch.bool)).prediction_logits
    torch.testing.assert_close(bert.mlm_head.decoder.weight, table.weight)
    assert logits.shape == (ids.numel(), 40)
    assert not any("decoder.values" in name for name in bert.state_dict())


def test_a_cache_gives_what_a_full_pass_gives(gpt, ids):
    quantize_model(gpt.eval(), QuantizeConfig(activations="dynamic"))
    with torch.no_grad():
        full, cache = gpt(ids), gpt.new_cache()
        steps = torch.cat([gpt(ids[:, t : t + 1], cache=cache) for t in range(ids.shape[1])], dim=1)
    torch.testing.assert_close(steps, full, rtol=1e-4, atol=1e-4)


def test_calibration_reaches_every_layer_and_leaves_the_mode(gpt, ids):
    gpt.train()
    ranges = calibrate(gpt, lambda model: model(ids))
    assert ranges.keys() == linear_layers(gpt).keys()
    assert gpt.training
    quantize_model(gpt, QuantizeConfig(activations="static"), ranges=ranges)
    assert torch.isfinite(gpt(ids)).all()


def test_least_squares_beats_the_whole_range_on_an_outlier():
    values = torch.cat((torch.randn(400_000, generator=torch.Generator().manual_seed(0)), torch.tensor([20.0])))
    whole, best = choose_range(values, method="minmax"), choose_range(values, method="mse")
    narrow = choose_range(values, method="percentile", percentile=99.0)
    assert narrow.scale < best.scale < whole.scale


def test_the_gradient_goes_straight_through():
    x = torch.randn(3, 8, requires_grad=True)
    weight = torch.randn(3, 8)
    rounded = round_straight_through(x, IntegerFormat(bits=4))
    (rounded * weight).sum().backward()
    assert torch.equal(x.grad, weight)
    torch.testing.assert_close(rounded.detach(), quantize(x.detach(), IntegerFormat(bits=4)).dequantize())


def test_training_with_rounding_ends_in_the_model_it_saw(gpt, ids):
    config = QuantizeConfig(bits=4, embeddings=False)
    prepare(gpt, config)
    optimizer = torch.optim.SGD(gpt.parameters(), lr=0.1)
    labels = ids.roll(-1, dims=1)
    losses = []
    for _ in range(8):
        loss = CausalLM()(gpt, {"input_ids": ids, "labels": labels}).total / ids.numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    seen = gpt(ids)
    finish(gpt, config)
    assert isinstance(gpt.decoder.layers[0].attention.query, QuantizedLinear)
    torch.testing.assert_close(gpt(ids), seen, rtol=1e-4, atol=1e-4)


def test_bad_input_is_refused(gpt: Gpt, ids):
    with pytest.raises(ValueError, match="must be 4 or 8"):
        QuantizeConfig(bits=3)
    with pytest.raises(ValueError, match="integer activations"):
        QuantizeConfig(bits=4, activations="dynamic")
    with pytest.raises(ValueError, match="calibrate first"):
        quantize_model(gpt, QuantizeConfig(activations="static"))
    with pytest.raises(ValueError, match="`choose` takes none"):
        quantize_model(gpt, QuantizeConfig(), choose=lambda name, layer: False)
    with pytest.raises(ValueError, match="no input reached"):
        calibrate(gpt, lambda model: None)
    with pytest.raises(ValueError, match="unknown calibration"):
        choose_range(torch.ones(3), method="guess")
    with pytest.raises(ValueError, match="was prepared"):
        finish(gpt, QuantizeConfig())
    assert Range(1.0, 0).zero_point == 0

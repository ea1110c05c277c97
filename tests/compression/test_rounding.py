"""Integer layers of a whole model by GPTQ and AWQ, and scales of 16 bits: what is computed, stored and read back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from plm_core.compression.awq import awq
from plm_core.compression.gptq import gptq, round_blocks
from plm_core.compression.integers import HALF, IntegerFormat, quantize
from plm_core.compression.low_rank import input_moments
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear, error_bound, plain_weights, quantize_model
from plm_core.compression.quantized_tables import QuantizedEmbedding
from plm_core.compression.rounding import quantize_by_inputs
from plm_core.compression.saved import describe, load_compressed, rebuild, save_compressed
from plm_core.compression.structure import linear_layers, stored_bytes

GROUPS = QuantizeConfig(bits=4, granularity="group", group_size=8, embeddings=False)
FORMATS = [GROUPS, QuantizeConfig(bits=4, embeddings=False), GROUPS.replace(scale_bits=16)]
ROUNDERS = {"gptq": gptq, "awq": awq}


def moments_of(model, ids):
    """Second moments of the layers' inputs, some channels of which are much larger than others."""
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(torch.linspace(0, 2, 32).exp())
    return input_moments(model, lambda each: each(ids))


@pytest.mark.parametrize("config", FORMATS)
@pytest.mark.parametrize("rounding", ROUNDERS)
def test_an_integer_model_computes_what_the_rounded_weights_compute(gpt, ids, config, rounding):
    moments, rounded = moments_of(gpt.eval(), ids), copy.deepcopy(gpt)
    round_blocks(rounded, lambda w, found: ROUNDERS[rounding](w, found, config.weights).dequantize(), moments)
    quantize_by_inputs(gpt, config, moments, rounding=rounding)
    assert sum(isinstance(module, QuantizedLinear) for module in gpt.modules()) == 12
    with torch.no_grad():
        torch.testing.assert_close(gpt(ids), rounded(ids), rtol=0, atol=1e-5)
        plain_weights(gpt)  # the weights of an exported model
        torch.testing.assert_close(gpt(ids), rounded(ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [*FORMATS, QuantizeConfig(scale_bits=16)])
@pytest.mark.parametrize("rounding", ROUNDERS)
def test_it_comes_back_from_the_disk_to_the_bit(gpt, ids, config, rounding, tmp_path):
    quantize_by_inputs(gpt.eval(), config, moments_of(gpt, ids), rounding=rounding)
    save_compressed(gpt, tmp_path)
    again = type(gpt)(gpt.config).eval()
    load_compressed(again, tmp_path)
    assert describe(again) == describe(gpt)
    ours, theirs = gpt.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert any(name.endswith("channel_scale") for name in ours) == (rounding == "awq")
    for name, tensor in ours.items():
        assert theirs[name].dtype == tensor.dtype, name
        assert torch.equal(theirs[name], tensor), name
    with torch.no_grad():
        assert torch.equal(again(ids), gpt(ids))


def test_the_scales_of_awq_divide_the_inputs(gpt, ids):
    moments = moments_of(gpt.eval(), ids)
    name, layer = next(iter(linear_layers(gpt).items()))
    found = awq(layer.weight, moments[name], GROUPS.weights)
    assert found.exponent > 0
    made = QuantizedLinear.from_integers(found.weights, layer.bias, GROUPS, channel_scale=found.input_scale)
    x = torch.randn(5, 32)
    divided = (x / found.input_scale) @ found.weights.dequantize().T
    torch.testing.assert_close(made(x), divided if layer.bias is None else divided + layer.bias)


def test_gptq_rounds_eight_bits_for_integer_activations(gpt, ids):
    moments, config = moments_of(gpt.eval(), ids), QuantizeConfig(activations="dynamic", embeddings=False)
    name, layer = next(iter(linear_layers(gpt).items()))
    expected = gptq(layer.weight, moments[name], config.weights)
    quantize_by_inputs(gpt, config, moments, rounding="gptq")
    assert torch.equal(gpt.get_submodule(name).values, expected.values)
    assert torch.isfinite(gpt(ids)).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_scales_of_16_bits_halve_the_bytes_of_scales_and_nothing_else(gpt, bits):
    wide, narrow = copy.deepcopy(gpt), gpt
    config = QuantizeConfig(bits=bits, granularity="group", group_size=8)
    quantize_model(wide, config)
    quantize_model(narrow, config.replace(scale_bits=16))
    scales = sum(tensor.numel() for name, tensor in wide.state_dict().items() if name.endswith("scale"))
    weights = sum(layer.weight.numel() for layer in wide.modules() if isinstance(layer, QuantizedLinear))
    assert scales == weights // 8 + wide.config.vocab_size
    assert stored_bytes(wide) - stored_bytes(narrow) == 2 * scales


@pytest.mark.parametrize("bits", [8, 4])
def test_a_16_bit_scale_is_rounded_before_the_weights_so_that_the_bound_holds(bits):
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 16), torch.randn(20, 64)
    with torch.no_grad():
        layer.weight.mul_(torch.linspace(-12, 8, 16).exp()[:, None])  # some rows lie below the range of fp16
    layer.weight.data[3] = 0
    made = QuantizedLinear.of(layer, QuantizeConfig(bits=bits, scale_bits=16))
    assert made.scale.dtype == torch.float16
    assert made.scale.min() == HALF.tiny
    assert ((made(x) - layer(x)).abs() <= error_bound(layer, x, made) * (1 + 1e-4) + 1e-6).all()
    assert torch.equal(made.weight[3], torch.zeros(64))


def test_what_is_stored_without_a_choice_is_what_was_stored_before_there_was_one(gpt):
    quantize_model(gpt, QuantizeConfig(bits=4))
    entries = describe(gpt)
    assert entries["decoder.layers.0.feed_forward.up"] == {
        "kind": "quantized_linear",
        "in_features": 32,
        "out_features": 48,
        "bias": True,
        "config": {"bits": 4, "granularity": "channel", "group_size": 32, "activations": "none", "embeddings": True},
    }
    assert entries["embeddings.word_embeddings"] == {
        "kind": "quantized_embedding",
        "num_embeddings": 40,
        "embedding_dim": 32,
    }


def test_a_table_with_16_bit_scales_reads_its_rows(gpt, ids):
    table = gpt.embeddings.word_embeddings
    made = QuantizedEmbedding.of(table, scale_bits=16)
    assert made(ids).dtype == torch.float32
    torch.testing.assert_close(made(ids), made.weight[ids], rtol=0, atol=0)
    assert ((made.weight - table.weight).abs() <= made.scale.float() / 2 * (1 + 1e-6)).all()


def test_a_group_of_zeros_stays_zero_in_gptq():
    weight, x = torch.randn(4, 16), torch.randn(50, 16, dtype=torch.double)
    weight[:, 8:] = 0
    x[:, 8:] = 0  # so that nothing has to be made up for there
    layout = IntegerFormat(bits=4, granularity="group", group_size=8)
    found = gptq(weight, x.T @ x / 50, layout)
    assert not found.values[:, 8:].any()
    assert (found.scale > 0).all()


def test_what_does_not_fit_is_refused(gpt, ids):
    moments = moments_of(gpt.eval(), ids)
    name, layer = next(iter(linear_layers(gpt).items()))
    with pytest.raises(ValueError, match="the layer's is"):
        QuantizedLinear.from_integers(quantize(layer.weight, IntegerFormat(bits=8)), None, GROUPS)
    with pytest.raises(ValueError, match="activations='none'"):
        quantize_by_inputs(gpt, QuantizeConfig(activations="dynamic"), moments, rounding="awq")
    with pytest.raises(ValueError, match="use scale_bits=32"):
        quantize(torch.tensor([[1e7, 1.0]]), IntegerFormat(bits=4, scale_bits=16))
    with pytest.raises(ValueError, match="expected one of 16, 32"):
        QuantizeConfig(scale_bits=8)
    with pytest.raises(ValueError, match=f"no input reached {name}"):
        quantize_by_inputs(gpt, GROUPS, {}, rounding="gptq")
    for entry, message in (({"scaled_inputs": 1}, "must be true or false"), ({"scale_bits": 8}, "must be 16 or 32")):
        with pytest.raises(ValueError, match=message):
            rebuild(gpt, {name: {"kind": "quantized_linear", **entry}})

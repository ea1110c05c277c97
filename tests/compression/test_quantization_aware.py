"""Training with rounding to formats that no integer layer has: what is judged in floats is what was trained."""

import pytest
import torch
from torch import nn

from plm_core.compression.integers import IntegerFormat, quantize
from plm_core.compression.quantization_aware import RoundedLinear, finish_in_floats, prepare
from plm_core.compression.structure import block_linears, linear_layers
from plm_core.objectives.causal_lm import CausalLM

TWO = IntegerFormat(bits=2, symmetric=False, granularity="group", group_size=8)


def test_training_at_two_bits_ends_in_floats_that_two_bits_can_hold(gpt, ids):
    before = set(linear_layers(gpt))
    prepare(gpt, TWO)
    optimizer = torch.optim.SGD(gpt.parameters(), lr=0.1)
    for _ in range(8):
        loss = CausalLM()(gpt, {"input_ids": ids, "labels": ids.roll(-1, dims=1)}).total / ids.numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen = gpt(ids)
    finish_in_floats(gpt)
    torch.testing.assert_close(gpt(ids), seen)
    assert set(linear_layers(gpt)) == before
    for layer in linear_layers(gpt).values():
        groups = layer.weight.detach().unflatten(-1, (-1, 8))
        assert all(len(group.unique()) <= 4 for row in groups for group in row)


def test_only_chosen_layers_round(gpt):
    kept = gpt.get_submodule(next(iter(block_linears(gpt)))).weight.detach().clone()
    first, *others = linear_layers(gpt)
    prepare(gpt, TWO, choose=lambda name, layer: name != first)
    assert type(gpt.get_submodule(first)) is nn.Linear
    assert all(isinstance(gpt.get_submodule(name), RoundedLinear) for name in others)
    weight = gpt.get_submodule(others[0]).weight.detach().clone()
    finish_in_floats(gpt)
    assert gpt.get_submodule(first).weight.equal(kept)
    torch.testing.assert_close(gpt.get_submodule(others[0]).weight, quantize(weight, TWO).dequantize())


def test_a_model_that_was_not_prepared_is_refused(gpt):
    with pytest.raises(ValueError, match="was prepared"):
        finish_in_floats(gpt)

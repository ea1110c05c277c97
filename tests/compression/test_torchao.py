"""The taught integers are torchao's: the same numbers up to a step, the same products, the same 2:4 pattern."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchao.quantization import (
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    PerGroup,
    quantize_,
)
from torchao.sparsity.utils import mask_creator

from plm_core.compression.prune import choose_masks, magnitude_scores
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear, error_bound, quantize_model
from plm_core.compression.structure import linear_layers
from plm_core.models.gpt import Gpt, GptConfig

THEIRS = {
    "int8": Int8WeightOnlyConfig(set_inductor_config=False),
    "int8 dynamic": Int8DynamicActivationInt8WeightConfig(set_inductor_config=False),
    "int4 groups": IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32)),
}
OURS = {
    "int8": QuantizeConfig(embeddings=False),
    "int8 dynamic": QuantizeConfig(activations="dynamic", embeddings=False),
    "int4 groups": QuantizeConfig(bits=4, granularity="group", group_size=32, embeddings=False),
}


def by_torchao(module: nn.Module, kind: str) -> nn.Module:
    """A copy of a module, or of a layer in one, with torchao's integers."""
    wrapped = nn.Sequential(copy.deepcopy(module))
    quantize_(wrapped, THEIRS[kind], filter_fn=lambda layer, name: name.removeprefix("0.") in names(module))
    return wrapped[0]


def names(module: nn.Module) -> set[str]:
    return {"0"} if isinstance(module, nn.Linear) else set(linear_layers(module))


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(96, 40)
    with torch.no_grad():
        layer.weight[3] *= 20  # a row that a scale for all rows would favour
    return layer


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(17, 96, generator=torch.Generator().manual_seed(1)) * torch.logspace(-1, 1, 17)[:, None]


@pytest.mark.parametrize("kind", THEIRS)
def test_integers_agree_up_to_a_step(kind, layer):
    """torchao divides the largest weight by 127.5 (7.5 of four bits), this library by 127 (7), the largest integer."""
    ours, theirs = QuantizedLinear.of(layer, OURS[kind]), by_torchao(layer, kind).weight
    steps = (ours.weights.values.int() - theirs.qdata.int()).abs()
    assert steps.max() <= 1
    assert (steps == 0).float().mean() > 0.6
    highest = ours.config.weights.highest
    torch.testing.assert_close(theirs.scale * (highest + 0.5) / highest, ours.scale.view_as(theirs.scale))
    for weight, scale in ((ours.weight, ours.scale), (theirs.dequantize(), theirs.scale)):
        groups = (weight - layer.weight).abs().view(40, -1, 96 if scale.numel() == 40 else 32)
        assert (groups <= scale.view(40, -1, 1) / 2 * (1 + 1e-4)).all()


@pytest.mark.parametrize("kind", THEIRS)
def test_outputs_lie_within_the_stated_bound_of_each_other(kind, layer, x):
    ours = QuantizedLinear.of(layer, OURS[kind])
    bound = error_bound(layer, x, ours) * (1 + 1e-4) + 1e-4
    exact, theirs = layer(x), by_torchao(layer, kind)(x)
    assert ((ours(x) - exact).abs() <= bound).all()
    assert ((theirs - exact).abs() <= bound).all()  # its steps are a little shorter than ours
    assert (theirs - exact).abs().max() > 0


def test_the_exact_product_is_that_of_the_integer_kernel(layer):
    """With torchao's integers in our layer, and inputs that both round alike, nothing is left to differ in."""
    theirs = by_torchao(layer, "int8 dynamic")
    ours = QuantizedLinear.of(layer, OURS["int8 dynamic"])
    ours.values, ours.scale = theirs.weight.qdata, theirs.weight.scale
    whole = torch.randint(-126, 127, (9, 96), generator=torch.Generator().manual_seed(2)).float()
    whole[:, 0] = 127.0
    whole[:, 1] = -127.0
    expected = whole @ ours.weights.dequantize().T + layer.bias
    torch.testing.assert_close(ours(whole), expected, rtol=1e-5, atol=1e-3)
    # a step of 127 / 127.5 rounds these integers, up to 127, to themselves or one further; the product shows no more
    step = 127 / 127.5
    rounded = (whole / step).round().clamp(-128, 127) * step
    torch.testing.assert_close(theirs(whole), rounded @ ours.weights.dequantize().T + layer.bias, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("kind", THEIRS)
def test_a_whole_model_says_the_same(kind, ids):
    torch.manual_seed(0)
    shape = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    gpt = Gpt(GptConfig(**shape, initializer_range=0.2)).eval()
    exact = gpt(ids)
    theirs = by_torchao(gpt, kind)(ids)
    ours = copy.deepcopy(gpt)
    quantize_model(ours, OURS[kind])
    error = (theirs - exact).square().mean().sqrt()
    assert 0 < (ours(ids) - exact).square().mean().sqrt() < 1.5 * error
    assert (ours(ids) - theirs).square().mean().sqrt() < 2 * error
    assert error < (0.25 if "int4" in kind else 0.05) * exact.square().mean().sqrt()


def test_two_of_four_are_those_that_torchao_keeps(gpt: Gpt):
    masks = choose_masks(magnitude_scores(gpt), 0.5, scope="2:4")
    assert masks
    for name, mask in masks.items():
        assert torch.equal(mask, mask_creator(gpt.get_submodule(name).weight, N=2, M=4).bool()), name

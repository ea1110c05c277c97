"""LoRA: exact when merged, silent when added, trained alone, stored alone, and never in effect twice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from plm_core.models.classifier import BertClassifier
from plm_core.models.heads import SequenceClassifier
from plm_core.models.lora import LoraConfig, LoraLinear, add_lora, load_lora, lora_layers, merge_lora, save_lora
from plm_core.training.optim import decay_groups
from plm_core.weights import check_ties, save_weights
from tests.models.small_models import bert, gpt

CONFIG = LoraConfig(rank=3, alpha=6.0, targets=("query", "value", "down"))
IDS = torch.arange(12).view(2, 6) % 50


def classifier(**changes) -> BertClassifier:
    torch.manual_seed(0)
    return BertClassifier.from_pretrained(bert(**changes), 3).eval()


def trained_by_chance(model: nn.Module, seed: int = 1) -> nn.Module:
    """Updates and classifier as after training: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


def test_an_update_is_worked_out_by_hand():
    base = nn.Linear(2, 2)
    layer = LoraLinear(base, LoraConfig(rank=1, alpha=3.0))
    with torch.no_grad():
        base.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        base.bias.copy_(torch.tensor([0.5, -0.5]))
        layer.A.copy_(torch.tensor([[1.0, -1.0]]))
        layer.B.copy_(torch.tensor([[2.0], [0.0]]))
    x = torch.tensor([[3.0, 1.0]])
    # W·x + b = (5.5, 12.5); A·x = 2; B·2 = (4, 0); times alpha / r = 3
    assert torch.equal(layer(x), torch.tensor([[17.5, 12.5]]))
    assert torch.equal(layer.merged().weight, torch.tensor([[7.0, -4.0], [3.0, 4.0]]))
    assert torch.equal(layer.merged()(x), torch.tensor([[17.5, 12.5]]))


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.integers(1, 7), st.integers(1, 9), st.floats(0.5, 32.0), st.booleans(), st.booleans())
def test_merging_changes_no_output(seed, inputs, outputs, alpha, bias, single):
    torch.manual_seed(seed)
    dtype = torch.float32 if single else torch.float64
    config = LoraConfig(rank=min(inputs, outputs, 4), alpha=alpha)
    layer = LoraLinear(nn.Linear(inputs, outputs, bias=bias, dtype=dtype), config)
    nn.init.normal_(layer.B, std=0.1)
    x = torch.randn(5, inputs, dtype=dtype)
    merged = layer.merged()
    assert merged.weight.dtype == dtype
    size = float(x.norm(dim=1).max() * merged.weight.detach().norm()) + 1
    assert float((merged(x) - layer(x)).detach().abs().max()) <= size * (1e-6 if single else 1e-14)


@pytest.mark.parametrize("make", [classifier, lambda: gpt().eval()], ids=["bert", "gpt"])
def test_a_model_starts_as_the_pretrained_one_and_merges_into_a_plain_one(make):
    torch.manual_seed(0)
    model = make()
    before, names = model(IDS), list(model.state_dict())
    add_lora(model, CONFIG)
    assert torch.equal(model(IDS), before)
    trained_by_chance(model)
    updated = model(IDS)
    assert not torch.allclose(updated, before, atol=1e-2)
    assert merge_lora(model) == 6
    merged = model(IDS)
    torch.testing.assert_close(merged, updated, rtol=1e-5, atol=1e-6 * float(updated.abs().max()))
    assert list(model.state_dict()) == names
    assert all(type(module) is not LoraLinear for module in model.modules())
    assert merge_lora(model) == 0
    assert torch.equal(model(IDS), merged)
    check_ties(model)


def test_in_double_precision_a_merged_model_is_the_same_to_1e_12():
    model = classifier().double()
    add_lora(model, CONFIG)
    updated = trained_by_chance(model)(IDS)
    merge_lora(model)
    torch.testing.assert_close(model(IDS), updated, rtol=0, atol=1e-12)


def test_gradients_reach_the_updates_and_the_classifier_only():
    model = classifier()
    add_lora(model, CONFIG)
    trained_by_chance(model)(IDS).square().sum().backward()
    expected = {f"{name}.{part}" for name in lora_layers(model) for part in "AB"}
    expected |= {"classifier.weight", "classifier.bias"}
    assert {name for name, p in model.named_parameters() if p.grad is not None} == expected
    assert {name for name, p in model.named_parameters() if p.requires_grad} == expected
    assert sum(len(group["params"]) for group in decay_groups(model, 0.1)) == len(expected)
    assert all(p.grad.abs().max() > 0 for p in model.parameters() if p.grad is not None)


def test_the_gradients_are_those_of_the_full_weight_through_the_chain_rule():
    """With W' = W + s·B·A: dL/dB = s·(dL/dW')·Aᵀ and dL/dA = s·Bᵀ·(dL/dW')."""
    torch.manual_seed(0)
    layer, x = LoraLinear(nn.Linear(5, 4).double(), LoraConfig(rank=2)), torch.randn(7, 5).double()
    nn.init.normal_(layer.B)
    layer(x).square().sum().backward()
    full = layer.merged().requires_grad_(True)
    full(x).square().sum().backward()
    torch.testing.assert_close(layer.B.grad, layer.scale * full.weight.grad @ layer.A.T)
    torch.testing.assert_close(layer.A.grad, layer.scale * layer.B.T @ full.weight.grad)


def test_the_file_holds_the_small_part_alone_and_restores_the_model(tmp_path):
    model = classifier()
    add_lora(model, CONFIG)
    trained_by_chance(model)
    save_lora(model, tmp_path / "lora.safetensors", CONFIG)
    stored = load_file(tmp_path / "lora.safetensors")
    expected = {f"{name}.{part}" for name in lora_layers(model) for part in "AB"}
    assert stored.keys() == expected | {"classifier.weight", "classifier.bias"}
    save_weights(classifier(), tmp_path / "all.safetensors")
    whole = load_file(tmp_path / "all.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) < 0.2 * sum(tensor.numel() for tensor in whole.values())

    again = classifier()  # the same pretrained weights, a classifier of other initial weights
    with torch.no_grad():
        again.classifier.weight.normal_()
    assert load_lora(again, tmp_path / "lora.safetensors") == CONFIG
    assert torch.equal(again(IDS), model(IDS))


def test_an_update_never_takes_effect_twice(tmp_path):
    model = classifier()
    add_lora(model, CONFIG)
    save_lora(trained_by_chance(model), tmp_path / "lora.safetensors", CONFIG)
    with pytest.raises(ValueError, match="LoRA layers already: merge them"):
        add_lora(model, CONFIG)
    merge_lora(model)
    merged, weights = model(IDS), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="a second time would double it"):
        load_lora(model, tmp_path / "lora.safetensors")
    assert torch.equal(model(IDS), merged)
    assert model.state_dict().keys() == weights.keys()
    with pytest.raises(ValueError, match="no LoRA layers: it was merged"):
        save_lora(model, tmp_path / "again.safetensors", CONFIG)


def test_an_update_of_other_weights_or_another_shape_is_refused(tmp_path):
    model = classifier()
    add_lora(model, CONFIG)
    save_lora(model, tmp_path / "lora.safetensors", CONFIG)
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="trained on other weights than this model has"):
        load_lora(BertClassifier.from_pretrained(bert(), 3), tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="do not fit BertClassifier; missing"):
        load_lora(classifier(num_hidden_layers=3), tmp_path / "lora.safetensors")
    save_weights(classifier(), tmp_path / "all.safetensors")
    with pytest.raises(ValueError, match="holds 'weights of a whole model', expected 'lora'"):
        load_lora(classifier(), tmp_path / "all.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no file")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_lora(classifier(), tmp_path / "bad.safetensors")
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        load_lora(classifier(), tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="the model's LoRA layers are not those of"):
        save_lora(model, tmp_path / "lora.safetensors", CONFIG.replace(alpha=3.0))


def test_what_is_trained_whole_is_chosen(tmp_path):
    model = SequenceClassifier.from_pretrained(gpt(), 3).eval()
    config = LoraConfig(rank=2, modules_to_save=("classifier", "encoder.decoder.final_norm"))
    add_lora(model, config)
    names = {name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert names == {*lora_layers(model), "classifier", "encoder.decoder.final_norm"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ("querry",)}, "no linear layer 'querry' for LoRA: its linear layers are called dense, down, key"),
        ({"targets": ()}, "targets is empty"),
        ({"rank": 0}, "rank must be positive"),
        ({"rank": 33}, "rank 33 is above what a layer 32x32 has: at most 32"),
        ({"modules_to_save": ("head",)}, "has no module 'head' to train: its parts are encoder, pooler"),
        ({"targets": ("classifier",), "modules_to_save": None}, "no linear layer 'classifier'"),
        ({"dropout": 1.0}, "dropout is a probability"),
    ],
)
def test_impossible_settings_leave_the_model_as_it_was(changes, message):
    model = classifier()
    before, trainable = model(IDS), [p.requires_grad for p in model.parameters()]
    with pytest.raises(ValueError, match=message):
        add_lora(model, LoraConfig(**changes))
    assert torch.equal(model(IDS), before)
    assert [p.requires_grad for p in model.parameters()] == trainable
    assert not lora_layers(model)


def test_dropout_acts_on_the_update_in_training_alone():
    torch.manual_seed(0)
    layer, x = LoraLinear(nn.Linear(8, 8), LoraConfig(rank=2, dropout=0.5)), torch.randn(4, 8)
    assert torch.equal(layer(x), layer.base(x))  # B is zero: nothing to be seen of it
    nn.init.normal_(layer.B)
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))

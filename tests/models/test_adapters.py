"""Adapters: silent at first, trained alone with the norms, stored alone, and gone when they are taken out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from plm_core.models.adapters import (
    Adapter,
    AdapterConfig,
    adapters,
    add_adapters,
    load_adapters,
    remove_adapters,
    save_adapters,
)
from plm_core.models.classifier import BertClassifier
from plm_core.models.heads import TokenClassifier
from plm_core.models.lora import LoraConfig, add_lora, save_lora
from plm_core.training.optim import layer_depths
from tests.models.small_models import bert, gpt

CONFIG = AdapterConfig(bottleneck=5)
IDS = torch.arange(12).view(2, 6) % 50


def classifier(**changes) -> BertClassifier:
    torch.manual_seed(0)
    return BertClassifier.from_pretrained(bert(**changes), 3).eval()


def trained_by_chance(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def test_an_adapter_is_worked_out_by_hand():
    adapter = Adapter(2, 1, activation="relu")
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, 2.0]]))
        adapter.down.bias.fill_(-1.0)
        adapter.up.weight.copy_(torch.tensor([[3.0], [0.5]]))
        adapter.up.bias.copy_(torch.tensor([0.0, 1.0]))
    # (1, 1): down gives 2, kept; (-1, 0): down gives -2, cut to 0
    expected = torch.tensor([[1 + 6.0, 1 + 1 + 1.0], [-1.0, 0 + 1.0]])
    assert torch.equal(adapter(torch.tensor([[1.0, 1.0], [-1.0, 0.0]])), expected)


@pytest.mark.parametrize("make", [classifier, lambda: TokenClassifier.from_pretrained(gpt(), 3)], ids=["bert", "gpt"])
def test_a_model_starts_as_the_pretrained_one_and_adapters_can_be_taken_out(make):
    torch.manual_seed(0)
    model = make().eval()
    before, names = model(IDS), list(model.state_dict())
    add_adapters(model, CONFIG.replace(train_norms=False, modules_to_save=()))
    assert torch.equal(model(IDS), before)
    assert len(adapters(model)) == 4
    trained_by_chance(model)
    assert not torch.allclose(model(IDS), before, atol=1e-2)
    remove_adapters(model)
    assert torch.equal(model(IDS), before)
    assert list(model.state_dict()) == names


def test_the_initial_weights_are_those_of_the_paper_but_for_up_which_is_zero():
    torch.manual_seed(0)
    adapter = Adapter(400, 50)
    weight = adapter.down.weight.detach()
    assert weight.abs().max() <= 0.02
    # a normal distribution cut at two standard deviations has 0.88 of the deviation; 20,000 weights
    assert weight.std().item() == pytest.approx(0.0088, rel=0.02)
    for zero in (adapter.up.weight, adapter.up.bias, adapter.down.bias):
        assert not zero.any()


def test_a_block_with_adapters_equals_torchs_layer_with_the_same_functions():
    """One post-norm block, written out with torch's own functions."""
    torch.manual_seed(0)
    model = classifier(num_hidden_layers=1)
    add_adapters(model, CONFIG)
    trained_by_chance(model)
    block = model.encoder.stack.layers[0]
    x = torch.randn(2, 6, 32)

    def adapted(layer, h):
        h = F.linear(h, layer.base.weight, layer.base.bias)
        inner = F.gelu(F.linear(h, layer.adapter.down.weight, layer.adapter.down.bias))
        return h + F.linear(inner, layer.adapter.up.weight, layer.adapter.up.bias)

    def normed(norm, h):
        return F.layer_norm(h, (32,), norm.weight, norm.bias, norm.eps)

    attention = block.attention
    q, k, v = (
        part(x).unflatten(-1, (4, 8)).transpose(1, 2) for part in (attention.query, attention.key, attention.value)
    )
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    middle = normed(block.attention_norm, x + adapted(attention.output, mixed))
    up = F.gelu(block.feed_forward.up(middle))
    expected = normed(block.feed_forward_norm, middle + adapted(block.feed_forward.down, up))
    torch.testing.assert_close(block(x)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("norms", "branches"), [(True, ("attention", "feed_forward")), (False, ("feed_forward",))])
def test_gradients_reach_adapters_norms_and_the_classifier_only(norms, branches):
    model = classifier()
    add_adapters(model, CONFIG.replace(train_norms=norms, branches=branches))
    trained_by_chance(model)(IDS).square().sum().backward()
    found = {name for name, p in model.named_parameters() if p.grad is not None}
    assert found == {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.partition(".")[0] for name in found} == {"encoder", "classifier"}
    inside = {name.rpartition(".")[0].partition("layers.")[2].partition(".")[2] for name in found} - {""}
    places = {"attention": "attention.output", "feed_forward": "feed_forward.down"}
    expected = {f"{places[branch]}.adapter.{layer}" for branch in branches for layer in ("down", "up")}
    assert inside == expected | ({"attention_norm", "feed_forward_norm"} if norms else set())


def test_each_adapter_belongs_to_the_depth_of_its_block():
    model = classifier()
    add_adapters(model, CONFIG)
    depths = layer_depths(model)
    assert {depths[name] for name in depths if ".layers.1." in name and "adapter" in name} == {2}


def test_the_file_holds_the_small_part_alone_and_restores_the_model(tmp_path):
    model = classifier()
    add_adapters(model, CONFIG)
    trained_by_chance(model)
    save_adapters(model, tmp_path / "a.safetensors", CONFIG)
    stored = load_file(tmp_path / "a.safetensors")
    assert all("adapter" in name or "norm" in name or name.startswith("classifier") for name in stored)
    assert sum(tensor.numel() for tensor in stored.values()) < 0.2 * sum(p.numel() for p in model.parameters())
    again = classifier()
    with torch.no_grad():
        again.classifier.weight.normal_()
        again.encoder.stack.layers[0].attention_norm.weight.normal_()  # trained anew, so it may differ
    assert load_adapters(again, tmp_path / "a.safetensors") == CONFIG
    assert torch.equal(again(IDS), model(IDS))
    with torch.no_grad():
        remove_adapters(again)
        again.encoder.embeddings.word_embeddings.weight[0] += 1
    before = again(IDS)
    with pytest.raises(ValueError, match="trained on other weights than this model has"):
        load_adapters(again, tmp_path / "a.safetensors")
    assert torch.equal(again(IDS), before)
    assert not adapters(again)


def test_files_and_settings_that_do_not_fit_are_refused(tmp_path):
    model = classifier()
    with pytest.raises(ValueError, match="the model has no adapters"):
        save_adapters(model, tmp_path / "a.safetensors", CONFIG)
    add_lora(model, LoraConfig(rank=2))
    save_lora(model, tmp_path / "lora.safetensors", LoraConfig(rank=2))
    with pytest.raises(ValueError, match="holds 'lora', expected 'adapters'"):
        load_adapters(classifier(), tmp_path / "lora.safetensors")
    model = classifier()
    add_adapters(model, CONFIG)
    with pytest.raises(ValueError, match="the model has adapters already"):
        add_adapters(model, CONFIG)
    with pytest.raises(ValueError, match="the model's adapters are not those of"):
        save_adapters(model, tmp_path / "a.safetensors", CONFIG.replace(bottleneck=4))
    with pytest.raises(ValueError, match="Linear has none"):
        add_adapters(nn.Linear(2, 2), CONFIG)
    fresh = classifier()
    with pytest.raises(ValueError, match="no module 'head' to train"):
        add_adapters(fresh, CONFIG.replace(modules_to_save=("head",)))
    assert all(p.requires_grad for p in fresh.parameters())
    for changes, message in (
        ({"bottleneck": 0}, "bottleneck must be positive"),
        ({"activation": "swiglu"}, "is gated: use 'gelu'"),
        ({"branches": ()}, "branches is empty"),
        ({"branches": ("atention",)}, "did you mean 'attention'"),
    ):
        with pytest.raises(ValueError, match=message):
            AdapterConfig(**changes)

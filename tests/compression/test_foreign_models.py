"""Any model with linear layers in a list of blocks can be treated, not only our own."""

import copy

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from plm_core.compression.gptq import gptq, round_blocks
from plm_core.compression.integers import IntegerFormat
from plm_core.compression.low_rank import LowRankLinear, factorise_model, input_means, input_moments
from plm_core.compression.one_shot import wanda
from plm_core.compression.prune import apply_masks, choose_masks, magnitude_scores, sparsity
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear, quantize_model
from plm_core.compression.structure import block_linears, find_block_linears


@pytest.fixture
def theirs() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    return BertModel(config).eval()


def read(model: nn.Module) -> torch.Tensor:
    ids = torch.randint(0, 50, (3, 10), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(10) < torch.tensor([10, 6, 3])[:, None]).long()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).last_hidden_state


def test_blocks_are_found_and_the_pooler_is_left_alone(theirs):
    assert len(block_linears(theirs)) == 2 * 6
    assert not any("pooler" in name for name in block_linears(theirs))
    assert find_block_linears(nn.ModuleDict({"one": nn.Linear(2, 2)})) == {}


def test_pruning_rounding_and_factorising_change_little(theirs):
    before = read(theirs)
    moments, means = input_moments(theirs, read), input_means(theirs, read)
    layout = IntegerFormat(bits=4, granularity="group", group_size=16)
    ways = {
        "magnitude": lambda model: apply_masks(model, choose_masks(magnitude_scores(model), 0.3)),
        "wanda": lambda model: apply_masks(model, wanda(model, moments, 0.3)),
        "gptq": lambda model: round_blocks(model, lambda w, s: gptq(w, s, layout).dequantize(), moments),
        "low rank": lambda model: factorise_model(model, 0.5, moments=moments, means=means),
        "integers": lambda model: quantize_model(model, QuantizeConfig(embeddings=False)),
    }
    for name, way in ways.items():
        model = copy.deepcopy(theirs)
        way(model)
        change = (read(model) - before).norm() / before.norm()
        assert 0 < change < 0.5, name
    assert sparsity(theirs) == 0


def test_the_parts_of_a_factorised_layer_are_no_layers_of_their_own(theirs):
    factorise_model(theirs, 0.5)
    assert any(isinstance(module, LowRankLinear) for module in theirs.modules())
    assert find_block_linears(theirs) == {}


def test_layers_can_be_chosen(theirs):
    quantize_model(theirs, QuantizeConfig(embeddings=False), choose=lambda name, layer: layer.out_features > 32)
    kinds = {name: type(module) for name, module in theirs.named_modules() if name.endswith("intermediate.dense")}
    assert set(kinds.values()) == {QuantizedLinear}
    assert type(theirs.pooler.dense) is nn.Linear

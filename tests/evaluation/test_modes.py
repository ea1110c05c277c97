"""Evaluation leaves a model and the random generators as it found them."""

import pytest
import torch

from plm_core.compression.calibration import calibrate
from plm_core.compression.structured import importance
from plm_core.evaluation.modes import evaluation_mode
from plm_core.evaluation.perplexity import text_loss
from plm_core.evaluation.validation import validate
from plm_core.generation.decoding import generate
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.causal_lm import CausalLM


@pytest.fixture
def gpt():
    """A model in training mode whose first block is frozen in evaluation mode."""
    model = Gpt(GptConfig.tiny(40)).train()
    model.decoder.layers[0].eval()
    return model


IDS = torch.arange(16).view(2, 8)
BATCH = {"input_ids": IDS, "labels": IDS}

EVALUATIONS = {
    "validate": lambda model: validate(model, CausalLM(), [BATCH]),
    "generate": lambda model: generate(model, IDS, max_new_tokens=1),
    "text_loss": lambda model: text_loss(model, IDS.flatten(), context=8),
    "calibrate": lambda model: calibrate(model, lambda model: model(IDS)),
    "importance": lambda model: importance(model, CausalLM(), [BATCH]),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_every_module_is_given_back_its_own_mode(name, gpt):
    before = {module: module.training for module in gpt.modules()}
    EVALUATIONS[name](gpt)
    assert {module: module.training for module in gpt.modules()} == before


def test_modes_come_back_after_an_error_too(gpt):
    def fail():
        with evaluation_mode(gpt):
            assert not any(module.training for module in gpt.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gpt.training
    assert not gpt.decoder.layers[0].training


@pytest.mark.parametrize("keep", [True, False])
def test_random_generators_continue_as_if_nothing_had_been_drawn(gpt, keep):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with evaluation_mode(gpt, keep_random_state=keep):
        torch.rand(5)
    assert torch.equal(torch.rand(3), expected) is keep

"""The memory ledger: what is predicted from counts is what the tensors occupy."""

import pytest
import torch

from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.causal_lm import CausalLM
from plm_core.training.config import TrainConfig
from plm_core.training.memory import block_activation_bytes, measured_ledger, memory_ledger
from plm_core.training.optim import make_optimizer

SHAPE = {"hidden_size": 32, "intermediate_size": 80, "num_attention_heads": 4}


def measure(precision="fp32", *, layers=2, rows=3, length=16, optimizer="adamw"):
    torch.manual_seed(0)
    config = GptConfig(
        vocab_size=50,
        num_hidden_layers=layers,
        max_position_embeddings=length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **SHAPE,
    )
    model = Gpt(config)
    ids = torch.randint(0, 50, (rows, length))
    made = make_optimizer(model, TrainConfig(optimizer=optimizer))
    batch = {"input_ids": ids, "labels": ids}
    return model, measured_ledger(model, CausalLM(), batch, optimizer=made, precision=precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_rows_per_parameter_are_as_predicted_in_every_precision(precision, optimizer):
    model, measured = measure(precision, optimizer=optimizer)
    predicted = memory_ledger(sum(p.numel() for p in model.parameters()), optimizer=optimizer)
    assert (measured.weights, measured.gradients) == (predicted.weights, predicted.gradients)
    assert measured.optimizer == predicted.optimizer
    assert predicted.total == (16 if optimizer == "adamw" else 12) * sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_of_a_block_are_as_predicted(precision):
    """The difference between two batches leaves out copies of weights, that between two depths all but a block."""
    tokens = 16
    more, less = (
        measure(precision, layers=3, rows=rows)[1].activations - measure(precision, layers=2, rows=rows)[1].activations
        for rows in (4, 3)
    )
    expected = block_activation_bytes(tokens, hidden_size=32, intermediate_size=80, num_heads=4, precision=precision)
    assert more - less == pytest.approx(expected, rel=0.02)


def test_muon_does_not_follow_from_a_count():
    with pytest.raises(ValueError, match="'muon' does not follow from a count: use one of adamw, adam, sgd"):
        memory_ledger(10, optimizer="muon")

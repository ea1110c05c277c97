"""Weights of every model: as initialised, tied where declared, and the same after a file."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from plm_core.weights import check_ties, load_weights, save_weights, shared_parameters, tie_weights
from tests.models.small_models import POSITIONS, bert, gpt, seq2seq


@pytest.mark.parametrize("make", [gpt, bert, seq2seq])
@pytest.mark.parametrize("position", POSITIONS)
def test_ties_are_declared_stripped_and_tied_again(make, position: str, tmp_path) -> None:
    model = make(position=position)
    assert model.tied_weights() == shared_parameters(model)
    assert any(alias.endswith(("lm_head.weight", "decoder.weight")) for alias in model.tied_weights())
    save_weights(model, tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    other = make(position=position)
    load_weights(other, tmp_path / "weights.safetensors")
    check_ties(other)
    for (name, a), (_, b) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_a_loaded_model_stays_tied_in_training(tmp_path) -> None:
    save_weights(gpt(), tmp_path / "weights.safetensors")
    model = gpt()
    # What a careless loader does: a copy under the second name.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with pytest.raises(ValueError, match="should be the same parameter"):
        save_weights(model, tmp_path / "broken.safetensors")
    load_weights(model, tmp_path / "weights.safetensors")
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    ids = torch.randint(50, (2, 6))
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
        optimiser.step()
    assert model.lm_head.weight is model.embeddings.word_embeddings.weight
    check_ties(copy.deepcopy(model))


def test_untied_models_declare_nothing_and_round_trip(tmp_path) -> None:
    model = gpt(tie_word_embeddings=False)
    assert model.tied_weights() == {}
    assert model.lm_head.weight is not model.embeddings.word_embeddings.weight
    save_weights(model, tmp_path / "w.safetensors")
    load_weights(model, tmp_path / "w.safetensors")
    tie_weights(model)
    assert model.lm_head.weight is not model.embeddings.word_embeddings.weight


def test_loading_the_wrong_file_is_explained(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(FileNotFoundError, match="no weights file"):
        load_weights(gpt(), path)
    save_weights(gpt(), path)
    with pytest.raises(ValueError, match=r"weights.safetensors.*do not fit Bert.*missing.*unexpected"):
        load_weights(bert(), path)
    with pytest.raises(ValueError, match=r"shape: .*\(50, 32\) instead of \(60, 32\)"):
        load_weights(gpt(vocab_size=60), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_weights(gpt(), path)


def deviation(tensor: torch.Tensor) -> float:
    return tensor.detach().std().item()


def test_initialisation_is_the_one_in_the_tables() -> None:
    wide = {"hidden_size": 128, "intermediate_size": 512, "vocab_size": 500, "initializer_range": 0.02}
    near = {"rel": 0.05}
    model = gpt(**wide, num_hidden_layers=8)
    block = model.decoder.layers[3]
    assert deviation(model.embeddings.word_embeddings.weight) == pytest.approx(0.02, **near)
    assert deviation(model.embeddings.position.table.weight) == pytest.approx(0.02, **near)
    assert deviation(block.attention.query.weight) == pytest.approx(0.02, **near)
    assert deviation(block.attention.output.weight) == pytest.approx(0.02 / 4, **near)
    assert deviation(block.feed_forward.down.weight) == pytest.approx(0.02 / 4, **near)
    assert all(p.abs().max() == 0 for name, p in model.named_parameters() if name.endswith("bias"))
    assert deviation(gpt(**wide, position="sinusoidal").lm_head.weight) == pytest.approx(1 / math.sqrt(128), **near)

    block = bert(**wide).encoder.stack.layers[1]
    assert deviation(block.feed_forward.down.weight) == pytest.approx(0.02, **near)

    model3 = seq2seq(**wide)
    up = model3.decoder.layers[0].feed_forward.up.weight
    assert deviation(up) == pytest.approx(math.sqrt(2 / (128 + 512)), **near)
    assert deviation(model3.embeddings.word_embeddings.weight) == pytest.approx(1 / math.sqrt(128), **near)

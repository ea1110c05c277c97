"""The recurrent language model: causal, continued by its state, initialised as its table says."""

import pytest
import torch

from plm_core.models.recurrent import RecurrentConfig, RecurrentLM


@pytest.fixture(params=["rnn", "gru", "lstm"])
def model(request) -> RecurrentLM:
    torch.manual_seed(0)
    return RecurrentLM(RecurrentConfig(vocab_size=20, hidden_size=12, num_hidden_layers=2, cell=request.param)).eval()


@torch.no_grad()
def test_it_is_causal_and_its_state_continues_the_text(model: RecurrentLM) -> None:
    ids = torch.randint(20, (2, 9))
    changed = ids.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 20
    assert torch.equal(model(ids)[:, :5], model(changed)[:, :5])
    first, state = model.hidden_states(ids[:, :4])
    second, _ = model.hidden_states(ids[:, 4:], state=state)
    torch.testing.assert_close(model.lm_head(torch.cat([first, second], 1)), model(ids))


def test_recurrent_weights_start_orthogonal_forget_gates_open_and_the_output_is_tied(model: RecurrentLM) -> None:
    weight = model.trunk.weight_hh_l1[:12]
    torch.testing.assert_close(weight @ weight.T, torch.eye(12), atol=1e-5, rtol=0)
    ones = sum(int((p == 1).sum()) for name, p in model.trunk.named_parameters() if name.startswith("bias"))
    assert ones == (24 if model.config.cell == "lstm" else 0)
    assert model.lm_head.weight is model.word_embeddings.weight
    assert model.tied_weights() == {"lm_head.weight": "word_embeddings.weight"}


def test_wrong_ids_and_shapes_are_refused(model: RecurrentLM) -> None:
    with pytest.raises(ValueError, match="input_ids holds 20"):
        model(torch.full((1, 3), 20))
    with pytest.raises(ValueError, match="expected one of 'rnn', 'gru', 'lstm'"):
        RecurrentConfig(vocab_size=3, cell="lstn")

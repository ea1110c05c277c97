"""The switches that act on blocks change memory and speed, and nothing else."""

import copy
import shutil

import pytest
import torch
import torch._inductor.config
from torch import nn

from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.training.blocks import all_blocks, block_lists, checkpoint_activations, compile_blocks, only_block_list

SHAPE = {
    "vocab_size": 23,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}


@pytest.fixture
def ids():
    return torch.randint(0, 23, (4, 16), generator=torch.Generator().manual_seed(1))


def loss_of(model, ids):
    """A scalar loss of a language model, every output in it."""
    torch.manual_seed(5)
    return model(ids).square().mean()


def stored_bytes(model, ids):
    """Bytes of distinct activations that the backward pass keeps."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = loss_of(model, ids)
    assert loss.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("position", ["learned", "rope", "t5"])
def test_recomputed_activations_give_equal_gradients_under_dropout(ids, position):
    torch.manual_seed(0)
    shape = {**SHAPE, "position": position, "hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    model = Gpt(GptConfig(**shape))
    other = copy.deepcopy(model)
    checkpoint_activations(other)
    for each in (model, other):
        loss_of(each, ids).backward()
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    assert list(model.state_dict()) == list(other.state_dict())


def test_recomputed_activations_are_not_kept(ids):
    torch.manual_seed(0)
    shape = {**SHAPE, "num_hidden_layers": 8, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = Gpt(GptConfig(**shape))
    before = stored_bytes(model, ids)
    checkpoint_activations(model)
    assert stored_bytes(model, ids) < before / 4


def test_evaluation_recomputes_nothing(ids):
    torch.manual_seed(0)
    model = Gpt(GptConfig(**SHAPE)).eval()
    expected = model(ids)
    checkpoint_activations(model)
    calls = []
    model_blocks = all_blocks(model, "this test")
    model_blocks[0].feed_forward.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        assert torch.equal(model(ids), expected)
    assert len(calls) == 1


def test_copies_of_a_model_recompute_their_own_blocks(ids):
    torch.manual_seed(0)
    model = Gpt(GptConfig(**SHAPE))
    checkpoint_activations(model)
    other = copy.deepcopy(model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert other(ids).abs().max() > 0


@pytest.mark.parametrize("checkpointed", [False, True])
def test_compiled_blocks_give_an_equal_loss(ids, checkpointed):
    torch.manual_seed(0)
    model = Bert(BertConfig(**SHAPE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    other = copy.deepcopy(model)
    if checkpointed:
        checkpoint_activations(other)
    compile_blocks(other, backend="aot_eager")
    results = []
    for each in (model, other):
        output = each(ids, masked_positions=ids > 15)
        loss = output.prediction_logits.square().mean() + output.seq_relationship_logits.square().mean()
        loss.backward()
        results.append(loss.item())
    assert results[0] == pytest.approx(results[1], abs=1e-4)
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=name)
    assert list(model.state_dict()) == list(other.state_dict())


class SmallestBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.up(x).tanh()


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on a CPU needs a C++ compiler")
def test_blocks_compiled_to_machine_code_have_equal_gradients(monkeypatch, tmp_path):
    """By the default backend, on the smallest block that there is: each C++ file takes seconds to compile."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)  # a pool of processes would import torch again
    torch.manual_seed(0)
    model = nn.ModuleDict({"layers": nn.ModuleList([SmallestBlock()])})
    other = copy.deepcopy(model)
    compile_blocks(other)
    x = torch.randn(3, 4)
    losses = [each["layers"][0](x).square().sum() for each in (model, other)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    for loss in losses:
        loss.backward()
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6, msg=name)
    assert len(list(tmp_path.rglob("*.cpp"))) >= 2, "one pass forward and one backward"


def test_a_missing_compiler_is_said_at_once(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
        compile_blocks(Gpt(GptConfig(**SHAPE)))


@pytest.mark.parametrize("switch", [checkpoint_activations, lambda model: compile_blocks(model, backend="aot_eager")])
def test_a_model_without_blocks_is_refused(switch):
    with pytest.raises(ValueError, match=r"has no nn\.ModuleList"):
        switch(nn.Linear(2, 2))


def test_blocks_are_the_outermost_lists():
    model = nn.Sequential(nn.ModuleList([nn.Sequential(nn.ModuleList([nn.Linear(1, 1)])), nn.Linear(1, 1)]))
    assert list(block_lists(model)) == ["0"]
    assert len(all_blocks(model, "this test")) == 2
    assert block_lists(nn.Linear(1, 1)) == {}


def test_a_model_with_two_stacks_is_refused_where_one_is_needed():
    model = nn.ModuleDict({name: nn.ModuleList([nn.Linear(1, 1)]) for name in ("encoder", "decoder")})
    with pytest.raises(ValueError, match="ModuleDict has encoder, decoder"):
        only_block_list(model, "this test")

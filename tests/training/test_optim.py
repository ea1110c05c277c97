"""The optimisers of a configuration: torch's own, over the right groups, with the right rates."""

import pytest
import torch
from torch import nn

from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.recurrent import RecurrentConfig, RecurrentLM
from plm_core.objectives.causal_lm import CausalLM
from plm_core.training.config import TrainConfig
from plm_core.training.muon import COEFFICIENTS, ITERATIONS, Muon, orthogonalise
from plm_core.training.optim import decay_groups, layer_depths, make_optimizer
from plm_core.training.trainer import Trainer

VOCABULARY = 20


def gpt(layers=3):
    torch.manual_seed(0)
    return Gpt(GptConfig.tiny(VOCABULARY).replace(hidden_size=16, intermediate_size=32, num_hidden_layers=layers))


class Source:
    def batch(self, index):
        ids = torch.randint(0, VOCABULARY, (4, 9), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids[:, :-1].contiguous(), "labels": ids[:, 1:].contiguous()}


def train(model, steps=3, **config):
    settings = {"steps": steps, "warmup_steps": 0, "schedule": "constant", "max_grad_norm": 0.0, "log_every": 1}
    trainer = Trainer(model, CausalLM(), Source(), TrainConfig(**(settings | config)), quiet=True)
    trainer.fit()
    return trainer


REFERENCES = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.98), fused=False, foreach=False),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01, betas=(0.9, 0.98), fused=False, foreach=False),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.9, fused=False, foreach=False),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_optimiser_makes_the_steps_of_torchs_unfused_one(name):
    model, reference = gpt().double().eval(), gpt().double().eval()
    optimizer = REFERENCES[name](decay_groups(reference, 0.1))
    config = TrainConfig(
        optimizer=name, learning_rate=0.01, schedule="constant", warmup_steps=0, max_grad_norm=0.0, weight_decay=0.1
    )
    trainer = Trainer(model, CausalLM(), Source(), config, quiet=True)
    for index in range(4):
        part = CausalLM()(reference, Source().batch(index))
        optimizer.zero_grad()
        (part.total / part.count).backward()
        optimizer.step()
        trainer.step()
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_momentum_is_the_configured_one_or_the_default_of_the_rule():
    rates = [make_optimizer(gpt(), TrainConfig(optimizer="sgd", momentum=m)).defaults["momentum"] for m in (None, 0.5)]
    assert rates == [0.9, 0.5]


def test_embeddings_lie_below_all_layers_and_heads_above():
    depths = layer_depths(gpt(layers=2))
    assert depths["embeddings.word_embeddings.weight"] == 0
    assert {depth for name, depth in depths.items() if ".1." in name} == {2}
    assert max(depths.values()) == 3, "what follows the stack lies above it"
    bert = Bert(BertConfig.tiny(VOCABULARY))
    assert layer_depths(bert)["nsp_head.weight"] == bert.config.num_hidden_layers + 1
    assert layer_depths(bert)["pooler.dense.weight"] == bert.config.num_hidden_layers + 1


def test_every_layer_learns_at_its_own_rate():
    model = gpt(layers=2)
    depths = layer_depths(model)
    trainer = train(model, steps=1, layer_decay=0.5, learning_rate=0.08)
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.08 * 0.5 ** (3 - depths[name]))
    assert trainer.records[0]["learning_rate"] == 0.08, "the log shows the rate of the topmost layer"


def test_decay_of_layers_keeps_decay_of_weights():
    model = gpt()
    made = decay_groups(model, 0.1), decay_groups(model, 0.1, layer_decay=0.9)
    for decay in (0.1, 0.0):
        one, other = ({id(p) for g in groups if g["weight_decay"] == decay for p in g["params"]} for groups in made)
        assert one == other


def test_layer_decay_and_muon_need_one_stack():
    model = RecurrentLM(RecurrentConfig(vocab_size=VOCABULARY))
    for config in ({"layer_decay": 0.5}, {"optimizer": "muon"}):
        with pytest.raises(ValueError, match=r"one stack of layers.*RecurrentLM has none"):
            make_optimizer(model, TrainConfig(**config))


def test_muon_takes_the_matrices_of_the_layers_and_nothing_else():
    model = gpt()
    optimizer = make_optimizer(model, TrainConfig(optimizer="muon", weight_decay=0.05))
    taken = {id(p) for group in optimizer.parts["muon"].param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        inside = "embeddings" not in name and ".weight" in name and parameter.dim() == 2
        assert (id(parameter) in taken) == inside, name
    everything = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())
    assert {group["weight_decay"] for group in optimizer.parts["muon"].param_groups} == {0.05}


def test_muon_updates_have_orthogonal_directions():
    """The update of a matrix has singular values near one another, whatever the gradient's are (Jordan et al. 2024)."""
    model = gpt(layers=1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, steps=1, optimizer="muon", weight_decay=0.0, learning_rate=0.01)
    moved = {name: p.detach() - before[name] for name, p in model.named_parameters()}
    name = next(name for name in moved if "query" in name and "weight" in name)
    values = torch.linalg.svdvals(moved[name])[:-1]  # what enters is normed: its mean, one direction, is always 0
    assert values.max() / values.min() < 4
    assert moved[name].square().mean().sqrt() == pytest.approx(0.01 * 0.2, rel=0.3), "the size of AdamW's updates"


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (24, 24)])
def test_orthogonalising_moves_each_singular_value_by_the_polynomial_and_keeps_the_vectors(shape):
    matrix = torch.randn(*shape, dtype=torch.float64)
    before = matrix.clone()
    u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
    values = values / values.norm()
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        values = a * values + b * values**3 + c * values**5
    torch.testing.assert_close(orthogonalise(matrix), u @ torch.diag(values) @ vh, atol=1e-10, rtol=1e-8)
    assert torch.equal(matrix, before)


def test_muon_on_a_cpu_makes_the_steps_of_torchs_up_to_the_rounding_of_bfloat16():
    start = torch.randn(16, 48)
    ours, torchs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    mine = Muon([{"params": [ours], "weight_decay": 0.1}], lr=0.02, momentum=0.9)
    theirs = torch.optim.Muon([torchs], lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        gradient = torch.randn(16, 48)
        ours.grad, torchs.grad = gradient.clone(), gradient.clone()
        mine.step()
        theirs.step()
    assert (ours - torchs).norm() < 0.02 * (torchs - start).norm()
    theirs.load_state_dict(mine.state_dict())
    assert torch.equal(theirs.state[torchs]["momentum_buffer"], mine.state[ours]["momentum_buffer"])


def test_muon_learns_and_resumes(tmp_path):
    def trainer(folder, **config):
        settings = {"steps": 6, "warmup_steps": 1, "optimizer": "muon", "log_every": 2, "save_every": 3, **config}
        return Trainer(gpt(), CausalLM(), Source(), TrainConfig(**settings), folder=folder, quiet=True)

    whole = trainer(tmp_path / "whole")
    torch.manual_seed(1)
    whole.fit()
    cut = trainer(tmp_path / "cut")
    torch.manual_seed(1)
    for _ in range(3):
        cut.step()
    cut.save()
    resumed = trainer(tmp_path / "cut")
    resumed.resume()
    resumed.fit()
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_torch_without_muon_is_named(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ValueError, match=r"'muon' needs torch 2\.9 or newer"):
        make_optimizer(gpt(), TrainConfig(optimizer="muon"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"optimizer": "adan"}, "did you mean 'adam'"),
        ({"layer_decay": 0.0}, r"layer_decay must lie in \(0, 1\]"),
        ({"momentum": 1.0}, "momentum is a probability"),
    ],
)
def test_impossible_settings_are_refused_by_name(config, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**config)


def test_nothing_to_train_is_said():
    model = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"):
        make_optimizer(model, TrainConfig())

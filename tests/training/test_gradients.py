"""Gradients are clipped as torch clips them, and one that is not finite never reaches the weights."""

import contextlib
import importlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.data.labels import IGNORE
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.base import Joint
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence
from plm_core.training.config import TrainConfig
from plm_core.training.gradients import DivergedError
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

VOCABULARY = 30
BAD_STEP = 4


class Source:
    """Ragged rows with masked labels and pair labels, a pure function of the number."""

    def batch(self, index):
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(5, VOCABULARY, (4, 12), generator=generator)
        real = torch.arange(12) < torch.randint(5, 13, (4, 1), generator=generator)
        chosen = real & (torch.rand(4, 12, generator=generator) < 0.4)
        return {
            "input_ids": ids.masked_fill(~real, 0),
            "attention_mask": real,
            "labels": ids.masked_fill(~chosen, IGNORE),
            "pair_labels": torch.randint(0, 2, (4,), generator=generator),
        }


def gpt():
    torch.manual_seed(0)
    return Gpt(GptConfig.tiny(VOCABULARY).replace(hidden_size=16, intermediate_size=32, num_hidden_layers=1))


def bert():
    torch.manual_seed(0)
    return Bert(BertConfig.tiny(VOCABULARY).replace(hidden_size=16, intermediate_size=32, num_hidden_layers=1))


def make_trainer(model=None, objective=None, *, precision="fp32", device="cpu", **config):
    config = {"steps": 10, "warmup_steps": 0, "log_every": 10, **config}
    return Trainer(
        model or gpt(),
        objective or CausalLM(),
        Source(),
        TrainConfig(**config),
        hardware=Hardware(device, precision),
        quiet=True,
    )


def last_norm(model):
    """The name of the last norm, and the norm."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)][-1]


def poison_data(trainer, value):
    """What the token embeddings give is spoilt in the forward pass of one step."""

    def hook(module, inputs, output):
        return output * value if trainer.progress.micro_batch_groups == BAD_STEP - 1 else output

    trainer.model.embeddings.word_embeddings.register_forward_hook(hook)
    return "embeddings"


def poison_loss(trainer, value):
    score = trainer.objective.score

    def spoilt(output, batch):
        parts = score(output, batch)
        if trainer.progress.micro_batch_groups == BAD_STEP - 1:
            object.__setattr__(parts, "total", parts.total * value)
        return parts

    trainer.objective.score = spoilt
    return "embeddings"


def poison_weight(trainer, value):
    def hook(module, inputs):
        if trainer.progress.micro_batch_groups == BAD_STEP - 1:
            with torch.no_grad():
                norm.weight[3] = value

    name, norm = last_norm(trainer.model)
    trainer.model.register_forward_pre_hook(hook)
    return f"nor is the weight {name}.weight"


def poison_gradient(trainer, value):
    def hook(gradient):
        return gradient * value if trainer.progress.micro_batch_groups == BAD_STEP - 1 else gradient

    name, norm = last_norm(trainer.model)
    norm.bias.register_hook(hook)
    return f"not finite in {name}.bias"


POISONS = [poison_data, poison_loss, poison_weight, poison_gradient]


def snapshot(trainer):
    return [p.detach().clone() for p in trainer.model.parameters()]


@pytest.mark.parametrize("later", [False, True], ids=["at once", "asked later"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("poison", POISONS)
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change(poison, value, later):
    """Asked at once, as on a CPU, or only at the log record, as on a GPU: the fused kernel skips by itself."""
    good = make_trainer()
    for _ in range(BAD_STEP - 1):
        good.step()
    trainer = make_trainer()
    trainer.checks_later = later
    named = poison(trainer, value)
    with pytest.raises(DivergedError, match=f"step {BAD_STEP}, rank 0: the gradient is not finite in ") as caught:
        trainer.fit()
    assert named in str(caught.value)
    assert caught.value.step == BAD_STEP
    assert (trainer.progress.step, trainer.progress.micro_batch_groups) == (BAD_STEP - 1, BAD_STEP - later)
    assert trainer.records == [], "nothing after the bad step is reported"
    spoilt = poison is poison_weight
    for (name, a), b in zip(trainer.model.named_parameters(), good.model.parameters(), strict=True):
        assert torch.equal(a, b) or (spoilt and named.endswith(name)), name
    assert {float(state["step"]) for state in trainer.optimizer.state.values()} == {BAD_STEP - 1.0}


@pytest.mark.parametrize("poison", [poison_data, poison_loss, poison_gradient])
def test_fp16_skips_a_gradient_that_is_not_finite(poison):
    trainer = make_trainer(precision="fp16")
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": 64.0})
    poison(trainer, math.inf)
    progress = trainer.fit()
    assert (progress.step, progress.micro_batch_groups) == (10, 11)
    assert all(bool(p.isfinite().all()) for p in trainer.model.parameters())
    assert all(math.isfinite(value) for record in trainer.records for value in record.values())


@pytest.mark.parametrize("later", [False, True])
def test_a_loss_that_is_not_finite_stops_even_where_no_gradient_shows_it(later):
    trainer = make_trainer()
    trainer.checks_later = later
    score = trainer.objective.score

    def constant_nan(output, batch):
        parts = score(output, batch)
        object.__setattr__(
            parts, "total", parts.total + (math.nan if trainer.progress.micro_batch_groups == 2 else 0.0)
        )
        return parts

    trainer.objective.score = constant_nan
    with pytest.raises(DivergedError, match="step 3, rank 0: the loss is nan, though no gradient is"):
        trainer.fit()


@pytest.mark.parametrize("event", ["eval_every", "save_every"])
def test_a_bad_step_is_found_before_anything_is_measured_or_saved(tmp_path, event):
    trainer = Trainer(
        gpt(),
        CausalLM(),
        Source(),
        TrainConfig(**{"steps": 10, "warmup_steps": 0, "log_every": 10, "eval_every": 10, "save_every": 10, event: 5}),
        valid_batches=[Source().batch(99)],
        folder=tmp_path,
        quiet=True,
    )
    trainer.checks_later = True
    poison_gradient(trainer, math.nan)
    with pytest.raises(DivergedError, match=f"step {BAD_STEP}, rank 0"):
        trainer.fit()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()], "no checkpoint was written"


OBJECTIVES = [
    pytest.param(gpt, CausalLM(label_smoothing=0.1), id="causal"),
    pytest.param(gpt, CausalLM(sliced=True), id="causal, sliced"),
    pytest.param(bert, Joint([MaskedLM(), NextSentence()]), id="masked and pairs"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
@pytest.mark.parametrize(("model", "objective"), OBJECTIVES)
def test_no_step_waits_for_the_device(monkeypatch, model, objective, optimizer, precision):
    """On the meta device tensors have no values: whatever asks for one, and would make a GPU's host wait, raises."""
    optimizers = importlib.import_module("torch.optim.optimizer")
    monkeypatch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: ["meta"])
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **options: contextlib.nullcontext())  # meta has none
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    trainer = make_trainer(
        model().to("meta"), objective, precision=precision, device="meta", micro_batches=3, optimizer=optimizer
    )
    assert all(trainer.step() for _ in range(3))
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        trainer.confirm()  # which asks


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    scale=st.floats(1e-3, 1e3),
    limit=st.sampled_from([0.1, 1.0, 1e6]),
)
@settings(max_examples=30)
def test_clips_to_the_bit_as_torch_does(sizes, scale, limit):
    generator = torch.Generator().manual_seed(sum(sizes))
    models = [nn.ParameterList([nn.Parameter(torch.zeros(size)) for size in sizes]) for _ in range(2)]
    for index, size in enumerate(sizes):
        gradient = torch.randn(size, generator=generator) * scale
        for model in models:
            model[index].grad = gradient.clone()
    gradients = make_trainer().gradients
    gradients.model = models[0]
    norm = gradients.clip(gradients.norms(), limit)
    assert torch.equal(norm, nn.utils.clip_grad_norm_(models[1].parameters(), limit))
    for a, b in zip(*models, strict=True):
        assert torch.equal(a.grad, b.grad)


def test_a_parameter_may_have_no_gradient():
    """A Bert that is trained on masked tokens alone leaves its pair head without one; another one is not confused."""
    trainer = make_trainer(bert(), MaskedLM())
    trainer.step()
    assert not any("nsp_head" in name for name in trainer.gradients.names)
    both = Joint([MaskedLM(), NextSentence()])
    trainer.objective, trainer.terms = both, lambda batch: both.terms(trainer.model, batch)
    trainer.step()
    assert any("nsp_head" in name for name in trainer.gradients.names)

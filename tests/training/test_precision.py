"""Loss scaling in the right order, on the CPU, step by step like torch's; overflow advances nothing."""

import contextlib
import functools

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.base import LossParts, Objective
from plm_core.training.config import TrainConfig
from plm_core.training.gradients import DivergedError
from plm_core.training.hardware import Hardware
from plm_core.training.precision import LossScaler, ScaleCollapsedError, autocast, keep_casts
from plm_core.training.trainer import Trainer

CPU = torch.device("cpu")


class Regression(Objective):
    """Summed squared error, small enough for the first scale; the batch may bring a factor that makes it overflow."""

    name = "regression"

    def inputs(self, batch):
        return {"x": batch["input_ids"]}

    def score(self, output, batch):
        return LossParts(((output.float() - batch["y"]) ** 2 * 0.01 * batch["factor"]).sum(), len(output), {})

    def count(self, batch):
        return len(batch["y"])


class Source:
    """Linear data; at the given batches the loss is multiplied by a factor."""

    def __init__(self, **factors):
        self.factors = {int(name.removeprefix("at")): factor for name, factor in factors.items()}

    def batch(self, index):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(index))
        return {"input_ids": x, "y": x.sum(1, keepdim=True), "factor": torch.tensor(self.factors.get(index, 1.0))}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x):
        return self.out(self.hidden(x).tanh())


def make_trainer(source=None, *, precision="fp16", folder=None, model=None, **config):
    config = {"steps": 10, "warmup_steps": 2, "log_every": 1, "save_every": 4, "learning_rate": 0.01, **config}
    return Trainer(
        model or Network(),
        Regression(),
        source or Source(),
        TrainConfig(**config),
        hardware=Hardware(precision=precision),
        folder=folder,
        quiet=True,
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_autocast_changes_the_products_only(precision):
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    a = torch.ones(2, 2)
    with autocast(precision, "cpu"):
        assert (a @ a).dtype == dtype
        assert (a + a).dtype == torch.float32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_learns_what_fp32_learns(precision):
    losses = {}
    for name in ("fp32", precision):
        trainer = make_trainer(precision=name, steps=80, learning_rate=0.05, log_every=20)
        trainer.fit()
        first, *_, losses[name] = (record["train/loss"] for record in trainer.records)
    assert losses["fp32"] < 0.2 * first
    assert losses[precision] == pytest.approx(losses["fp32"], rel=0.05)
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


@pytest.mark.parametrize("fused", [False, True])
def test_scaler_equals_torch_step_by_step(fused):
    """Scales, skipped steps and weights, over growth and overflow; torch's scaler is driven by hand."""
    runs = []
    for ours in (True, False):
        model = Network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
        if ours:
            scaler = LossScaler(CPU, init_scale=256.0, growth_interval=3)
        else:
            scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=3)
        trace = []
        for index in range(20):
            batch = Source(at4=float("inf"), at5=1e38, at13=float("nan")).batch(index)
            before = model.out.weight.clone()
            scaler.scale(Regression()(model, batch).total).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            stepped = scaler.step(optimizer)
            changed = not torch.equal(before, model.out.weight)
            if ours:
                assert stepped == changed
            scaler.update()
            optimizer.zero_grad()
            trace.append((changed, scaler.get_scale(), [p.tolist() for p in model.parameters()]))
        runs.append(trace)
    assert runs[0] == runs[1]
    assert [index for index, (changed, _, _) in enumerate(runs[0]) if not changed] == [4, 5, 13]


def test_a_skipped_step_advances_nothing_but_the_data():
    trainer = make_trainer(Source(at0=float("inf"), at5=float("nan")), steps=8)
    progress = trainer.fit()
    assert (progress.step, progress.micro_batch_groups) == (8, 10)
    records = trainer.records
    assert [record["step"] for record in records] == list(range(1, 9)), "one record a successful step"
    rates = [record["learning_rate"] for record in records]
    plain = make_trainer(precision="fp32", steps=8)
    plain.fit()
    assert rates == [record["learning_rate"] for record in plain.records]
    assert [record["skipped_steps"] for record in records] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert records[-1]["loss_scale"] == 2.0**16 / 4
    steps = {float(state["step"]) for state in trainer.optimizer.state.values()}
    assert steps == {8.0}, "the optimiser counts what it did"


def test_a_skipped_step_is_as_if_the_batch_had_never_been():
    class Without(Source):
        def batch(self, index):
            return super().batch(index + (index >= 3))

    skipping, without = make_trainer(Source(at3=float("inf"))), make_trainer(Without())
    without.scaler.load_state_dict({**without.scaler.state_dict(), "scale": 2.0**15})
    skipping.fit()
    without.fit()
    assert [r["train/loss"] for r in skipping.records] == [r["train/loss"] for r in without.records]
    for a, b in zip(skipping.model.parameters(), without.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_clipping_sees_the_true_gradient():
    """Scaled gradients would all be clipped: unscaled first, gradients shorter than the limit keep their length."""
    runs = [make_trainer(precision="fp16", max_grad_norm=limit, steps=4) for limit in (1e6, 0.0)]
    for trainer in runs:
        trainer.fit()
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(a, b)
    exact = make_trainer(precision="fp32", steps=1)
    exact.fit()
    norms = [trainer.records[0]["train/grad_norm"] for trainer in (runs[0], exact)]
    assert norms[0] == pytest.approx(norms[1], rel=0.01)


def test_a_collapsing_scale_stops_the_run():
    class Broken(Source):
        def batch(self, index):
            return {**super().batch(index), "factor": torch.tensor(float("inf"))}

    trainer = make_trainer(Broken())
    with pytest.raises(ScaleCollapsedError, match=r"step 1, rank 0: .* fell to 6.*Not finite.*hidden\.weight"):
        trainer.fit()
    assert trainer.progress.step == 0
    assert trainer.progress.micro_batch_groups == 30, "from 2^16 down past 2^-13"


def test_bf16_and_fp32_stop_where_fp16_skips():
    for precision in ("fp32", "bf16"):
        trainer = make_trainer(Source(at3=float("inf")), precision=precision)
        with pytest.raises(DivergedError, match="step 4, rank 0"):
            trainer.fit()
        assert trainer.progress.step == 3


@pytest.mark.parametrize("stop", [3, 5, 6])
def test_resumed_fp16_keeps_scale_and_place(tmp_path, stop):
    factors = {"at1": float("inf"), "at5": float("inf")}
    whole = make_trainer(Source(**factors), folder=tmp_path / "whole", save_every=1, keep_last=20)
    whole.fit()
    cut = make_trainer(Source(**factors), folder=tmp_path / "cut", steps=10, save_every=stop)
    cut.config = cut.config.replace(steps=10)
    while cut.progress.step < stop:
        cut.step()
    cut.save()
    resumed = make_trainer(Source(**factors), folder=tmp_path / "cut")
    resumed.resume()
    resumed.fit()
    assert resumed.progress.micro_batch_groups == whole.progress.micro_batch_groups == 12
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_refused_under_autocast(dtype):
    with pytest.raises(ValueError, match=r"low already: hidden\.weight, hidden\.bias, out\.weight and 1 more"):
        make_trainer(model=Network().to(dtype), precision="bf16")


class Conversions(TorchDispatchMode):
    """Counts how often a tensor of a weight's shape is converted to bf16."""

    def __init__(self, model):
        super().__init__()
        self.shapes = {weight.shape for weight in model.parameters() if weight.dim() == 2}
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        converts = func is torch.ops.aten._to_copy.default and (kwargs or {}).get("dtype") == torch.bfloat16
        self.count += converts and args[0].shape in self.shapes and args[0].requires_grad
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_weights_are_converted_once_in_a_step_and_gradients_are_the_same(checkpointing):
    """Four micro-batches of a GPT: as many conversions as for one, and the gradients equal to the last bit."""
    shape = GptConfig.tiny(50).replace(attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
    ids_BT = torch.randint(0, 50, (8, 9), generator=torch.Generator().manual_seed(0))

    def gradients(context, micro_batches=4):
        torch.manual_seed(0)
        model = Gpt(shape)
        if checkpointing:
            for block in model.decoder.layers:
                block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        with Conversions(model) as conversions, context:
            for ids in ids_BT.split(2)[:micro_batches]:
                with autocast("bf16", CPU):
                    logits = model(ids[:, :-1])
                torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        return [weight.grad for weight in model.parameters()], conversions.count

    once = gradients(keep_casts("bf16", CPU), micro_batches=1)[1]
    kept, count = gradients(keep_casts("bf16", CPU))
    plain, count_before = gradients(contextlib.nullcontext())
    assert count == once > 0
    assert count_before >= 4 * once
    assert all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(kept, plain, strict=True))


def test_the_step_after_sees_the_new_weights(monkeypatch):
    """What is kept must not outlive the step: a run over several micro-batches equals one that keeps nothing."""
    trainer = make_trainer(precision="bf16", micro_batches=3)
    trainer.fit()
    monkeypatch.setattr("plm_core.training.trainer.keep_casts", lambda *_: contextlib.nullcontext())
    plain = make_trainer(precision="bf16", micro_batches=3)
    plain.fit()
    pairs = list(zip(trainer.model.parameters(), plain.model.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not any(torch.equal(a, b) for a, b in zip(trainer.model.parameters(), Network().parameters(), strict=True))

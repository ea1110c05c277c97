"""Our side of a training contest: the trainer as ``plm train`` runs it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.contest import Orders
from benchmarks.job import Job, TokenCount, gradient_norm, load_batches
from benchmarks.text import pair_batches, texts
from plm_core.data.batch import BatchSource
from plm_core.data.batches import PackedBatches, WindowBatches
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.validation import TermsObjective
from plm_core.interop.huggingface import load_pretrained
from plm_core.objectives.base import Joint
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer


def train(orders: Orders, job: Job) -> None:
    """Build data and model, then train as many steps as each order says."""
    tokenizer = Tokenizer.load(job.model_folder)
    source = make_source(job, tokenizer)
    objective = make_objective(job)
    orders.memory_baseline()
    model = load_pretrained(job.model_folder).to(job.device)
    losses, norms = check_values(model, objective, job)
    trainer = make_trainer(model, objective, source, job)
    tokens = TokenCount(model)
    orders.built(losses=losses, gradient_norms=norms)
    while steps := orders.next():
        trainer.config = trainer.config.replace(steps=trainer.progress.step + steps)
        trainer.fit()
        orders.done(tokens.take())
    orders.end()


def train_in_fp32(orders: Orders, job: Job) -> None:
    """The same in fp32, whatever the job's precision: what a precision is measured against."""
    train(orders, replace(job, precision="fp32"))


def make_objective(job: Job) -> TermsObjective:
    """The objective of the job's task."""
    return Joint([MaskedLM(), NextSentence()]) if job.task == "mlm+nsp" else CausalLM(sliced=True)


def make_source(job: Job, tokenizer: Tokenizer) -> BatchSource:
    """The training batches."""
    if job.task == "mlm+nsp":
        return pair_batches(job.folder, tokenizer, length=job.length, batch_size=job.batch_size, seed=job.seed)
    rows = texts(job.folder, tokenizer, length=job.length)
    if job.blocks:
        ids = torch.tensor([token for row in rows for token in row]).numpy()
        return WindowBatches(ids, context=job.length, batch_size=job.batch_size, seed=job.seed)
    return PackedBatches(
        [torch.tensor(row) for row in rows],
        row_length=job.length,
        batch_size=job.batch_size,
        pad_id=tokenizer.pad_id,
        seed=job.seed,
    )


def make_trainer(model: nn.Module, objective: TermsObjective, source: BatchSource, job: Job) -> Trainer:
    """A trainer with the settings that both sides share: AdamW at a constant rate, gradients clipped at 1."""
    config = TrainConfig(
        learning_rate=1e-4,
        schedule="constant",
        warmup_steps=0,
        weight_decay=0.01,
        beta2=0.999,
        log_every=500,
        eval_every=10**9,
        save_every=10**9,
        compile=job.compile,
    )
    return Trainer(model, objective, source, config, hardware=Hardware(job.device, job.precision), quiet=True)


def check_values(model: nn.Module, objective: TermsObjective, job: Job) -> tuple[list[float], list[float]]:
    """Loss and gradient norm on the stored batches, without dropout."""
    losses, norms = [], []
    for batch in load_batches(job):
        moved = {name: tensor.to(job.device) for name, tensor in batch.items()}
        parts = objective.terms(model.eval(), moved)
        loss: Tensor = sum(part.total / part.count for part in parts.values())  # type: ignore[assignment]
        loss.backward()
        losses.append(loss.item())
        norms.append(gradient_norm(model))
    return losses, norms

"""A training contest from its settings to its result: what ``pretrain`` and ``causal`` have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import ours, theirs
from benchmarks.contest import Side, ratios, require_equal_losses, started, take_turns
from benchmarks.job import Job, prepare, save_batches
from benchmarks.results import describe_run, hardware_use, summary
from benchmarks.text import padding_share, pair_batches, texts
from plm_core.data.labels import next_token_labels
from plm_core.data.tokenizers import Tokenizer, pad
from plm_core.models.cost import flops_per_token
from plm_core.runtime import peak_flops, resolve_device

SIDES: dict[str, Side] = {
    "plm": ours.train,
    "hf": theirs.train_as_documented,
    "hf-tuned": theirs.train_tuned,
    "fp32": ours.train_in_fp32,
}

TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 2e-2}
"""How far losses and gradient norms of the two sides may lie apart, relative above 1."""


def training_contest(
    settings: dict[str, Any],
    job_fields: dict[str, Any],
    *,
    corpus: str,
    vocab_size: int,
    dropout: float,
    names: Sequence[str] = ("plm", "hf", "hf-tuned"),
) -> dict[str, Any]:
    """Prepare the text and the weights, check that both sides compute the same, let them take turns.

    Args:
        settings: all settings of the command, for the result; rounds, steps, threads and device are read from it.
        job_fields: the fields of :class:`~benchmarks.job.Job` besides the folder.
        corpus, vocab_size, dropout: see the commands.
        names: the sides that take part, ours first.

    Returns:
        Settings, machine, padding share, losses, rates and ratios.

    Raises:
        ValueError: an unknown shape or corpus, a device that this machine does not have, or sides that do not compute
            the same.
    """
    resolve_device(settings["device"])
    with tempfile.TemporaryDirectory() as folder:
        job = Job(folder=Path(folder), **job_fields)
        tokenizer = prepare(job, corpus=corpus, vocab_size=vocab_size, dropout=dropout)
        save_batches(job, example_batches(job, tokenizer))
        with ExitStack() as stack:
            sides = [
                stack.enter_context(started(name, SIDES[name], job, device=job.device, threads=settings["threads"]))
                for name in names
            ]
            require_equal_losses(sides, tolerance=TOLERANCE[job.precision])
            take_turns(sides, rounds=settings["rounds"], steps=settings["steps"], progress=print)
        lengths = row_lengths(job, tokenizer)
        flops = training_flops(job, lengths, vocab_size=tokenizer.vocab_size)
        peak = peak_flops(torch.device(job.device), job.precision)
        told = {side.name: summary(side, flops_per_token=flops, peak=peak) for side in sides}
        for name, numbers in told.items():
            print(f"{name}: {numbers['tokens_per_second']:,} tokens/s, {hardware_use(numbers)}")
        return describe_run(settings) | {
            "padding_share": round(padding_share(lengths, job.batch_size), 3),
            "flops_per_token": round(flops),
            "losses": {side.name: side.facts["losses"] for side in sides},
            "sides": told,
            "ratios": {side.name: ratios(sides[0], side) for side in sides[1:]},
        }


def example_batches(job: Job, tokenizer: Tokenizer) -> list[dict[str, Tensor]]:
    """Two batches, padded, on which the sides must agree."""
    if job.task == "mlm+nsp":
        source = pair_batches(job.folder, tokenizer, length=job.length, batch_size=job.batch_size, seed=0)
        return [source.batch(0), source.batch(1)]
    rows = texts(job.folder, tokenizer, length=job.length)
    batches = []
    for first in (0, job.batch_size):
        ids = pad(rows[first : first + job.batch_size], tokenizer.pad_id)
        mask = ids != tokenizer.pad_id
        labels = next_token_labels(ids, attention_mask=mask)
        batches.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return batches


def training_flops(job: Job, lengths: Sequence[int], *, vocab_size: int) -> float:
    """Operations that training needs for a real token, on average: each attends to the tokens of its own row."""
    attended = sum(length**2 for length in lengths) / sum(lengths)
    config = job.model_config(vocab_size=vocab_size, dropout=0.0)
    return 3 * flops_per_token(config, round(attended))  # a backward pass costs twice a forward pass


def row_lengths(job: Job, tokenizer: Tokenizer) -> list[int]:
    """Tokens of each example before padding."""
    if job.task == "mlm+nsp":
        source = pair_batches(job.folder, tokenizer, length=job.length, batch_size=job.batch_size, seed=0)
        pairs = (source.pairs.pair(number) for number in range(len(source.pairs)))
        return [len(pair.first) + len(pair.second) + 3 for pair in pairs]
    if job.blocks:
        return [job.length] * job.batch_size
    return [len(row) for row in texts(job.folder, tokenizer, length=job.length)]

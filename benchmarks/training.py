"""A training contest from its settings to its result: what ``pretrain`` and ``causal`` have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks import ours, theirs
from benchmarks.contest import Side, ratios, require_equal_losses, started, take_turns
from benchmarks.job import Job, prepare, save_batches
from benchmarks.results import describe_run, summary
from benchmarks.text import padding_share, pair_batches, texts
from plm_core.data.labels import next_token_labels
from plm_core.data.tokenizers import Tokenizer, pad

SIDES: dict[str, Side] = {"plm": ours.train, "hf": theirs.train_as_documented, "hf-tuned": theirs.train_tuned}

TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 2e-2}
"""How far losses and gradient norms of the two sides may lie apart, relative above 1."""


def training_contest(
    settings: dict[str, Any],
    job_fields: dict[str, Any],
    *,
    corpus: str,
    vocab_size: int,
    dropout: float,
    names: Sequence[str] = tuple(SIDES),
) -> dict[str, Any]:
    """Prepare the text and the weights, check that both sides compute the same, let them take turns.

    Args:
        settings: all settings of the command, for the result; rounds, steps, threads and device are read from it.
        job_fields: the fields of :class:`~benchmarks.job.Job` besides the folder.
        corpus, vocab_size, dropout: see the commands.
        names: the sides that take part, ours first.

    Returns:
        Settings, machine, padding share, losses, rates and ratios.
    """
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
        return describe_run(settings) | {
            "padding_share": round(padding_share(row_lengths(job, tokenizer), job.batch_size), 3),
            "losses": {side.name: side.facts["losses"] for side in sides},
            "sides": {side.name: summary(side) for side in sides},
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


def row_lengths(job: Job, tokenizer: Tokenizer) -> list[int]:
    """Tokens of each example before padding."""
    if job.task == "mlm+nsp":
        source = pair_batches(job.folder, tokenizer, length=job.length, batch_size=job.batch_size, seed=0)
        pairs = (source.pairs.pair(number) for number in range(len(source.pairs)))
        return [len(pair.first) + len(pair.second) + 3 for pair in pairs]
    if job.blocks:
        return [job.length] * job.batch_size
    return [len(row) for row in texts(job.folder, tokenizer, length=job.length)]

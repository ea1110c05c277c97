"""``python -m benchmarks pretrain``: BERT's pretraining (masked tokens and next sentences) against Hugging Face."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from benchmarks import ours, theirs
from benchmarks.contest import Side, ratios, require_equal_losses, started, take_turns
from benchmarks.job import Job, prepare, save_batches
from benchmarks.results import describe_run, save_result, summary
from benchmarks.text import padding_share, pair_batches

OPPONENTS: dict[str, Side] = {"hf": theirs.train_as_documented, "hf-tuned": theirs.train_tuned}


def pretrain(
    against: Literal["hf"] = "hf",
    shape: str = "tiny",
    *,
    corpus: str = "wikitext-2",
    vocab_size: int = 8192,
    length: int = 128,
    batch_size: int = 32,
    dropout: float = 0.1,
    rounds: int = 6,
    steps: int = 4,
    device: str = "cpu",
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    compile: bool = False,
    threads: int = 2,
    save: bool = True,
) -> dict[str, Any]:
    """Train BERT with both pretraining objectives, on sentence pairs of natural lengths.

    Args:
        against: the library to measure against; it runs as documented and as tuned.
        shape: tiny, small, bert-base.
        corpus: wikitext-2 or python-documentation.
        vocab_size: size of the WordPiece vocabulary.
        length: the longest row in tokens.
        batch_size: rows of a batch.
        dropout: on both sides.
        rounds: number of measured rounds.
        steps: steps of a turn.
        device: cpu or cuda.
        precision: fp32, bf16 or fp16.
        compile: torch.compile on both sides.
        threads: threads of torch.
        save: store the result under benchmarks/results.
    """
    settings = {name: value for name, value in locals().items() if name != "save"}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            "mlm+nsp", Path(folder), shape, batch_size, length, device=device, precision=precision, compile=compile
        )
        tokenizer = prepare(job, corpus=corpus, vocab_size=vocab_size, dropout=dropout)
        source = pair_batches(job.folder, tokenizer, length=length, batch_size=batch_size, seed=0)
        save_batches(job, [source.batch(0), source.batch(1)])
        lengths = [len(p.first) + len(p.second) + 3 for p in map(source.pairs.pair, range(len(source.pairs)))]
        with ExitStack() as stack:
            sides = [
                stack.enter_context(started(name, side, replace(job), device=device, threads=threads))
                for name, side in {"plm": ours.train, **OPPONENTS}.items()
            ]
            require_equal_losses(sides, tolerance=1e-4)
            take_turns(sides, rounds=rounds, steps=steps, progress=print)
    result = describe_run(settings) | {
        "padding_share": round(padding_share(lengths, batch_size), 3),
        "losses": {side.name: side.facts["losses"] for side in sides},
        "sides": {side.name: summary(side) for side in sides},
        "ratios": {side.name: ratios(sides[0], side) for side in sides[1:]},
    }
    if save:
        save_result(f"pretrain_{shape}", result)
    return result

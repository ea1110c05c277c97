"""``python -m benchmarks generate``: greedy generation with the key-value cache against Hugging Face's ``generate``."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.contest import Orders, Side, ratios, started, take_turns
from benchmarks.job import Job, prepare
from benchmarks.results import describe_run, save_result, summary
from benchmarks.text import texts
from plm_core.data.tokenizers import Tokenizer
from plm_core.generation.decoding import generate as generate_ours
from plm_core.interop.huggingface import load_pretrained
from plm_core.models.cost import flops_per_token
from plm_core.models.gpt import Gpt
from plm_core.runtime import peak_flops, resolve_device

PROMPT = 16


@dataclass(frozen=True)
class GenerationJob:
    """What both sides of a generation contest are given."""

    job: Job
    new_tokens: int

    def prompts(self) -> Tensor:
        """Beginnings of paragraphs, (B, PROMPT)."""
        tokenizer = Tokenizer.load(self.job.model_folder)
        rows = texts(self.job.folder, tokenizer, length=self.job.length)
        rows = [row[:PROMPT] for row in rows if len(row) >= PROMPT][: self.job.batch_size]
        return torch.tensor(rows, device=self.job.device)


def generate_with_ours(orders: Orders, job: GenerationJob) -> None:
    """Continue the prompts with our ``generate``."""
    prompts = job.prompts()
    orders.memory_baseline()
    model = load_pretrained(job.job.model_folder).to(job.job.device)
    assert isinstance(model, Gpt)

    def once() -> Tensor:
        return generate_ours(model, prompts, max_new_tokens=job.new_tokens, temperature=0.0)

    follow(orders, once, prompts, job)


def generate_with_theirs(orders: Orders, job: GenerationJob) -> None:
    """Continue the prompts with ``GenerationMixin.generate``, as documented: greedy, with its cache."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    prompts = job.prompts()
    orders.memory_baseline()
    model = transformers.GPT2LMHeadModel.from_pretrained(job.job.model_folder).to(job.job.device).eval()
    mask = torch.ones_like(prompts)

    def once() -> Tensor:
        return model.generate(
            prompts,
            attention_mask=mask,
            do_sample=False,
            min_new_tokens=job.new_tokens,
            max_new_tokens=job.new_tokens,
            eos_token_id=None,
            pad_token_id=0,
        )

    follow(orders, once, prompts, job)


def follow(orders: Orders, once: Any, prompts: Tensor, job: GenerationJob) -> None:
    """Show the first continuation, then generate as often as each order says."""
    orders.built(continuation=once().tolist())
    while steps := orders.next():
        for _ in range(steps):
            once()
        orders.done(steps * job.new_tokens * len(prompts))
    orders.end()


def without_memory(values: dict[str, Any]) -> dict[str, Any]:
    """Drop the peak memory: generation needs less than what loading the model has freed, so nothing can be read off."""
    return {name: value for name, value in values.items() if name not in ("peak_mib", "peak_memory")}


SIDES: dict[str, Side] = {"plm": generate_with_ours, "hf": generate_with_theirs}


def generate(
    *,
    against: Literal["hf"] = "hf",
    shape: str = "tiny",
    corpus: str = "wikitext-2",
    vocab_size: int = 8192,
    new_tokens: int = 96,
    batch_size: int = 8,
    rounds: int = 6,
    steps: int = 2,
    device: str = "cpu",
    threads: int = 2,
    save: bool = True,
) -> dict[str, Any]:
    """Continue prompts greedily; both sides must write the same tokens.

    Args:
        against: the library to measure against.
        shape: tiny, small or gpt2.
        corpus: wikitext-2 or python-documentation.
        vocab_size: size of the WordPiece vocabulary.
        new_tokens: tokens that each prompt is continued by.
        batch_size: number of prompts.
        rounds: number of measured rounds.
        steps: continuations of a turn.
        device: cpu or cuda.
        threads: threads of torch.
        save: store the result under benchmarks/results.
    """
    settings = {name: value for name, value in locals().items() if name != "save"}
    resolve_device(device)
    with tempfile.TemporaryDirectory() as folder:
        job = Job("causal", Path(folder), shape, batch_size, PROMPT + new_tokens, device=device)
        tokenizer = prepare(job, corpus=corpus, vocab_size=vocab_size, dropout=0.0)
        work = GenerationJob(job, new_tokens)
        with ExitStack() as stack:
            sides = [
                stack.enter_context(started(name, side, work, device=device, threads=threads))
                for name, side in SIDES.items()
            ]
            if sides[0].facts["continuation"] != sides[1].facts["continuation"]:
                raise ValueError("the two sides continue the same prompts differently")
            take_turns(sides, rounds=rounds, steps=steps, progress=print)
    config = job.model_config(vocab_size=tokenizer.vocab_size, dropout=0.0)
    flops = flops_per_token(config, PROMPT + new_tokens // 2)
    peak = peak_flops(torch.device(device), "fp32")
    result = describe_run(settings) | {
        "flops_per_token": round(flops),
        "sides": {side.name: without_memory(summary(side, flops_per_token=flops, peak=peak)) for side in sides},
        "ratios": {"hf": without_memory(ratios(sides[0], sides[1]))},
    }
    if save:
        save_result(f"generate_{shape}" if batch_size > 1 else f"generate_{shape}_one", result)
    return result

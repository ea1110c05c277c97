"""Put runs side by side: what each model is worth, how large its file is, and how fast it answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from plm_core.compression.saved import save_compressed
from plm_core.evaluation.benchmark import Row, file_bytes, stored_numbers, time_in_turns
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.pretraining.run import open_run
from plm_core.pretraining.sources import make_sources
from plm_core.pretraining.texts import load_texts
from plm_core.training.validation import validate

LARGE_BATCH = 32


def compare_runs(runs: Sequence[Path], *, rounds: int = 20, threads: int | None = None) -> list[Row]:
    """Measure runs against each other, in turns.

    Args:
        runs: output folders; names in the table are those of the folders.
        rounds: counted calls of each model.
        threads: torch's number of threads; unchanged by default.

    Raises:
        FileNotFoundError: a folder that is no run.
        ValueError: no run, two of one name, or runs with different objectives or texts.
    """
    if not runs:
        raise ValueError("name at least one run")
    opened = {run.name: open_run(run) for run in runs}
    if len(opened) < len(runs):
        raise ValueError(f"the table names folders, so these need different names: {', '.join(map(str, runs))}")
    first = next(iter(opened.values()))[0]
    for name, (config, _, _) in opened.items():
        if (config.objective, config.corpus, config.documents) != (first.objective, first.corpus, first.documents):
            raise ValueError(f"{name} has another objective or corpus: what differs in kind cannot be compared")
    texts = load_texts(first)
    quality: dict[str, dict[str, float]] = {}
    one: dict[str, Callable[[], object]] = {}
    many: dict[str, Callable[[], object]] = {}
    sizes: dict[str, int] = {}
    tokens = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, (config, tokenizer, model) in opened.items():
            sources = make_sources(config, texts, tokenizer, Path(scratch))
            quality[name] = validate(model, sources.objective, sources.valid)
            ids = torch.randint(5, tokenizer.vocab_size, (LARGE_BATCH, config.context))
            one[name], many[name], tokens = partial(answer, model, ids[:1]), partial(answer, model, ids), ids.numel()
            save_compressed(model, Path(scratch) / name)
            sizes[name] = file_bytes(Path(scratch) / name)
    latency = time_in_turns(one, rounds=rounds, threads=threads)
    busy = time_in_turns(many, rounds=max(2, rounds // 4), warmup=1, threads=threads)
    return [
        Row(name, stored_numbers(model), sizes[name], latency[name], tokens / busy[name].median, quality[name])
        for name, (_, _, model) in opened.items()
    ]


def answer(model: Bert | Gpt, ids: torch.Tensor) -> torch.Tensor:
    """The trunk's states: what latency is measured on, the same for every kind of head."""
    return model.hidden_states(ids)

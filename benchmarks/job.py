"""What both sides of a training contest are given: the same numbers, and a folder with the same text and weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.shapes import bert_config, gpt_config
from benchmarks.text import prepare_text
from plm_core.data.batch import real_tokens
from plm_core.data.tokenizers import Tokenizer
from plm_core.interop.huggingface import save_pretrained
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.runtime import Precision

Task = Literal["mlm+nsp", "causal"]

BATCHES = "batches.pt"


@dataclass(frozen=True)
class Job:
    """A training contest."""

    task: Task
    folder: Path
    """Holds the text, the tokenizer and the initial weights."""
    shape: str
    batch_size: int
    length: int
    """The longest row, in tokens."""
    blocks: bool = False
    """Causal only: rows cut from one long text, all full, in place of paragraphs."""
    device: str = "cpu"
    precision: Precision = "fp32"
    compile: bool = False
    seed: int = 0

    @property
    def model_folder(self) -> Path:
        """Where the initial weights are."""
        return self.folder / "model"

    def model_config(self, *, vocab_size: int, dropout: float) -> BertConfig | GptConfig:
        """The model's shape."""
        make = bert_config if self.task == "mlm+nsp" else gpt_config
        return make(self.shape, vocab_size=vocab_size, length=self.length, dropout=dropout)


def prepare(job: Job, *, corpus: str, vocab_size: int, dropout: float) -> Tokenizer:
    """Write what both sides read: text, tokenizer, weights."""
    tokenizer = prepare_text(job.folder, corpus, vocab_size=vocab_size, length=job.length)
    config = job.model_config(vocab_size=tokenizer.vocab_size, dropout=dropout)
    torch.manual_seed(job.seed)
    model = Bert(config) if isinstance(config, BertConfig) else Gpt(config)
    save_pretrained(model, job.model_folder, tokenizer=tokenizer)
    return tokenizer


def save_batches(job: Job, batches: list[dict[str, Tensor]]) -> None:
    """Store the batches on which the two sides must agree."""
    torch.save(batches, job.folder / BATCHES)


def load_batches(job: Job) -> list[dict[str, Tensor]]:
    """The batches of :func:`save_batches`."""
    return torch.load(job.folder / BATCHES, weights_only=True)


def gradient_norm(model: torch.nn.Module) -> float:
    """The length of all gradients together; they are cleared."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return float(norm)


class TokenCount:
    """Counts the real tokens that pass through a model, on either side."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._count: Tensor | int = 0
        model.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, model: torch.nn.Module, positional: object, inputs: dict[str, Any]) -> None:
        sequences = inputs.get("sequences")
        self._count += real_tokens(inputs).sum() if sequences is None else len(sequences.token_indices)

    def take(self) -> int:
        """The count since the last call."""
        taken, self._count = int(self._count), 0
        return taken

"""The parts of ``python -m benchmarks gpu``: ``python -m benchmarks.gpu_parts KIND`` measures one and writes a file."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.results import describe_run
from plm_core.data.batches import WindowBatches
from plm_core.data.corpora import python_documentation
from plm_core.data.datasets import text8, wikitext2
from plm_core.distributed import start_processes
from plm_core.evaluation.perplexity import text_loss
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.varlen import PackedSequences, attend_packed, varlen_available
from plm_core.objectives.causal_lm import CausalLM
from plm_core.runtime import Precision, resolve_device, resolve_precision
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.precision import LossScaler
from plm_core.training.trainer import Trainer

HALF: tuple[torch.dtype, ...] = (torch.bfloat16, torch.float16)
CHAPTER_RUNS = (
    ("A1c_floor", "Transformer, 0.8 M", 0),
    ("09_causal_language_modelling", None, 0),
    ("10_masked_language_modelling", None, 0),
)
"""Experiments whose larger size decides something: script, variant (None: all), seed."""


@dataclass(frozen=True)
class Setting:
    """What a part is told."""

    device: torch.device
    corpus: str
    dry_run: bool
    seconds: float
    output: Path
    compile: bool


def varlen(setting: Setting) -> dict[str, Any]:
    """Attention over packed sequences by the kernel, against each sequence alone in fp32: outputs and gradients.

    Reported is the largest error relative to the largest value, of the kernel and of torch's own attention in the same
    precision, which rounds its products as well.
    """
    lengths = (3, 17) if setting.dry_run else (1, 7, 64, 129, 512, 1000)
    rows = []
    for head_size in (16,) if setting.dry_run else (32, 64, 128):
        for dtype in HALF:
            for is_causal in (False, True):
                shape = (1, 4, sum(lengths), head_size)
                generator = torch.Generator().manual_seed(0)
                q, k, v, up = (torch.randn(shape, generator=generator).to(setting.device) for _ in range(4))
                packed = packed_sequences(lengths, setting.device)
                low = tuple(x.to(dtype) for x in (q, k, v))
                exact = with_gradients(low, up, packed, is_causal, dtype=torch.float32)
                ours = with_gradients(low, up, packed, is_causal, dtype=dtype)
                theirs = with_gradients(low, up, packed, is_causal, dtype=dtype, alone=True)
                rows.append(
                    {
                        "head_size": head_size,
                        "dtype": str(dtype).removeprefix("torch."),
                        "is_causal": is_causal,
                        "kernel": varlen_available(low[0], head_size=head_size, dropout=0.0),
                        "error": [relative(a, b) for a, b in zip(ours, exact, strict=True)],
                        "error_of_torch": [relative(a, b) for a, b in zip(theirs, exact, strict=True)],
                    }
                )
    return {"of": ["output", "gradient of q", "gradient of k", "gradient of v"], "rows": rows}


def packed_sequences(lengths: tuple[int, ...], device: torch.device) -> PackedSequences:
    """Sequences of such lengths that fill a row each in part, laid end to end."""
    longest = max(lengths)
    indices = torch.cat([row * longest + torch.arange(length) for row, length in enumerate(lengths)])
    bounds = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    return PackedSequences(indices.to(device), bounds.to(device), (len(lengths), longest))


def with_gradients(
    low: tuple[Tensor, ...],
    up: Tensor,
    packed: PackedSequences,
    is_causal: bool,
    *,
    dtype: torch.dtype,
    alone: bool = False,
) -> list[Tensor]:
    """Output and gradients, from the same rounded inputs, computed in a type; ``alone``: sequence by sequence."""
    q, k, v = (x.detach().to(dtype).requires_grad_() for x in low)
    if alone or dtype == torch.float32:
        triples = zip(packed.split(q), packed.split(k), packed.split(v), strict=True)
        out = packed.join([F.scaled_dot_product_attention(a, b, c, is_causal=is_causal) for a, b, c in triples])
    else:
        out = attend_packed(q, k, v, packed, is_causal=is_causal)
    (out.float() * up).sum().backward()
    return [x.detach().float() for x in (out, q.grad, k.grad, v.grad) if x is not None]


def relative(found: Tensor, wanted: Tensor) -> float:
    """The largest error over the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


def fp16(setting: Setting) -> dict[str, Any]:
    """The same training in fp32 and in fp16, and in fp16 from a scale that overflows at first: losses and skips."""
    runs = {
        "fp32": train_on_documentation(setting, "fp32"),
        "fp16": train_on_documentation(setting, "fp16"),
        "fp16 from 2^40": train_on_documentation(setting, "fp16", init_scale=2.0**40),
    }
    assert runs["fp16 from 2^40"]["skipped"] > 0  # the scale overflowed, and the run went on
    return runs


def train_on_documentation(
    setting: Setting, precision: Precision, *, init_scale: float | None = None
) -> dict[str, float]:
    """Train a small GPT for a few steps on Python's documentation by bytes; the last loss and the skipped steps."""
    steps = 4 if setting.dry_run else 200
    trainer = byte_trainer(setting, corpus_bytes("python-documentation", "train"), precision, steps=steps, size=128)
    if init_scale is not None:
        trainer.scaler = LossScaler(setting.device, init_scale=init_scale)
    trainer.fit()
    skipped = trainer.progress.micro_batch_groups - trainer.progress.step
    return {"loss": trainer.records[-1]["train/loss"], "steps": trainer.progress.step, "skipped": skipped}


def byte_trainer(setting: Setting, text: Tensor, precision: Precision, *, steps: int, size: int) -> Trainer:
    """A trainer of a GPT over bytes, seeded, on this setting's device."""
    torch.manual_seed(0)
    size, batch_size = (32, 2) if setting.dry_run else (size, 32)
    config = GptConfig(
        vocab_size=256,
        hidden_size=size,
        num_hidden_layers=2 if setting.dry_run else size // 64 + 2,
        num_attention_heads=max(2, size // 64),
        intermediate_size=4 * size,
        max_position_embeddings=None,
        position="rope",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    training = TrainConfig(
        steps=steps,
        learning_rate=6e-4,
        schedule="cosine",
        warmup_steps=steps // 20,
        log_every=max(1, steps // 20),
        eval_every=10**9,
        save_every=10**9,
        compile=setting.compile,
    )
    source = WindowBatches(text.numpy(), context=context_of(setting), batch_size=batch_size, seed=0)
    hardware = Hardware(setting.device, precision, start_processes(device=str(setting.device)))
    model = Gpt(config).to(setting.device)
    return Trainer(model, CausalLM(), source, training, hardware=hardware, quiet=True)


def context_of(setting: Setting) -> int:
    """Bytes of a window."""
    return 32 if setting.dry_run else 256


def corpus_bytes(corpus: str, part: Literal["train", "test"]) -> Tensor:
    """The bytes of a part of a corpus, as ids; Python's documentation is cut 90 to 10.

    Raises:
        ValueError: an unknown corpus.
    """
    if corpus == "python-documentation":
        whole = "\n".join(document.text for document in python_documentation()).encode()
        cut = len(whole) * 9 // 10
        found = whole[:cut] if part == "train" else whole[cut:]
    elif corpus == "wikitext-2":
        found = "\n".join(document.text for document in wikitext2(part)).encode()
    elif corpus == "text8":
        found = text8(part).encode()
    else:
        raise ValueError(f"unknown corpus {corpus!r}: use python-documentation, wikitext-2 or text8")
    return torch.frombuffer(bytearray(found), dtype=torch.uint8).long()


def one_rank(setting: Setting) -> dict[str, Any]:
    """Training in a process group of one (NCCL on a GPU, gloo on a CPU) ends with the weights of training alone."""
    text, steps = corpus_bytes("python-documentation", "train"), 3 if setting.dry_run else 20
    alone = byte_trainer(setting, text, "fp32", steps=steps, size=128)
    alone.fit()
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    grouped = byte_trainer(setting, text, "fp32", steps=steps, size=128)
    grouped.fit()
    backend = torch.distributed.get_backend_config()
    torch.distributed.destroy_process_group()
    pairs = zip(alone.model.parameters(), grouped.model.parameters(), strict=True)
    return {"backend": backend, "largest_difference": max(float((a - b).abs().max()) for a, b in pairs)}


def bert(setting: Setting) -> dict[str, Any]:
    """BERT-base's pretraining at 512 tokens, beside Hugging Face's trainer: tokens a second and share of the peak."""
    from benchmarks.pretrain import pretrain  # with Hugging Face's library, for which the other parts need not wait

    return contest(setting, pretrain, shape="bert-base", length=512)


def gpt2(setting: Setting) -> dict[str, Any]:
    """GPT-2's training (124 M parameters with its own vocabulary) on full blocks of 1,024, likewise."""
    from benchmarks.causal import causal

    return contest(setting, causal, shape="gpt2", length=1024, rows="blocks")


def contest(setting: Setting, command: Callable[..., dict[str, Any]], **shape: Any) -> dict[str, Any]:
    """One of the contests, in bf16 where the device has it."""
    if setting.dry_run:
        shape |= {"shape": "smoke", "length": 32}
    return command(
        **shape,
        corpus="python-documentation" if setting.corpus == "text8" else setting.corpus,
        vocab_size=600 if setting.dry_run else 8192,
        batch_size=2 if setting.dry_run else 32,
        dropout=0.0,  # the kernel over packed sequences drops no weights
        rounds=1 if setting.dry_run else 4,
        steps=1 if setting.dry_run else 10,
        device=str(setting.device),
        precision=resolve_precision("auto", setting.device),
        compile=setting.compile and not setting.dry_run,
        threads=1 if setting.dry_run else 8,
        save=False,
    )


def text(setting: Setting) -> dict[str, Any]:
    """Bits per byte of a GPT over bytes that trains for most of the time that is left.

    Twenty steps measure the speed; the number of steps follows from it, so that the schedule ends in time.
    """
    train, precision = corpus_bytes(setting.corpus, "train"), resolve_precision("auto", setting.device)
    trial = byte_trainer(setting, train, precision, steps=20, size=512)
    begun = time.monotonic()
    trial.fit()
    seconds = (time.monotonic() - begun) / 20
    steps = 20 if setting.dry_run else int(0.6 * setting.seconds / seconds)
    trainer = byte_trainer(setting, train, precision, steps=steps, size=512)
    trainer.fit()
    test = corpus_bytes(setting.corpus, "test")[: 2000 if setting.dry_run else 1_000_000].to(setting.device)
    loss = text_loss(trainer.model, test, context=context_of(setting), characters=len(test) - 1)
    return {
        "corpus": setting.corpus,
        "steps": steps,
        "seconds_a_step": seconds,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "bits_per_byte": loss.bits_per_character,
        "tested_bytes": len(test) - 1,
    }


def chapters(setting: Setting) -> dict[str, Any]:
    """The larger size of the experiments that decide something, one run after the other while time is left."""
    root, end, done = Path(__file__).parent.parent, time.monotonic() + setting.seconds - 5, []
    for name, variant, seed in CHAPTER_RUNS[: 0 if setting.dry_run else None]:
        command = [sys.executable, "-m", "book", "experiment", name, "--preset", "gpu", "--partial", "--jobs", "1"]
        command += ["--seeds", str(seed), *(["--variants", variant] if variant else [])]
        try:
            subprocess.run(command, cwd=root, check=True, timeout=max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            break  # what is finished is saved, and the same command goes on with it
        stored = root / "chapters" / "experiments" / "results" / f"{name}.gpu.json"
        if stored.is_file():
            shutil.copy(stored, setting.output.parent / stored.name)
        done.append(name)
    return {"done": done}


KINDS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "varlen": varlen,
    "fp16": fp16,
    "one-rank": one_rank,
    "bert": bert,
    "gpt2": gpt2,
    "text": text,
    "chapters": chapters,
}


def main() -> None:
    """Measure one part and write its file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_parts")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--corpus", default="python-documentation")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    setting = Setting(
        resolve_device(given.device), given.corpus, given.dry_run, given.seconds, given.output, given.compile
    )
    if given.dry_run:
        torch.set_num_threads(1)
    result = describe_run({"kind": given.kind, "device": given.device, "dry_run": given.dry_run})
    with tempfile.NamedTemporaryFile("w", dir=given.output.parent, suffix=".part", delete=False) as file:
        json.dump(result | {"result": KINDS[given.kind](setting)}, file, indent=1)
    Path(file.name).replace(given.output)


if __name__ == "__main__":
    main()

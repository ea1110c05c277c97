"""A GPT of the shape that the chapter builds, trained on real text until it beats counting, or until the budget ends.

**Text.** Multi30k's English captions, one sentence each, as words; a word that occurs fewer than five times in training
is [UNK], for both readers. Training, validation and test captions are those of the corpus. A caption begins and ends
with the same id, and neither reader sees the caption before.

**Readers.** A GPT with learned positions, LayerNorm, GELU, biases and tied words, of 2 blocks of width 64. It makes
:data:`STEPS` steps of 64 captions (5 times through the text) with Muon for the matrices of the blocks and AdamW for the
rest, at one rate, which was not swept. Beside it modified Kneser-Ney of each of :data:`ORDERS`, counted on the same
training captions; its order is the best on validation captions.

**Criterion**, set before the run: the GPT beats counting if the 95 % interval of the paired difference of the losses of
the 1,000 test captions (normal, over captions, ratio to their words) lies below zero in each seed. The interval speaks
of other captions, the seeds of other initial weights and orders of training.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.data.datasets import Split, multi30k
from plm_core.data.tokenizer_training import train_words
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.ngram import KneserNey
from plm_core.runtime import setup
from plm_core.training.optim import MuonAdamW, decay_groups, hidden_matrices, set_learning_rate

VARIANTS = ["GPT"]
SEEDS = [0, 1]
EPOCHS, BATCH, RATE, WARMUP = 5, 64, 1e-2, 50
ORDERS = [1, 2, 3, 4, 5, 6]
WIDTH, LAYERS, POSITIONS = 64, 2, 64
STEPS = EPOCHS * (29_000 // BATCH)
EVERY = STEPS // EPOCHS // 2
"""Steps between two points of the learning curve."""


@cache
def captions() -> tuple[dict[Split, list[Tensor]], int]:
    """Captions as ids, each between two of the last id, and the number of ids."""
    splits: tuple[Split, ...] = ("train", "validation", "test")
    texts = {split: [pair.source for pair in multi30k(split)] for split in splits}
    tokenizer = train_words(texts["train"], min_frequency=5, lowercase=True)
    end = len(tokenizer)
    encoded = {
        split: [torch.tensor([end, *tokenizer.encode(text), end])[-POSITIONS - 1 :] for text in each]
        for split, each in texts.items()
    }
    return encoded, end + 1


def build(seed: int) -> Gpt:
    """The library's model; matrices are drawn from N(0, 1/D), the last of each branch from N(0, 1/(2·L·D))."""
    torch.manual_seed(seed)
    config = GptConfig(
        vocab_size=captions()[1],
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=POSITIONS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=WIDTH**-0.5,
    )
    return Gpt(config)


def batches(seed: int) -> Iterator[list[Tensor]]:
    """Batches of captions of similar lengths, epoch after epoch, each epoch in another order."""
    rows, draw = captions()[0]["train"], random.Random(seed)
    for _ in range(EPOCHS):
        order = draw.sample(rows, len(rows))
        parts = [sorted(order[i : i + 16 * BATCH], key=len) for i in range(0, len(order), 16 * BATCH)]
        shuffled = [part[i : i + BATCH] for part in parts for i in range(0, len(part) - BATCH + 1, BATCH)]
        yield from draw.sample(shuffled, len(shuffled))


def losses(model: Callable[[Tensor], Tensor], rows: list[Tensor]) -> Tensor:
    """The loss of each word of captions, (B, T), in nats; 0 for padding, which stands on the right."""
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
    logits = model(ids[:, :-1].clamp(min=0))
    return F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], ignore_index=-1, reduction="none")


@torch.no_grad()
def score(model: nn.Module, split: Split) -> list[float]:
    """The loss of each caption, in nats."""
    rows = captions()[0][split]
    return [nats for i in range(0, len(rows), 50) for nats in losses(model, rows[i : i + 50]).sum(1).tolist()]


def words(split: Split) -> int:
    """The number of words that are predicted, ends of captions included."""
    return sum(len(row) - 1 for row in captions()[0][split])


def train(model: nn.Module, seed: int, folder: Path | None = None) -> Iterator[tuple[int, float]]:
    """Train a model that has one list of blocks; yields each step's number, from 1, and its loss in nats a word.

    Args:
        model: what is trained: ids (B, T) to logits (B, T, V).
        seed: of the order of the captions.
        folder: where to write the state every ``EVERY`` steps, and to go on from it; the steps that were made before
            are not yielded again.
    """
    optimizer = MuonAdamW(
        decay_groups(model, 0.1), hidden_matrices(model), learning_rate=RATE, momentum=0.95, betas=(0.9, 0.95)
    )
    start, path = 0, folder / "state.pt" if folder else None
    if path and path.exists():
        state = torch.load(path)
        start = state["step"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for step, rows in enumerate(batches(seed)):
        if step < start:
            continue
        set_learning_rate(optimizer, RATE * min((step + 1) / WARMUP, 1 - 0.95 * step / STEPS))
        each = losses(model, rows)
        loss = each.sum() / sum(len(row) - 1 for row in rows)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if path and (step + 1) % EVERY == 0:
            state = {"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
        yield step + 1, loss.item()


def counting() -> dict[str, Any]:
    """Kneser-Ney of each order: validation and test loss in nats a word, and the test loss of each caption at the best
    order."""
    rows, size = captions()
    valid: list[float] = []
    test: list[float] = []
    best: list[float] = []
    for order in ORDERS:
        model = KneserNey(size, order=order).fit([row.numpy() for row in rows["train"]])
        valid.append(sum(model.nats(row.numpy())[1:].sum() for row in rows["validation"]) / words("validation"))
        each = [float(model.nats(row.numpy())[1:].sum()) for row in rows["test"]]
        test.append(sum(each) / words("test"))
        best = each if valid[-1] == min(valid) else best
    return {"valid": valid, "test": test, "captions": best}


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Train with one seed: the first losses, the validation curve, the test loss, and its difference to counting."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    first = list(islice(train(build(seed), seed), 20))
    model, notes = build(seed), folder / "curve.txt"
    for step, _ in train(model, seed, folder):
        if step % EVERY == 0:
            with notes.open("a") as file:
                file.write(f"{sum(score(model, 'validation')) / words('validation'):.4f}\n")
    counts, own = counting(), score(model, "test")
    difference = torch.tensor(own) - torch.tensor(counts.pop("captions"))
    ratio = difference.sum() / words("test")  # nats a word
    lengths = torch.tensor([len(row) - 1.0 for row in captions()[0]["test"]])
    error = (difference - ratio * lengths).std() * len(lengths) ** 0.5 / words("test")
    curve = [float(line) for line in notes.read_text().split()]
    return {
        "first": [round(loss, 5) for _, loss in first],
        "curve": curve,
        "test": sum(own) / words("test"),
        "counts": counts,
        "difference": [ratio.item(), (ratio - 1.96 * error).item(), (ratio + 1.96 * error).item()],
        "parameters": num_parameters(model),
        "vocabulary": captions()[1],
        "words": {split: words(split) for split in captions()[0]},
    }

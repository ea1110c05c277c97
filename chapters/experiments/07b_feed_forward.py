"""Feed-forward networks on real text: the sweep of learning rates that 07c uses.

Character models of two blocks read Python's own documentation. All arms have the same number of parameters, to 0.3 %:
SwiGLU has three matrices of two thirds of the width, and the arm without activation keeps both matrices of the
feed-forward network and leaves out what stands between them. Each arm is trained at each of :data:`RATES` with one
seed, which 07c does not use again; the rate with the lowest loss on validation text is taken.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.data.corpora import python_documentation
from plm_core.models.blocks import Block, FeedForward
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.ngram import KneserNey
from plm_core.runtime import setup

VARIANTS = ["GELU", "SwiGLU", "no activation"]
SEEDS = [0]
RATES = [1.6e-3, 4e-3, 1e-2, 2.5e-2, 6e-2]
STEPS, WARMUP, BATCH, CONTEXT, WIDTH = 150, 15, 12, 64, 64


class LinearFeedForward(FeedForward):
    """Two linear layers and nothing between them."""

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D): down(up(x))."""
        return self.down(self.up(x_BTD))


@cache
def texts() -> dict[str, Tensor]:
    """Python's documentation as character ids: of ten pages eight are for training, one for validation, one for test.
    Characters that the training pages do not have are left out."""
    pages = [page.text + "\n" for page in python_documentation()]
    split = {
        "train": "".join(page for number, page in enumerate(pages) if number % 10 < 8),
        "valid": "".join(pages[8::10]),
        "test": "".join(pages[9::10]),
    }
    ids = {character: number for number, character in enumerate(sorted(set(split["train"])))}
    return {name: torch.tensor([ids[c] for c in text if c in ids]) for name, text in split.items()}


def vocab_size() -> int:
    """Number of different characters of the training text."""
    return int(texts()["train"].max()) + 1


def build(variant: str) -> Gpt:
    """The model of an arm."""
    gated = variant == "SwiGLU"
    config = GptConfig(
        vocab_size=vocab_size(),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=8 * WIDTH // 3 if gated else 4 * WIDTH,
        max_position_embeddings=None,
        position="rope",
        hidden_act="swiglu" if gated else "gelu",
        use_bias=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=WIDTH**-0.5,
    )
    model = Gpt(config)
    if variant == "no activation":
        for block in model.decoder.layers:
            assert isinstance(block, Block)
            block.feed_forward.__class__ = LinearFeedForward
    return model


def windows(name: str) -> Tensor:
    """A held-out text in windows side by side, (N, CONTEXT + 1); the last character of one is the first of the next."""
    return texts()[name].unfold(0, CONTEXT + 1, CONTEXT)


@torch.no_grad()
def evaluate(model: Gpt, name: str) -> float:
    """Mean loss on a held-out text, in nats a character."""
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for rows in windows(name).split(64):
        logits = model(rows[:, :-1].to(device)).flatten(0, 1)
        total += F.cross_entropy(logits, rows[:, 1:].flatten().to(device), reduction="sum").item()
        count += rows[:, 1:].numel()
    return total / count


def train(variant: str, seed: int, rate: float, *, device: torch.device | str = "cpu") -> Gpt:
    """Train one arm at one rate: AdamW, linear warm-up, linear decay to a tenth, gradients clipped to norm 1."""
    torch.manual_seed(seed)
    model = build(variant).to(device)
    generator, text = torch.Generator().manual_seed(seed), texts()["train"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * min((step + 1) / WARMUP, 1 - 0.9 * step / STEPS)
        starts = torch.randint(len(text) - CONTEXT, (BATCH,), generator=generator)
        rows = torch.stack([text[start : start + CONTEXT + 1] for start in starts.tolist()]).to(device)
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def counting(name: str, order: int) -> float:
    """Loss of a Kneser-Ney model of characters on the windows that the networks are tested on, in nats a character."""
    model = KneserNey(vocab_size(), order=order).fit([texts()["train"].numpy()])
    rows = windows(name).numpy()
    return float(np.mean([model.nats(row)[1:].mean() for row in rows]))


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one arm at all rates; the loss of each on validation text, in nats a character."""
    device = setup(seed=seed, preset=preset).device
    torch.set_num_threads(1)
    losses = [evaluate(train(variant, seed, rate, device=device), "valid") for rate in RATES]
    return {"valid": losses, "parameters": num_parameters(build(variant))}

"""Where the norm stands, on real text: how fast post-norm and scaled pre-norm learn, each with its own sweep of rates.

A causal Transformer of 4 blocks reads the characters of tinyshakespeare. With one seed both arms see the same batches.
The rate of an arm is the one with the lowest mean loss on validation text; what is reported is the loss on test text.
The budget is small and no curve is flat at its end: what is compared is how fast the arms learn. Criterion, set before
the runs: the 95 % interval of the paired difference (Student's t, two degrees of freedom) does not contain zero. The
plan had four arms more, unscaled branches, RMSNorm and tied against untied embeddings of tokens; they were cut for time
and never run.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.experiments.side_by_side import SideBySide
from plm_core.data.datasets import tinyshakespeare
from plm_core.data.tokenizer_training import train_characters
from plm_core.models.blocks import Block
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.ngram import KneserNey
from plm_core.runtime import setup

VARIANTS = ["pre, scaled", "post"]
SEEDS = [0, 1, 2]
RATES = {"pre, scaled": [1.6e-3, 4e-3, 1e-2, 2.5e-2, 6e-2], "post": [6e-4, 1.6e-3, 4e-3, 1e-2, 2.5e-2]}
STEPS, WARMUP, BATCH, CONTEXT, WIDTH, LAYERS = 200, 20, 8, 48, 32, 4
WINDOWS = 200
"""Windows of validation and of test text that are scored, spread evenly."""


@cache
def texts() -> tuple[dict[str, Tensor], int]:
    """Training, validation and test text as ids of characters, and how many characters there are."""
    tokenizer = train_characters([tinyshakespeare("train")])
    parts = {"train": tinyshakespeare("train"), "valid": tinyshakespeare("validation"), "test": tinyshakespeare("test")}
    return {name: torch.tensor(tokenizer.encode(text)) for name, text in parts.items()}, len(tokenizer)


def build(variant: str) -> Gpt:
    """The model of an arm; linear weights and embeddings are drawn from N(0, 1/D), the end of a scaled branch from
    N(0, 1/(2·L·D))."""
    config = GptConfig(
        vocab_size=texts()[1],
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=CONTEXT,
        norm_position="post" if variant == "post" else "pre",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=WIDTH**-0.5,
    )
    model = Gpt(config)  # scaled
    if variant == "post":
        for block in model.decoder.layers:
            assert isinstance(block, Block)
            for last in (block.attention.output, block.feed_forward.down):
                nn.init.normal_(last.weight, std=config.initializer_range)
    return model


def windows(name: str) -> Tensor:
    """Windows of a held-out text, (WINDOWS, CONTEXT + 1)."""
    rows = texts()[0][name].unfold(0, CONTEXT + 1, CONTEXT)
    return rows[:: len(rows) // WINDOWS][:WINDOWS]


def loss(together: SideBySide, rows: Tensor) -> Tensor:
    """Mean loss of each model on windows, (M,), in nats a character."""
    logits_MBTV = together(rows[:, :-1])
    answers_MBT = rows[:, 1:].expand(len(logits_MBTV), -1, -1)
    return F.cross_entropy(logits_MBTV.movedim(-1, 1), answers_MBT, reduction="none").mean((1, 2))


def counting(order: int) -> float:
    """Loss of a Kneser-Ney model of the whole training text on the test windows, in nats a character."""
    ids, vocab_size = texts()
    model = KneserNey(vocab_size, order=order).fit([ids["train"].numpy()])
    return float(np.mean([model.nats(row)[1:].mean() for row in windows("test").numpy()]))


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one arm with one seed at all its rates, with warm-up, linear decay to a tenth and gradients clipped to norm
    1; the loss of each on validation and test text, in nats a character."""
    device = setup(seed=seed, preset=preset).device
    torch.set_num_threads(1)
    models = []
    for _ in RATES[variant]:
        torch.manual_seed(seed)
        models.append(build(variant).to(device))
    together = SideBySide(models, RATES[variant], clip=1.0)
    generator, text = torch.Generator().manual_seed(seed), texts()[0]["train"]
    for step in range(STEPS):
        starts = torch.randint(len(text) - CONTEXT, (BATCH,), generator=generator)
        rows = torch.stack([text[start : start + CONTEXT + 1] for start in starts.tolist()])
        together.step(loss(together, rows.to(device)), min((step + 1) / WARMUP, 1 - 0.9 * step / STEPS))
    scores: dict[str, Any] = {"parameters": num_parameters(models[0])}
    with torch.no_grad():
        for name in ("valid", "test"):
            parts = [loss(together, part.to(device)) for part in windows(name).split(50)]
            scores[name] = torch.stack(parts).mean(0).tolist()
    return scores

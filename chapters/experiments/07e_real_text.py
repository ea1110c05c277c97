"""Norms, initial weights and tied words on real text: how fast six arms learn, each with its own sweep of rates.

A causal Transformer of 4 blocks of width 32 reads the characters of tinyshakespeare, 200 steps of 8 windows of 48. All
arms but one differ from "pre, scaled" in one thing; "post" differs from "post, scaled" in one. In "untied" the output
layer has a matrix of its own, and so 4 % more parameters. The rate of an arm is the best of five or more on validation
text, with a seed that is used for nothing else; if it is the lowest or the highest, the sweep goes on. What is reported
is the loss on test text of eight other seeds, with which all arms see the same batches.

No curve is flat at its end: what is compared is how fast the arms learn. Criterion, set before the runs: two arms
differ if the interval of their difference, paired by seed (Student's t, seven degrees of freedom), does not contain
zero. There are five comparisons, and each interval has 99 %, which makes 95 % together (Bonferroni).

Added after these were seen, as "untied" and "pre, scaled" had chosen different rates, although the sweep of "pre,
scaled" is level between them: each of the two at the rate of the other, on the same eight seeds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.datasets import tinyshakespeare
from plm_core.data.tokenizer_training import train_characters
from plm_core.models.blocks import Block
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.ngram import KneserNey
from plm_core.runtime import setup

AT_RATE = {"pre, scaled, at 0.025": 2.5e-2, "untied, at 0.01": 1e-2}
"""Arms without a sweep of their own, and the rate of each."""
VARIANTS = ["pre, scaled", "pre", "pre, scaled, RMSNorm", "post, scaled", "post", "untied", *AT_RATE]
COMPARED = [
    ("pre", "pre, scaled"),
    ("pre, scaled, RMSNorm", "pre, scaled"),
    ("post, scaled", "pre, scaled"),
    ("post", "post, scaled"),
    ("untied", "pre, scaled"),
]
SEEDS = [0]
MODEL_SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]
RATES = [1.6e-3, 4e-3, 1e-2, 2.5e-2, 6e-2]
STEPS, WARMUP, BATCH, CONTEXT, WIDTH, LAYERS = 200, 20, 8, 48, 32, 4
WINDOWS = 400
"""Windows of validation and of test text that are scored, spread evenly."""
ORDERS = [1, 2, 3, 4, 5, 6, 7, 8]


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
        norm="rmsnorm" if "RMSNorm" in variant else "layernorm",
        norm_position="post" if "post" in variant else "pre",
        tie_word_embeddings="untied" not in variant,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=WIDTH**-0.5,
    )
    model = Gpt(config)  # scaled
    if variant in ("pre", "post"):
        for block in model.decoder.layers:
            assert isinstance(block, Block)
            for last in (block.attention.output, block.feed_forward.down):
                nn.init.normal_(last.weight, std=config.initializer_range)
    return model


def windows(name: str) -> Tensor:
    """Windows of a held-out text, (WINDOWS, CONTEXT + 1)."""
    rows = texts()[0][name].unfold(0, CONTEXT + 1, CONTEXT)
    return rows[:: len(rows) // WINDOWS][:WINDOWS]


def loss(model: Gpt, rows: Tensor) -> Tensor:
    """Mean loss on windows, in nats a character."""
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def train(variant: str, seed: int, rate: float) -> Gpt:
    """Train one arm: AdamW, linear warm-up, linear decay to a tenth, gradients clipped to norm 1."""
    torch.manual_seed(seed)
    model = build(variant)
    generator, text = torch.Generator().manual_seed(seed), texts()[0]["train"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * min((step + 1) / WARMUP, 1 - 0.9 * step / STEPS)
        starts = torch.randint(len(text) - CONTEXT, (BATCH, 1), generator=generator)
        optimizer.zero_grad()
        loss(model, text[starts + torch.arange(CONTEXT + 1)]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def evaluate(model: Gpt, name: str) -> float:
    """Loss on the windows of a held-out text, in nats a character."""
    return loss(model, windows(name)).item()


def counting(order: int) -> float:
    """Loss of a Kneser-Ney model of the whole training text on the test windows, in nats a character."""
    ids, vocab_size = texts()
    model = KneserNey(vocab_size, order=order).fit([ids["train"].numpy()])
    return float(np.mean([model.nats(row)[1:].mean() for row in windows("test").numpy()]))


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rates of one arm with one seed, then train it at the best of them with each of MODEL_SEEDS; an arm of
    AT_RATE is trained at its rate, and how many characters the training text has is counted."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    if variant in AT_RATE:
        rate = AT_RATE[variant]
        test = [evaluate(train(variant, each, rate), "test") for each in MODEL_SEEDS]
        return {"rate": rate, "test": test, "characters": len(texts()[0]["train"].unique())}
    swept = sweep(lambda rate: evaluate(train(variant, seed, rate), "valid"), RATES, factor=2.5, further=4)
    best = best_rate(swept)
    results: dict[str, Any] = {
        "sweep": {f"{rate:.2g}": swept[rate] for rate in sorted(swept)},
        "rate": best,
        "test": [evaluate(train(variant, each, best), "test") for each in MODEL_SEEDS],
        "parameters": num_parameters(build(variant)),
    }
    return results | ({"counts": [counting(order) for order in ORDERS]} if variant == VARIANTS[0] else {})

"""Where the norm stands: six ways to arrange sums, norms and initial weights, each with its own sweep of rates.

A causal Transformer of 8 blocks learns to repeat what it has read: 8 random symbols of 16, then the same 8 again. Each
arm is trained at each of :data:`RATES` with each seed, on the same batches; the rate of an arm is the one with the
lowest mean loss on validation sequences, and what is reported is the loss on test sequences. Nothing is clipped and
nothing decays, so that an arm's own stability is what is seen. Criterion, set before the runs: one arm is better than
another if it is so in every seed, each at its own best rate.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.models.blocks import Block
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.runtime import setup

VARIANTS = ["no sums", "post", "post, warm-up", "pre", "pre, scaled", "pre, scaled, RMSNorm"]
SEEDS = [0, 1, 2]
RATES = [4e-4, 1e-3, 2.5e-3, 6e-3, 1.6e-2]
STEPS, WARMUP = 150, 50
HALF, SYMBOLS, BATCH = 8, 16, 16


def copies(count: int, generator: torch.Generator) -> Tensor:
    """Sequences whose second half repeats the first, which is random: ids, (B, 2 * HALF)."""
    first = torch.randint(SYMBOLS, (count, HALF), generator=generator)
    return torch.cat([first, first], dim=1)


def copy_loss(model: Gpt, ids_BT: Tensor) -> Tensor:
    """Mean cross-entropy of the second halves, in nats a symbol; guessing costs log(SYMBOLS)."""
    logits_BTV = model(ids_BT)[:, HALF - 1 : -1]  # what is predicted before each symbol of the second half
    return F.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, HALF:].flatten())


class NoSums(Block):
    """A block whose branches replace the stream, normalised, in place of being added to it."""

    def leave(self, x_BTD: Tensor, update_BTD: Tensor, norm: nn.Module) -> Tensor:
        """The stream after a branch: norm(update)."""
        return norm(update_BTD)


def build(variant: str, *, layers: int = 8, width: int = 32) -> Gpt:
    """The model of an arm. All linear weights are drawn from N(0, 1/D); scaled arms divide the last weight of each
    branch by sqrt(2·layers), as GPT-2 does."""
    config = GptConfig(
        vocab_size=SYMBOLS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=2 * HALF,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        norm="rmsnorm" if "RMSNorm" in variant else "layernorm",
        norm_position="pre" if variant.startswith("pre") else "post",
        initializer_range=width**-0.5,
    )
    model = Gpt(config)  # scaled
    for block in model.decoder.layers:
        assert isinstance(block, Block)
        if "scaled" not in variant:
            for last in (block.attention.output, block.feed_forward.down):
                nn.init.normal_(last.weight, std=config.initializer_range)
        if variant == "no sums":
            block.__class__ = NoSums
    return model


def train(variant: str, seed: int, rate: float, *, steps: int = STEPS, device: torch.device | str = "cpu") -> Gpt:
    """Train one arm with AdamW at one rate, constant after a warm-up if the arm has one; batches depend on the seed."""
    torch.manual_seed(seed)
    model = build(variant).to(device)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    warmup = WARMUP if "warm-up" in variant else 1
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / warmup)
        loss = copy_loss(model, copies(BATCH, generator).to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def evaluate(model: Gpt) -> dict[str, float]:
    """Loss on 500 validation and 500 test sequences, the same for all arms; seen in training with probability 0."""
    device = next(model.parameters()).device
    held_out = {"valid": 10_001, "test": 10_002}
    generators = {name: torch.Generator().manual_seed(seed) for name, seed in held_out.items()}
    return {name: copy_loss(model, copies(500, generator).to(device)).item() for name, generator in generators.items()}


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one arm with one seed at all rates; the loss of each on validation and test sequences, in nats."""
    device = setup(seed=seed, preset=preset).device
    torch.set_num_threads(1)
    scores = [evaluate(train(variant, seed, rate, device=device)) for rate in RATES]
    return {name: [score[name] for score in scores] for name in ("valid", "test")}

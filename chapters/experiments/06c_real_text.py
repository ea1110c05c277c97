"""A character GPT with RoPE on real text: trained on windows of 64 characters, then read with up to 256.

**Text.** Python's documentation in prose, every paragraph once; every tenth document is for testing, every tenth of the
others for validation. A model is scored on the last 16 characters of windows that lie inside one document. It reads the
last 64 characters before the end of the window (*truncated*) or the last 256, as trained and with three repairs at six
factors.

**Arms.** A run is one trained length. Each sweeps its learning rate (five values or more, the best not at the edge, one
seed, all steps; validation loss at the trained length), then trains five seeds. Both lengths see equally many
characters. The models trained on 256 characters are also read with the last 64 alone; the difference is what the longer
context is worth to them. It turned out to be less than 0.002 bits per character on the test text with each seed.

**Criteria**, fixed before the runs. Intervals are Student's with 4 degrees of freedom over differences paired by seed,
at 95 % after Bonferroni's correction for 36 comparisons: at 256 characters a repair *helps* if its loss is lower than
that as trained, and it *beats truncation* if its loss is lower than that of the same models with 64 characters. The
windows are the same for all seeds, so an interval says nothing about other texts.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.experiments.rope_stretching import FACTORS, REPAIRS, ScaledRope
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.corpora import python_documentation
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.positions import Rope
from plm_core.runtime import Preset

VARIANTS = ["trained on 64", "trained on 256"]
SEEDS = [0]
MODEL_SEEDS = [0, 1, 2, 3, 4]
RATES = [2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2]
LENGTH, LONG, SCORED = 64, 256, 16
HIDDEN, HEADS = 64, 4
CHARACTERS, STEPS, SWEEP_SEED = 24 * LENGTH, 2000, 100
"""Characters in a batch, and the number of batches."""


def splits(documents: list[str], device: torch.device | None = None) -> tuple[dict[str, list[Tensor]], int]:
    """Character numbers of the documents of each split, and the size of the alphabet."""
    number = {character: index for index, character in enumerate(sorted(set("".join(documents))))}
    found: dict[str, list[Tensor]] = {"train": [], "validation": [], "test": []}
    for index, document in enumerate(documents):
        split = {0: "test", 5: "validation"}.get(index % 10, "train")
        found[split].append(torch.tensor([number[character] for character in document], device=device))
    return found, len(number)


def train_gpt(
    train_T: Tensor, alphabet: int, *, seed: int, rate: float, length: int = LENGTH, steps: int = STEPS
) -> Gpt:
    """Train a GPT with RoPE on random windows of a text; the rate rises for 30 % of the steps, then falls to zero."""
    torch.manual_seed(seed)
    config = GptConfig(
        alphabet,
        HIDDEN,
        2,
        HEADS,
        2 * HIDDEN,
        max_position_embeddings=None,
        position="none",
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    gpt = Gpt(config, position=Rope(HIDDEN // HEADS)).to(train_T.device)
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        starts = torch.randint(len(train_T) - length, (CHARACTERS // length, 1)).to(train_T.device)
        window_BT = train_T[starts + torch.arange(length + 1, device=train_T.device)]
        loss = F.cross_entropy(gpt(window_BT[:, :-1]).mT, window_BT[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return gpt.eval()


@torch.no_grad()
def bits(gpt: Gpt, documents: list[Tensor], context: int, repair: str = "as trained", factor: float = 1) -> float:
    """Bits per character on the last characters of windows of ``LONG``, of which ``context`` characters are read."""
    scheme = ScaledRope(HIDDEN // HEADS, repair, factor, trained_length=LENGTH)
    for layer in gpt.decoder.layers:
        layer.attention.position = scheme  # type: ignore[union-attr]
    windows_NT = torch.cat([ids_T.unfold(0, LONG + 1, 100) for ids_T in documents if len(ids_T) > LONG])
    nats = 0.0
    for part in windows_NT.split(100):
        logits = gpt(part[:, -context - 1 : -1], logits_to_keep=SCORED)
        nats += F.cross_entropy(logits.mT, part[:, -SCORED:], reduction="sum").item()
    return nats / (len(windows_NT) * SCORED) / math.log(2)


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Sweep, train five models, read with every repair. All presets are alike."""
    torch.set_num_threads(1)
    length = int(variant.split()[-1])
    data, alphabet = splits([document.text for document in python_documentation()])
    train_T = torch.cat(data["train"])

    def loss(rate: float) -> float:
        gpt = train_gpt(train_T, alphabet, seed=SWEEP_SEED, rate=rate, length=length)
        return bits(gpt, data["validation"], length)

    swept = sweep(loss, RATES, factor=2, further=4)
    best = best_rate(swept)
    models = [train_gpt(train_T, alphabet, seed=each, rate=best, length=length) for each in MODEL_SEEDS]
    result: dict[str, object] = {
        "rate": best,
        "sweep": {f"{rate:g}": round(loss, 4) for rate, loss in sorted(swept.items())},
        "model_seeds": MODEL_SEEDS,
        "characters": {split: sum(map(len, documents)) for split, documents in data.items()},
    }
    for split in ("validation", "test"):
        read = {f"{context}": [bits(gpt, data[split], context) for gpt in models] for context in (LENGTH, LONG)}
        if length == LENGTH and split == "test":
            for repair in REPAIRS[1:]:
                for factor in FACTORS:
                    read[f"{repair} {factor}"] = [bits(gpt, data[split], LONG, repair, factor) for gpt in models]
        result[split] = {way: [round(loss, 4) for loss in losses] for way, losses in read.items()}
    return result

"""Optimisers, rates, warm-up, schedules, clipping and regularisers, on one small Transformer that reads StoryWorld.

Every optimiser meets a grid of learning rates with three seeds, so that each is judged at its own best rate. All read
the same stories in the same order, once; only the runs on few stories read them again and again, to overfit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.data.batch import Batch
from plm_core.data.batches import PaddedBatches
from plm_core.data.labels import IGNORE
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.causal_lm import CausalLM
from plm_core.runtime import Runtime, seed_everything, setup
from plm_core.storyworld_v1 import StoryWorld
from plm_core.training.config import TrainConfig
from plm_core.training.gradients import DivergedError
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

SEEDS = [0, 1, 2]
FREQUENCY_RANKS = [0, 10, 40, 100]
"""Ranks of words, by frequency in the training text, at which a new group begins."""


@dataclass(frozen=True)
class Plan:
    """What a variant changes: fields of TrainConfig, of GptConfig, the smoothing of labels, the number of stories."""

    train: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    label_smoothing: float = 0.0
    few_stories: bool = False


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "sgd", "momentum": 0.0},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "Adam": {"optimizer": "adam"},
    "AdamW": {"optimizer": "adamw", "weight_decay": 0.1},
    "Muon": {"optimizer": "muon", "weight_decay": 0.1},
}
RATES = {
    "SGD": [0.3, 1.0, 3.0],
    "momentum": [0.1, 0.3, 1.0],
    "Adam": [0.003, 0.01, 0.03],
    "AdamW": [0.003, 0.01, 0.03],
    "Muon": [0.01, 0.03, 0.1],
}
WARMUP_RATES = [0.01, 0.03]
SCHEDULE_RATES = [0.01, 0.03]
UNCLIPPED = {"SGD": 1.0, "AdamW": 0.01}
REGULARISERS = {
    "nothing": Plan(few_stories=True),
    "weight decay": Plan({"weight_decay": 1.0}, few_stories=True),
    "dropout": Plan(model={"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}, few_stories=True),
    "label smoothing": Plan(label_smoothing=0.1, few_stories=True),
}


def make_plans() -> dict[str, Plan]:
    """Every variant by its name."""
    plans = {
        f"{name} {rate:g}": Plan({**OPTIMIZERS[name], "learning_rate": rate})
        for name, rates in RATES.items()
        for rate in rates
    }
    post = {"norm_position": "post"}
    for rate in WARMUP_RATES:
        train = {**OPTIMIZERS["AdamW"], "learning_rate": rate}
        plans[f"AdamW {rate:g}, no warm-up"] = Plan({**train, "warmup_steps": 0})
        plans[f"AdamW {rate:g}, post-norm"] = Plan(train, post)
        plans[f"AdamW {rate:g}, post-norm, no warm-up"] = Plan({**train, "warmup_steps": 0}, post)
    for rate in SCHEDULE_RATES:
        train = {**OPTIMIZERS["AdamW"], "learning_rate": rate, "schedule": "constant"}
        plans[f"AdamW {rate:g}, constant"] = Plan(train)
    for name, rate in UNCLIPPED.items():
        plans[f"{name} {rate:g}, no clipping"] = Plan({**OPTIMIZERS[name], "learning_rate": rate, "max_grad_norm": 0.0})
    return plans | {f"few stories, {name}": plan for name, plan in REGULARISERS.items()}


PLANS = make_plans()
VARIANTS = list(PLANS)


class Text(NamedTuple):
    """Batches to learn from, batches to evaluate on, and what no model can beat on those, in nats per word."""

    source: PaddedBatches
    valid: Sequence[Batch]
    floor: float
    group_of_word: Tensor
    """For each word, (V,), its group by frequency."""


def read_text(seed: int, *, stories: int, batch_size: int, valid_stories: int) -> Text:
    """Stories as word numbers, each behind the end of the one before it."""
    world = StoryWorld("small", "en")
    number = {word: i for i, word in enumerate(world.vocabulary)}

    def rows(words: Sequence[Sequence[str]]) -> list[list[int]]:
        return [[0, *(number[word] for word in story)] for story in words]

    told = [story.words for story in world.stories(seed=seed, split="train", count=stories)]
    unseen = list(world.stories(seed=0, split="valid", count=valid_stories))
    counts = Counter(word for story in told for word in story)
    ranked = sorted(world.vocabulary, key=lambda word: -counts[word])
    group_of_word = torch.zeros(len(ranked), dtype=torch.int64)
    for rank, word in enumerate(ranked):
        group_of_word[number[word]] = sum(rank >= first for first in FREQUENCY_RANKS) - 1
    valid = PaddedBatches(rows([story.words for story in unseen]), batch_size=20, pad_id=0, seed=0)
    return Text(
        PaddedBatches(rows(told), batch_size=batch_size, pad_id=0, seed=seed),
        valid.in_order(),
        sum(story.nats for story in unseen) / sum(len(story.words) for story in unseen),
        group_of_word,
    )


def text_of(plan: Plan, seed: int, rt: Runtime) -> Text:
    """What the variant reads."""
    steps, batch_size = train_config(plan, rt).steps, rt.choose(laptop=8, gpu=32)
    stories = rt.choose(laptop=80, gpu=320) if plan.few_stories else steps * batch_size
    return read_text(seed, stories=stories, batch_size=batch_size, valid_stories=rt.choose(laptop=40, gpu=400))


def train_config(plan: Plan, rt: Runtime) -> TrainConfig:
    """How the variant trains: what the plan says, over what all have in common."""
    steps = rt.choose(laptop=80, gpu=600)
    common: dict[str, Any] = {"steps": steps, "warmup_steps": steps // 8, "schedule": "linear", "final_fraction": 0.05}
    common |= {"weight_decay": 0.0, "max_grad_norm": 1.0, "log_every": steps // 20, "eval_every": steps}
    if plan.few_stories:
        steps = 7 * steps // 4
        common |= {"steps": steps, "schedule": "constant", "learning_rate": 0.01, "eval_every": steps // 10}
    return TrainConfig(**(common | plan.train))


def build(plan: Plan, seed: int, vocab_size: int, rt: Runtime) -> Gpt:
    """The Transformer of every variant, with initial weights from the seed."""
    seed_everything(seed)
    width = rt.choose(laptop=64, gpu=256)
    common = {
        "hidden_size": width,
        "num_hidden_layers": rt.choose(laptop=2, gpu=4),
        "intermediate_size": 4 * width,
        "max_position_embeddings": None,
        "position": "rope",
        "hidden_dropout_prob": 0.0,  # every story is read once: there is nothing to overfit
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": width**-0.5,
    }
    return Gpt(GptConfig(vocab_size=vocab_size, **(common | plan.model))).to(rt.device)


def trainer_of(variant: str, seed: int, rt: Runtime, **changes: Any) -> tuple[Trainer, Text]:
    """The trainer of a variant, ready to run, and its text.

    Args:
        variant: one of VARIANTS.
        seed: decides stories, order and initial weights.
        rt: device and preset.
        **changes: fields of TrainConfig to change once more.
    """
    plan = PLANS[variant]
    text = text_of(plan, seed, rt)
    model = build(plan, seed, len(text.group_of_word), rt)
    config = train_config(plan, rt).replace(**changes)
    objective = CausalLM(label_smoothing=plan.label_smoothing)
    trainer = Trainer(
        model, objective, text.source, config, valid_batches=text.valid, hardware=Hardware(rt.device), quiet=True
    )
    return trainer, text


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one variant with one seed.

    Returns:
        ``curve``: the training loss, averaged over stretches of equal length; ``grad_norm``: the gradient norm
        likewise; ``valid``: pairs of step and validation loss; ``loss``: the last of these, or None if the run
        diverged; ``floor``; ``by_frequency``: the loss on words of each frequency group. All losses in nats per word.
    """
    rt = setup(seed=seed, preset=preset, precision="fp32")
    trainer, text = trainer_of(variant, seed, rt)
    try:
        trainer.fit()
        diverged = False
    except DivergedError:
        diverged = True
    records = trainer.records
    valid = [(r["step"], r["valid/loss"]) for r in records if "valid/loss" in r]
    return {
        "steps": trainer.config.steps,
        "every": trainer.config.log_every,
        "curve": [r["train/loss"] for r in records if "train/loss" in r],
        "grad_norm": [r["train/grad_norm"] for r in records if "train/grad_norm" in r],
        "valid": valid,
        "loss": None if diverged else valid[-1][1],
        "floor": text.floor,
        "by_frequency": None if diverged else loss_by_frequency(trainer.model, text),
    }


@torch.no_grad()
def loss_by_frequency(model: nn.Module, text: Text) -> list[float]:
    """The mean loss on validation words of each frequency group, in nats."""
    model.eval()
    device = next(model.parameters()).device
    totals = torch.zeros(len(FREQUENCY_RANKS), dtype=torch.float64)
    counts = torch.zeros(len(FREQUENCY_RANKS), dtype=torch.float64)
    for batch in text.valid:
        logits_NV = model(batch["input_ids"].to(device)).flatten(0, 1).cpu()
        labels_N = batch["labels"].flatten()
        losses_N = F.cross_entropy(logits_NV, labels_N, ignore_index=IGNORE, reduction="none").double()
        real_N = labels_N != IGNORE
        groups_N = text.group_of_word[labels_N[real_N]]
        totals.index_add_(0, groups_N, losses_N[real_N])
        counts.index_add_(0, groups_N, torch.ones_like(groups_N, dtype=torch.float64))
    return [total / count if count else math.nan for total, count in zip(totals.tolist(), counts.tolist(), strict=True)]

"""Two comparisons: the memory of a Transformer and of an LSTM on StoryWorld, and where the norm stands.

Transformer and LSTM read the same stories once, in the same order. Words that follow for certain from earlier sentences
are found by the ideal reader; how often a model's first guess is right there, by distance, is its recall.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.models.blocks import Block, NormPosition
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.recurrent import Cell, RecurrentConfig, RecurrentLM
from plm_core.runtime import Runtime, setup
from plm_core.storyworld_v1 import IdealReader, StoryWorld
from plm_core.storyworld_v1.world import Story
from plm_core.training.precision import autocast

MEMORY = ["transformer", "lstm"]
NORMS = ["pre-norm", "post-norm", "post-norm, warm-up", "post-norm, small branches"]
VARIANTS = MEMORY + NORMS
SEEDS = [0, 1, 2]

EDGES = [0, 8, 16, 32, 64]
"""Distances, in words, at which a new group of memory words begins."""


def settings(variant: str, rt: Runtime) -> dict[str, Any]:
    """Everything that a variant's run depends on besides its seed: one value for each preset."""
    values = {
        "hidden_size": rt.choose(laptop=64, gpu=256),
        "num_hidden_layers": rt.choose(laptop=2, gpu=4),
        "stories": rt.choose(laptop=4000, gpu=160_000),
        "batch_size": rt.choose(laptop=4, gpu=32),
        "learning_rate": 6e-3 if variant == "transformer" else 1e-2,
        "warmup": 60,
        "test_stories": rt.choose(laptop=100, gpu=500),
    }
    if rt.preset == "gpu":
        values["learning_rate"] /= 4  # four times the width
    return values


def build(variant: str, vocab_size: int, values: dict[str, Any]) -> Gpt | RecurrentLM:
    """A Transformer, or an LSTM that has at most as many parameters, and as many as fit."""
    width = values["hidden_size"]
    transformer = GptConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=values["num_hidden_layers"],
        num_attention_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=None,
        position="rope",
        hidden_dropout_prob=0.0,  # every story is read once: there is nothing to overfit
        attention_probs_dropout_prob=0.0,
        initializer_range=width**-0.5,
    )
    if variant == "lstm":
        return RecurrentLM(of_equal_size("lstm", num_parameters(transformer), vocab_size))
    return Gpt(transformer)


def of_equal_size(cell: Cell, budget: int, vocab_size: int) -> RecurrentConfig:
    """The widest recurrent network of one layer whose parameters do not exceed the budget."""
    config = RecurrentConfig(vocab_size=vocab_size, hidden_size=1, cell=cell, hidden_dropout_prob=0.0)
    while num_parameters(wider := config.replace(hidden_size=config.hidden_size + 1)) <= budget:
        config = wider
    return config


def encode(stories: Iterable[Story], world: StoryWorld) -> Iterator[list[int]]:
    """Ids of each story's words, after the id 0 of the end of the story before."""
    ids = {word: number for number, word in enumerate(world.vocabulary)}
    for story in stories:
        yield [0, *(ids[word] for word in story.words)]


def batches(world: StoryWorld, seed: int, count: int, size: int) -> Iterator[Tensor]:
    """Stories as ids (B, T + 1), filled up with -1; those of similar length go together."""
    stories = list(encode(world.stories(seed=seed, split="train", count=count), world))
    order = torch.Generator().manual_seed(seed)
    pool = 16 * size
    for start in range(0, len(stories), pool):
        near = sorted(stories[start : start + pool], key=len)
        groups = [near[i : i + size] for i in range(0, len(near), size)]
        for group in torch.randperm(len(groups), generator=order).tolist():
            rows = [torch.tensor(story) for story in groups[group]]
            yield nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def train(variant: str, seed: int, preset: str) -> tuple[Gpt | RecurrentLM, list[float]]:
    """Train one variant with one seed; return the model and the loss of every step, in nats per word."""
    rt = setup(seed=seed, preset=preset)
    values = settings(variant, rt)
    world = StoryWorld("small", "en")
    model = build(variant, len(world.vocabulary), values).to(rt.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=values["learning_rate"], weight_decay=0.01)
    steps = -(-values["stories"] // values["batch_size"])
    losses = []
    for step, ids in enumerate(batches(world, seed, values["stories"], values["batch_size"])):
        for group in optimizer.param_groups:
            rising, falling = min(1.0, (step + 1) / values["warmup"]), max(0.05, 1 - step / steps)
            group["lr"] = values["learning_rate"] * rising * falling
        ids = ids.to(rt.device)
        with autocast(rt.precision, rt.device):
            logits = model(ids[:, :-1].clamp(min=0))  # (B, T, V); padding is on the right, where no token looks
        loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


@torch.no_grad()
def recall(model: Gpt | RecurrentLM, count: int) -> dict[str, Any]:
    """What a model knows of test stories: share of first guesses that are right on memory words, by distance, and
    the loss beside that of the ideal reader, in nats per word."""
    world = StoryWorld("small", "en")
    reader, device = IdealReader(world), next(model.parameters()).device
    right, total = [0] * len(EDGES), [0] * len(EDGES)
    loss = floor = words = 0.0
    for story in world.stories(seed=0, split="test", count=count):
        ids = torch.tensor(list(encode([story], world)), device=device)  # (1, T + 1)
        log_probs = model(ids[:, :-1])[0].log_softmax(-1)
        guessed = (log_probs.argmax(-1) == ids[0, 1:]).tolist()
        loss -= log_probs.gather(1, ids[0, 1:, None]).sum().item()
        for word, correct in zip(reader.read(story.words), guessed, strict=True):
            floor, words = floor + word.nats, words + 1
            if word.kind == "memory":
                group = bisect_right(EDGES, word.distance) - 1
                right[group], total[group] = right[group] + correct, total[group] + 1
    shares = [r / t if t else None for r, t in zip(right, total, strict=True)]
    return {
        "recall": shares,
        "words": total,
        "recall_all": sum(right) / sum(total),
        "loss": loss / words,
        "floor": floor / words,
    }


def copies(count: int, generator: torch.Generator, *, half: int = 8, vocab_size: int = 16) -> Tensor:
    """Sequences whose second half repeats the first, which is random: ids (B, 2 * half)."""
    first = torch.randint(vocab_size, (count, half), generator=generator)
    return torch.cat([first, first], dim=1)


def learn_to_copy(model: Gpt, *, steps: int, learning_rate: float = 1e-3, warmup: int = 20) -> list[float]:
    """Train on copies, with Adam and a linear warm-up; return the loss of the second halves at every step, in nats."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    device = next(model.parameters()).device
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1, (step + 1) / warmup)
        ids = copies(32, generator).to(device)  # (B, T)
        half = ids.shape[1] // 2
        logits = model(ids)[:, half - 1 : -1]  # (B, T / 2, V): what is said before each token of the second half
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, half:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def copier(norm_position: NormPosition, *, layers: int, small_branches: bool = True) -> Gpt:
    """A Transformer of width 64 for the copies; without small branches all linear weights have one size, 1/sqrt(D)."""
    width = 64
    config = GptConfig(
        vocab_size=16,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        norm_position=norm_position,
        initializer_range=width**-0.5,
    )
    model = Gpt(config)
    if not small_branches:
        for block in model.decoder.layers:
            assert isinstance(block, Block)
            for last in (block.attention.output, block.feed_forward.down):
                nn.init.normal_(last.weight, std=config.initializer_range)
    return model


def learn_with_norms(variant: str, seed: int, preset: str) -> list[float]:
    """Train a copier of 8 blocks whose norms stand as the variant says; return the loss of every step."""
    rt = setup(seed=seed, preset=preset)
    layers = rt.choose(laptop=8, gpu=16)
    position: NormPosition = "pre" if variant.startswith("pre") else "post"
    model = copier(position, layers=layers, small_branches="small branches" in variant).to(rt.device)
    steps = rt.choose(laptop=150, gpu=600)
    return learn_to_copy(model, steps=steps, learning_rate=3e-3, warmup=60 if "warm-up" in variant else 1)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one variant with one seed and measure it."""
    if variant in NORMS:
        return {"curve": learn_with_norms(variant, seed, preset)}
    model, losses = train(variant, seed, preset)
    every = max(1, len(losses) // 40)
    curve = [sum(losses[i : i + every]) / every for i in range(0, len(losses) - every + 1, every)]
    result = {"parameters": num_parameters(model), "steps": len(losses), "every": every, "curve": curve}
    return result | recall(model, settings(variant, setup(seed=seed, preset=preset))["test_stories"])

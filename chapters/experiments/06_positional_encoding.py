"""One small decoder with each position scheme, trained on StoryWorld at one length and read at up to four times it.

Every run sees the same text; the seed decides the initial weights and the order of the batches. The test asks each
model for the *same* words with a context of one to four times the trained length, so that lengths can be compared.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.positions import Learned, PositionScheme, Rope, Sinusoidal
from plm_core.models.relative_positions import Alibi, Shaw, T5Bias, TransformerXL
from plm_core.runtime import Preset, setup
from plm_core.storyworld_v1 import IdealReader, StoryWorld

VARIANTS = ["none", "learned", "sinusoidal", "rope", "shaw", "t5", "transformer_xl", "alibi"]
SEEDS = [0, 1, 2]

LENGTH = 64
"""Tokens in a training window."""
STRETCH = (1, 1.5, 2, 3, 4)
"""Lengths of context in the test, in multiples of the trained one."""
TARGETS = 32
"""The last words of each test window: those that are scored."""


class Settings(NamedTuple):
    """The size of a run."""

    hidden_size: int
    layers: int
    initial_std: float
    steps: int
    batch_size: int
    learning_rate: float
    training_tokens: int
    test_windows: int


SETTINGS: dict[Preset, Settings] = {
    "laptop": Settings(64, 2, 0.12, 600, 16, 8e-3, 600_000, 160),
    "gpu": Settings(128, 4, 0.08, 4000, 64, 2e-3, 4_000_000, 512),
}


class Text(NamedTuple):
    """What all runs read: training ids, test windows (N, 4 * LENGTH), and for each target its word's kind and floor."""

    vocabulary: list[str]
    train: Tensor
    windows: Tensor
    kinds: list[list[str]]
    floor: Tensor


@lru_cache(maxsize=1)
def read_text(training_tokens: int, test_windows: int) -> Text:
    """Tell the stories; the ideal reader reads those of the test and says what could be known about each word."""
    world = StoryWorld("small")
    number = {word: index for index, word in enumerate(world.vocabulary)}
    train = torch.tensor([number[word] for word in world.tokens(split="train", at_least=training_tokens)])

    reader, words = IdealReader(world), []
    longest = int(max(STRETCH) * LENGTH)
    for story in world.stories(split="test"):
        words += reader.read(story.words)
        if len(words) >= longest + TARGETS * test_windows:
            break
    ends = [longest + TARGETS * (window + 1) for window in range(test_windows)]
    ids = torch.tensor([number[word.word] for word in words])
    targets = torch.stack([torch.arange(end - TARGETS, end) for end in ends])
    return Text(
        world.vocabulary,
        train,
        torch.stack([ids[end - longest - 1 : end] for end in ends]),
        [[word.kind for word in words[end - TARGETS : end]] for end in ends],
        torch.tensor([word.nats for word in words])[targets],
    )


def build_scheme(variant: str, hidden_size: int, num_heads: int) -> PositionScheme:
    """A scheme by its name. The learned table has rows for the longest test, of which training reaches a quarter."""
    head_size = hidden_size // num_heads
    return {
        "none": lambda: PositionScheme(),
        "learned": lambda: Learned(int(max(STRETCH) * LENGTH), hidden_size),
        "sinusoidal": lambda: Sinusoidal(hidden_size),
        "rope": lambda: Rope(head_size),
        "shaw": lambda: Shaw(head_size, max_distance=16),
        "t5": lambda: T5Bias(num_heads, bidirectional=False),
        "transformer_xl": lambda: TransformerXL(hidden_size, num_heads),
        "alibi": lambda: Alibi(num_heads),
    }[variant]()


def build_model(variant: str, vocab_size: int, settings: Settings) -> Gpt:
    """A small GPT that takes any length."""
    config = GptConfig(
        vocab_size=vocab_size,
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=4,
        initializer_range=settings.initial_std,
        intermediate_size=4 * settings.hidden_size,
        max_position_embeddings=None,
        position="none",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return Gpt(config, position=build_scheme(variant, config.hidden_size, config.num_attention_heads))


def train(model: Gpt, ids: Tensor, settings: Settings, seed: int) -> list[float]:
    """Train on windows from anywhere in the text; return the loss of each step in nats per token."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    losses = []
    device = next(model.parameters()).device
    for step in range(settings.steps):
        warm, left = (step + 1) / 50, 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(warm, left)
        starts = torch.randint(len(ids) - LENGTH, (settings.batch_size,), generator=generator)
        window = ids[starts[:, None] + torch.arange(LENGTH + 1)].to(device)  # (B, LENGTH + 1)
        logits = model(window[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


@torch.no_grad()
def test(model: Gpt, text: Text, stretch: float) -> dict[str, float]:
    """Score the targets with a context of ``stretch * LENGTH`` tokens.

    Returns:
        Nats per token, and the accuracy on words that the ideal reader knows for certain: those that follow from the
        sentence so far, and those that follow from earlier sentences only ("memory").
    """
    context = int(stretch * LENGTH)
    device = next(model.parameters()).device
    nats, right = [], []
    for windows in text.windows.split(32):
        window = windows[:, -context - 1 :].to(device)
        logits = model(window[:, :-1], logits_to_keep=TARGETS)  # (B, TARGETS, V)
        labels = window[:, -TARGETS:]
        nats.append(F.cross_entropy(logits.mT, labels, reduction="none").cpu())
        right.append((logits.argmax(-1) == labels).float().cpu())
    nats_NT, right_NT = torch.cat(nats), torch.cat(right)
    of_kind = {k: torch.tensor([[kind == k for kind in row] for row in text.kinds]) for k in ("sentence", "memory")}
    accuracy = {kind: right_NT[chosen].mean().item() for kind, chosen in of_kind.items()}
    return {"nats": nats_NT.mean().item(), **accuracy}


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Train one model and test it at every length."""
    settings = SETTINGS[preset]
    text = read_text(settings.training_tokens, settings.test_windows)
    runtime = setup(seed=seed, preset=preset)
    model = build_model(variant, len(text.vocabulary), settings).to(runtime.device)
    losses = train(model, text.train, settings, seed)
    return {
        "parameters": num_parameters(model),
        "floor": text.floor.mean().item(),
        "losses": [round(sum(losses[i : i + 20]) / 20, 4) for i in range(0, len(losses), 20)],
        "test": {f"{stretch:g}": test(model.eval(), text, stretch) for stretch in STRETCH},
    }

"""One small Transformer in four number formats, and what happens to weights that are stored in 16 bits.

All variants see the same stories in the same order, and start from the same weights. Each step is a stress test: its
micro-batch stands for one of 8,192 that a single process accumulates. Its loss is divided by the tokens of all, before
the backward pass, and the gradient is multiplied by 8,192 afterwards, in fp32. In fp32 this changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch
from plm_core.data.batches import PaddedBatches
from plm_core.data.tokenizer_training import word_tokenizer
from plm_core.evaluation.validation import validate
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.causal_lm import CausalLM
from plm_core.runtime import Runtime, setup
from plm_core.storyworld_v1 import StoryWorld
from plm_core.storyworld_v1.tasks import story_sentences
from plm_core.training.optim import adamw
from plm_core.training.schedule import learning_rate

FORMATS = ["fp32", "bf16", "fp16 with scaler", "fp16 without scaler"]
WEIGHTS = ["fp32 weights", "bf16 weights", "bf16 weights, stochastic rounding"]
VARIANTS = FORMATS + WEIGHTS
SEEDS = [0, 1, 2]

WINDOW = 8192
"""Micro-batches of a step in the stress test; the loss of each is divided by the tokens of all."""


def settings(variant: str, rt: Runtime) -> dict[str, Any]:
    """Everything that a variant's run depends on besides its seed: one value for each preset."""
    formats = variant in FORMATS
    return {
        "hidden_size": rt.choose(laptop=64, gpu=256),
        "num_hidden_layers": rt.choose(laptop=2, gpu=4),
        "batch_size": rt.choose(laptop=4, gpu=32),
        "steps": rt.choose(laptop=150 if formats else 300, gpu=4000),
        "learning_rate": rt.choose(laptop=6e-3 if formats else 1e-3, gpu=1e-3 if formats else 3e-4),
        "init_scale": 2.0**36,
        "growth_interval": rt.choose(laptop=20, gpu=400),
        "test_stories": rt.choose(laptop=100, gpu=500),
    }


def build(vocab_size: int, values: dict[str, Any]) -> Gpt:
    """A causal Transformer; no dropout, since no story is read twice."""
    width = values["hidden_size"]
    return Gpt(
        GptConfig(
            vocab_size=vocab_size,
            hidden_size=width,
            num_hidden_layers=values["num_hidden_layers"],
            num_attention_heads=4,
            intermediate_size=4 * width,
            max_position_embeddings=None,
            position="rope",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=width**-0.5,
        )
    )


class Stories:
    """Training and test batches of StoryWorld, with the entropy that no model can beat, in nats per token."""

    def __init__(self, seed: int, *, train: int, test: int, batch_size: int) -> None:
        world = StoryWorld("small", "en")
        self.tokenizer = word_tokenizer(world.vocabulary[1:])  # without <eos>, which is [EOS] here
        pad_id = self.tokenizer.pad_id
        documents = [self.encode(story) for story in world.stories(seed=seed, split="train", count=train)]
        held_out = list(world.stories(seed=0, split="test", count=test))
        test_ids = [self.encode(story) for story in held_out]
        self.train = PaddedBatches(documents, batch_size=batch_size, pad_id=pad_id, seed=seed)
        self.test = PaddedBatches(test_ids, batch_size=25, pad_id=pad_id, seed=0).in_order()
        self.floor = sum(story.nats for story in held_out) / sum(len(ids) - 1 for ids in test_ids)

    def encode(self, story: Any) -> list[int]:
        """A story as ``[BOS] words [EOS]``."""
        ids = self.tokenizer.encode(" ".join(story_sentences(story)))
        return [self.tokenizer.bos_id, *ids, self.tokenizer.eos_id]


def arithmetic(variant: str, device: torch.device) -> AbstractContextManager[object]:
    """The arithmetic of a variant's forward pass."""
    if variant == "fp32" or variant in WEIGHTS:
        return nullcontext()
    dtype = torch.float16 if variant.startswith("fp16") else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype)


def backward(model: Gpt, batch: Batch, variant: str, scaler: torch.amp.GradScaler) -> Tensor:
    """Gradients of one micro-batch of the window, still multiplied by the scale; return its mean loss in nats."""
    with arithmetic(variant, next(model.parameters()).device):
        parts = CausalLM()(model, batch)
    mean = parts.total / parts.count
    scaler.scale(mean / WINDOW).backward()
    return mean.detach()


def stochastic_bf16(weights: Tensor) -> Tensor:
    """Round fp32 to one of the two neighbours in bf16, the nearer one more often: right on average.

    bf16 is the upper half of fp32's bits. A random lower half is added, and what is then the lower half is cut off.
    """
    bits = weights.view(torch.int32)
    return (bits + torch.randint_like(bits, 1 << 16)).bitwise_and(-1 << 16).view(torch.float32)


@torch.no_grad()
def store(model: Gpt, variant: str) -> None:
    """Keep the weights in the format of the variant: fp32 holds them, so rounding is all that is left to do."""
    for parameter in model.parameters():
        if variant == "bf16 weights":
            parameter.copy_(parameter.bfloat16())
        elif variant == "bf16 weights, stochastic rounding":
            parameter.copy_(stochastic_bf16(parameter))


def train(variant: str, seed: int, preset: str, *, steps: int | None = None) -> tuple[Gpt, dict[str, Any]]:
    """Train one variant with one seed, or only its first steps; return the model and what was measured on the way."""
    rt = setup(seed=seed, preset=preset)
    values = settings(variant, rt)
    total, size = values["steps"], values["batch_size"]
    stories = Stories(seed, train=total * size, test=values["test_stories"], batch_size=size)
    model = build(len(stories.tokenizer), values).to(rt.device)
    store(model, variant)
    optimizer = adamw(model, learning_rate=values["learning_rate"])
    scaler = torch.amp.GradScaler(
        rt.device.type,
        init_scale=values["init_scale"],
        growth_interval=values["growth_interval"],
        enabled=variant == "fp16 with scaler",
    )
    losses, scales, skipped, lost, unmoved, done = [], [], [], [], [], 0
    for index in range(total if steps is None else steps):
        batch = {key: value.to(rt.device) for key, value in stories.train.batch(index).items()}
        losses.append(backward(model, batch, variant, scaler))
        scales.append(scaler.get_scale())
        lost.append(share(gradient(parameter) == 0 for parameter in matrices(model)))
        scaler.unscale_(optimizer)
        torch._foreach_mul_([gradient(parameter) for parameter in model.parameters()], WINDOW)  # the rest of the window
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(done, peak=values["learning_rate"], total_steps=total, warmup_steps=total // 10)
        before = [parameter.detach().clone() for parameter in matrices(model)]
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if scaler.get_scale() < scales[-1]:
            skipped.append(index)  # the optimiser was not called, and nothing advances
            continue
        done += 1
        store(model, variant)
        unmoved.append(share(old == new for old, new in zip(before, matrices(model), strict=True)))
    result = {
        "loss": torch.stack(losses).tolist(),
        "scale": scales,
        "skipped": skipped,
        "lost": torch.stack(lost).tolist(),
        "unmoved": torch.stack(unmoved).tolist(),
        "floor": stories.floor,
        "test": validate(model, CausalLM(), stories.test, device=rt.device)["loss"],
    }
    return model, result


def matrices(model: Gpt) -> list[nn.Parameter]:
    """The matrices of the blocks: every token gives each of them a gradient."""
    return [parameter for parameter in model.decoder.parameters() if parameter.dim() == 2]


def gradient(parameter: nn.Parameter) -> Tensor:
    """The gradient of a parameter that a backward pass has reached."""
    assert parameter.grad is not None
    return parameter.grad


def share(conditions: Iterable[Tensor]) -> Tensor:
    """The share of entries, over all the tensors, for which the condition holds."""
    flags = [condition.flatten() for condition in conditions]
    return torch.cat(flags).float().mean()


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one variant with one seed; the curves are thinned to 40 points."""
    _, result = train(variant, seed, preset)
    every = max(1, len(result["loss"]) // 40)
    for key in ("loss", "lost", "unmoved"):
        values = result[key]
        result[key] = [sum(values[i : i + every]) / every for i in range(0, len(values) - every + 1, every)]
    return result | {"every": every}

"""Checks of the exercises on the Transformer: norms and sums, blocks, counts, and what depth and width do.

The other exercises are checked in the modules beside this one. Letters: T tokens, D model width, F feed-forward width,
V vocabulary, L blocks, P positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close
from plm_core.models.config import TransformerConfig
from plm_core.models.cost import attention_crossover
from plm_core.models.counting import Architecture, num_parameters
from plm_core.models.positions import PositionScheme
from plm_core.models.transformer import Stack, Trace

TensorFunction = Callable[..., Tensor]

# --- 1: by pencil ---------------------------------------------------------------------------------------------------

pencil = Check("Pre-norm and post-norm by pencil")

PENCIL_X = torch.tensor([5.0, 1.0])
NORMED = torch.tensor([1.0, -1.0])
PRE = torch.tensor([5.0, 4.0])  # f(1, -1) = 1 · (0, 3)
POST = torch.tensor([-1.0, 1.0])  # (5, 1) + 5 · (0, 3) = (5, 16)


@pencil.stage("norm")
def _(normed: Any, pre: Any, post: Any, draw: Draw) -> None:
    mistakes = {
        "this divides by the variance, 4: the norm divides by its root, 2": torch.tensor([0.5, -0.5]),
        "the deviation here divides by D - 1: the norm divides by D": torch.tensor([2**-0.5, -(2**-0.5)]),
        "this is RMSNorm: LayerNorm subtracts the mean first": PENCIL_X / 13**0.5,
    }
    message = "Subtract the mean of the two numbers, divide by their deviation."
    expect_close(normed, NORMED, what="normed", message=message, mistakes=mistakes, tolerance=0.01)


@pencil.stage("pre-norm")
def _(normed: Any, pre: Any, post: Any, draw: Draw) -> None:
    mistakes = {
        "the branch read the raw vector: with pre-norm it reads the normalised one": torch.tensor([5.0, 16.0]),
        "the sum adds to the normalised vector: the stream itself is never normalised": torch.tensor([1.0, 2.0]),
        "this is the branch alone: add it to x": torch.tensor([0.0, 3.0]),
    }
    message = "Normalise, apply the branch, add the result to the raw vector."
    expect_close(pre, PRE, what="pre", message=message, mistakes=mistakes, tolerance=0.01)


@pencil.stage("post-norm")
def _(normed: Any, pre: Any, post: Any, draw: Draw) -> None:
    mistakes = {
        "this sum is not normalised yet": torch.tensor([5.0, 16.0]),
        "the branch read the normalised vector: with post-norm it reads the raw one": torch.tensor([1.0, -1.0]),
    }
    message = "Apply the branch to the raw vector, add, normalise the sum."
    expect_close(post, POST, what="post", message=message, mistakes=mistakes, tolerance=0.01)


# --- 2: counting ----------------------------------------------------------------------------------------------------

counting = Check("Count the parameters of an encoder")


def _true_count(V: int, D: int, FF: int, L: int, P: int) -> int:
    shape = Architecture(
        vocab_size=V,
        hidden_size=D,
        num_hidden_layers=L,
        intermediate_size=FF,
        position_rows=P,
        type_vocab_size=2,
        embedding_norm=True,
    )
    return num_parameters(shape)


def _expect_count(count: Any, sizes: tuple[int, ...], mistakes: dict[str, int]) -> None:
    value = count(*sizes)
    true = _true_count(*sizes)
    if isinstance(value, Tensor):
        value = value.item()
    if not isinstance(value, int | float):
        raise CheckFailed(f"the count is {value!r}: return a number")
    if value == true:
        return
    named = f"for V, D, F, L, P = {', '.join(map(str, sizes))}"
    for message, wrong in mistakes.items():
        if value == wrong:
            raise CheckFailed(f"{named}: {message}")
    raise CheckFailed(f"{named}: {value:,} where {true:,} is right, {abs(value - true):,} apart")


@counting.stage("embeddings alone")
def _(count: Any, draw: Draw) -> None:
    V, D, FF, P = draw.sizes(4, 5, 40)
    tables = (V + P + 2) * D
    mistakes = {
        "the norm of the embeddings is missing: D scales and D shifts": tables,
        "a norm has two vectors, scale and shift, and there are two token types: one of these is counted once": (
            tables + D
        ),
    }
    _expect_count(count, (V, D, FF, 0, P), mistakes)


@counting.stage("one block")
def _(count: Any, draw: Draw) -> None:
    V, D, FF, P = draw.sizes(4, 5, 40)
    true = _true_count(V, D, FF, 1, P)
    mistakes = {
        "the linear layers have biases": true - 5 * D - FF,
        "a block has two norms of 2·D": true - 4 * D,
        "attention has four matrices: query, key, value and output": true - D * D - D,
        "the scores are not parameters: no P² belongs here": true + P * P,
        "the feed-forward width is F, not 4·D": true + (2 * D + 1) * (4 * D - FF),
    }
    _expect_count(count, (V, D, FF, 1, P), mistakes)


@counting.stage("BERT-base")
def _(count: Any, draw: Draw) -> None:
    sizes = (30522, 768, 3072, 12, 512)
    mistakes = {"the pooler was not asked for": _true_count(*sizes) + 768 * 769}
    _expect_count(count, sizes, mistakes)


# --- 4: a block -----------------------------------------------------------------------------------------------------

block = Check("A pre-norm block")


def _parts(draw: Draw) -> tuple[Tensor, TensorFunction, TensorFunction, TensorFunction, TensorFunction]:
    """A stream and four different functions in the places of attention, feed-forward and the two norms."""
    x = draw.normal(4, 6) + 1
    mix, inner = draw.normal(4, 4), draw.normal(6, 6)
    scale_a, scale_f = draw.normal(6), draw.normal(6)
    return (
        x,
        lambda h: mix @ h,
        lambda h: (h @ inner).relu(),
        lambda h: F.layer_norm(h, (6,)) * scale_a,
        lambda h: F.layer_norm(h, (6,)) * scale_f,
    )


@block.stage("silent branches give the identity")
def _(step: TensorFunction, draw: Draw) -> None:
    x, _, _, norm_a, norm_f = _parts(draw)
    mistakes = {
        "nothing may normalise the stream itself: this is post-norm, or the sum adds to the normalised vector instead "
        "of x": norm_f(norm_a(x)),
        "nothing is added to x: where is the residual connection?": torch.zeros_like(x),
    }
    expect_close(step(x, torch.zeros_like, torch.zeros_like, norm_a, norm_f), x, what="the block", mistakes=mistakes)


@block.stage("attention alone")
def _(step: TensorFunction, draw: Draw) -> None:
    x, attend, _, norm_a, norm_f = _parts(draw)
    mistakes = {
        "attention reads the raw stream: with pre-norm it reads norm_a(x)": x + attend(x),
        "attention reads what the other norm gives": x + attend(norm_f(x)),
    }
    right = x + attend(norm_a(x))
    expect_close(step(x, attend, torch.zeros_like, norm_a, norm_f), right, what="the block", mistakes=mistakes)


@block.stage("reference")
def _(step: TensorFunction, draw: Draw) -> None:
    x, attend, feed, norm_a, norm_f = _parts(draw)
    middle = x + attend(norm_a(x))
    mistakes = {
        "both branches read the same x: the feed-forward network reads the stream after attention": middle
        + feed(norm_f(x)),
        "the feed-forward network reads the raw stream": middle + feed(middle),
        "both branches use norm_a": middle + feed(norm_a(middle)),
        "the first sum is lost: the second adds to x": x + feed(norm_f(middle)),
    }
    right = middle + feed(norm_f(middle))
    expect_close(step(x, attend, feed, norm_a, norm_f), right, what="the block", mistakes=mistakes)


# --- 5: predict, then run -------------------------------------------------------------------------------------------

prediction = Check("Predict: what depth and width do")
CHOICES = ("falls", "stays", "grows")


def measure_stack(num_layers: int, *, norm_position: str, scaled: bool = False, seed: int = 0) -> dict[str, float]:
    """Measure a fresh stack of blocks of width 64 on random vectors.

    Args:
        num_layers: number of blocks L.
        norm_position: ``"pre"`` or ``"post"``.
        scaled: whether the last weights of the branches are divided by sqrt(2·L).
        seed: of weights and vectors.

    Returns:
        ``size``: root mean square of the stream after the last block, before a last norm; ``gradient``: of the last
        block's feed-forward weights, when each token is to predict a random word.
    """
    config = TransformerConfig(
        vocab_size=64,
        hidden_size=64,
        num_hidden_layers=num_layers,
        intermediate_size=256,
        position="none",
        norm_position="pre" if norm_position == "pre" else "post",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stack, read_out = Stack(config, PositionScheme()), torch.randn(64, 64) / 8
        for name, parameter in stack.named_parameters():
            if parameter.dim() == 2:
                torch.nn.init.xavier_uniform_(parameter)
                if scaled and name.endswith(("output.weight", "down.weight")):
                    parameter.data /= math.sqrt(2 * num_layers)
        stack.requires_grad_(False)  # one gradient is wanted, and no way back through the blocks before it
        last = stack.get_parameter(f"layers.{num_layers - 1}.feed_forward.down.weight").requires_grad_()
        trace = Trace()
        out = stack(torch.randn(8, 16, 64), trace=trace)
        loss = F.cross_entropy((out @ read_out).flatten(0, 1), torch.randint(64, (128,)))
        (gradient,) = torch.autograd.grad(loss, last)
    return {"size": trace.hidden_states[-1].detach().pow(2).mean().sqrt().item(), "gradient": gradient.norm().item()}


_measured = cache(measure_stack)
"""The same draw is measured once, whatever number of answers it judges."""


def _expect_trend(answer: Any, quantity: str, draw: Draw, *, norm_position: str, scaled: bool, why: str) -> None:
    if answer not in CHOICES:
        shown = "still ..." if answer is ... else repr(answer)
        raise CheckFailed(f"the prediction is {shown}: choose one of {', '.join(map(repr, CHOICES))}")
    few, many = (
        sum(
            _measured(layers, norm_position=norm_position, scaled=scaled, seed=draw.seed % 2**31 + number)[quantity]
            for number in range(3)
        )
        / 3
        for layers in (4, 24)
    )
    seen = "stays" if 2 / 3 < many / few < 3 / 2 else "falls" if many < few else "grows"
    if answer != seen:
        raise CheckFailed(f"predicted: {answer}; measured: {few:.3f} with 4 blocks, {many:.3f} with 24. {why}")


@prediction.stage("size with pre-norm")
def _(pre_size: Any, post_size: Any, pre_gradient: Any, scaled_size: Any, crossover: Any, draw: Draw) -> None:
    why = "Nothing normalises the stream, and it is a sum of 2·L branches."
    _expect_trend(pre_size, "size", draw, norm_position="pre", scaled=False, why=why)


@prediction.stage("size with post-norm")
def _(pre_size: Any, post_size: Any, pre_gradient: Any, scaled_size: Any, crossover: Any, draw: Draw) -> None:
    why = "The last thing that a post-norm block does is to normalise."
    _expect_trend(post_size, "size", draw, norm_position="post", scaled=False, why=why)


@prediction.stage("gradient of the last block with pre-norm")
def _(pre_size: Any, post_size: Any, pre_gradient: Any, scaled_size: Any, crossover: Any, draw: Draw) -> None:
    why = "The last norm divides by the size of the stream, and so divides the gradient of what was added to it."
    _expect_trend(pre_gradient, "gradient", draw, norm_position="pre", scaled=False, why=why)


@prediction.stage("size with scaled branches")
def _(pre_size: Any, post_size: Any, pre_gradient: Any, scaled_size: Any, crossover: Any, draw: Draw) -> None:
    why = "2·L branches, each smaller by the square root of 2·L, have together the size of one."
    _expect_trend(scaled_size, "size", draw, norm_position="pre", scaled=True, why=why)


@prediction.stage("crossover")
def _(pre_size: Any, post_size: Any, pre_gradient: Any, scaled_size: Any, crossover: Any, draw: Draw) -> None:
    config = TransformerConfig(vocab_size=10, hidden_size=512, num_attention_heads=8, intermediate_size=2048)
    if not isinstance(crossover, int | float):
        raise CheckFailed(f"the prediction of the length is {crossover!r}: give a number")
    right = attention_crossover(config)
    if not abs(crossover / right - 1) <= 0.1:
        raise CheckFailed(
            f"predicted: {crossover}; right: {right:.0f}. Scores and means take 4·T·D operations per token, the rest "
            "of the block 8·D² + 4·D·F: solve for T"
        )

"""Checks of the harder exercises on attention: heads, sampling, the backward pass and attention in blocks.

Letters as in :mod:`plm_chapters.checks.attention.basics`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plm_chapters.checks.attention.basics import NO_SCALE, WRONG_AXIS, TensorFunction, softmax_attention
from plm_chapters.checks.feedback import (
    Check,
    CheckFailed,
    Draw,
    call_by_hand,
    expect_close,
    expect_frequencies,
    expect_tensor,
)

# --- 6: find the bugs -----------------------------------------------------------------------------------------------

multi_head = Check("Multi-head attention, repaired")
HEADS_MIXED = (
    "the heads are mixed: x.view(H, T, K) cuts the table into other pieces. Split the last axis, view(T, H, K), "
    "then move the heads forward with transpose"
)


def _heads_case(draw: Draw, *, num_tokens: int) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor, int], list[Tensor]]:
    """Arguments of ``multi_head``, and the right q, k and v, each (H, T, K)."""
    heads, width = draw.sizes(2, 2, 5)
    size = heads * width
    x = draw.normal(num_tokens, size)
    projections = [draw.normal(size, size, scale=size**-0.5) for _ in range(3)]
    parts = [(x @ w).view(num_tokens, heads, width).transpose(0, 1) for w in projections]
    return (x, *projections, heads), parts  # type: ignore[return-value]


def _call_multi_head(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Tensor, Tensor, Tensor]:
    returned = function(*arguments)
    if not isinstance(returned, tuple) or len(returned) != 3:
        raise CheckFailed("multi_head must return three tensors: scores, weights, output")
    tokens, heads = arguments[0].shape[0], arguments[-1]
    scores, weights, output = returned
    return (
        expect_tensor(scores, (heads, tokens, tokens), what="scores"),
        expect_tensor(weights, (heads, tokens, tokens), what="weights"),
        expect_tensor(output, arguments[0].shape, what="output"),
    )


@multi_head.stage("scale")
def _(function: Callable[..., Any], draw: Draw) -> None:
    arguments, (q, k, _v) = _heads_case(draw, num_tokens=1)  # a single token cannot show how heads are split
    scores, _, _ = _call_multi_head(function, arguments)
    product = q @ k.transpose(-1, -2)
    expect_close(
        scores,
        product / q.shape[-1] ** 0.5,
        what="the score of a single token",
        message="Divide by √K, where K = D / H is the width of one head.",
        mistakes={
            "the scores are divided by √D, the width of the model: a head is only K = D / H wide": (
                lambda: product / arguments[0].shape[-1] ** 0.5
            ),
            NO_SCALE: lambda: product,
        },
    )


@multi_head.stage("heads")
def _(function: Callable[..., Any], draw: Draw) -> None:
    arguments, (q, k, _v) = _heads_case(draw, num_tokens=draw.integer(6, 9))
    scores, _, _ = _call_multi_head(function, arguments)
    right = q @ k.transpose(-1, -2)
    expect_close(  # up to their size, so that the scale does not matter here
        scores / scores.norm(),
        right / right.norm(),
        what="the scores (up to a factor)",
        message=f"Likely {HEADS_MIXED}.",
    )


@multi_head.stage("weights")
def _(function: Callable[..., Any], draw: Draw) -> None:
    arguments, _ = _heads_case(draw, num_tokens=draw.integer(6, 9))
    scores, weights, _ = _call_multi_head(function, arguments)
    expect_close(
        weights,
        scores.softmax(-1),
        what="the weights",
        message="They are the softmax of the scores over the keys.",
        mistakes={
            WRONG_AXIS: lambda: scores.softmax(-2),
            "the softmax runs over the heads: use the last axis": lambda: scores.softmax(0),
        },
    )


@multi_head.stage("output")
def _(function: Callable[..., Any], draw: Draw) -> None:
    arguments, (_q, _k, v) = _heads_case(draw, num_tokens=draw.integer(6, 9))
    _, weights, output = _call_multi_head(function, arguments)
    merged = (weights @ v).transpose(0, 1)  # with the student's weights: only the way back is judged
    expect_close(
        output,
        merged.reshape(output.shape),
        what="the output",
        message=f"v is split into heads as q and k are, and merged the same way back. Else {HEADS_MIXED}.",
        mistakes={
            "the heads are merged by a reshape alone: transpose (H, T, K) back to (T, H, K) first": (
                lambda: (weights @ v).reshape(output.shape)
            ),
        },
    )


# --- 7: hard attention ----------------------------------------------------------------------------------------------

hard_attention = Check("Hard attention by sampling")
NUM_SAMPLES = 20_000


@hard_attention.stage("shape")
def _(sample: Callable[..., Any], draw: Draw) -> None:
    t, s, k, m = draw.sizes(4, 2, 9)
    _sampled(sample, draw.normal(t, k), draw.normal(s, k), draw.normal(s, m))


@hard_attention.stage("the output is the value of the chosen key")
def _(sample: Callable[..., Any], draw: Draw) -> None:
    t, s, k, m = draw.sizes(4, 4, 9)
    v = draw.normal(s, m)
    chosen, out = _sampled(sample, draw.normal(t, k), draw.normal(s, k), v)
    expect_close(out, v[chosen], what="the output", message="Hard attention returns one row of v, not a mean of rows.")


@hard_attention.stage("frequencies")
def _(sample: Callable[..., Any], draw: Draw) -> None:
    t, s, k = 3, 5, draw.integer(4, 9)
    q, keys = draw.normal(t, k), draw.normal(s, k)
    chosen, _ = _sampled(sample, q.repeat(NUM_SAMPLES, 1), keys, draw.normal(s, 2))
    counts = torch.nn.functional.one_hot(chosen.view(NUM_SAMPLES, t), s).sum(0)
    scores = q @ keys.T
    if bool((counts.amax(-1) == NUM_SAMPLES).all()):
        raise CheckFailed("the same key comes up every time: draw it at random with the weights as probabilities")
    for name, wrong in (
        (NO_SCALE, scores.softmax(-1)),
        ("all keys come up equally often: draw with the weights as probabilities", torch.full((t, s), 1 / s)),
    ):
        if _fits(counts, wrong) and not _fits(counts, (scores / k**0.5).softmax(-1)):
            raise CheckFailed(name)
    message = "Draw the key of each query with probability softmax(q kᵀ / √K), independently."
    expect_frequencies(counts, (scores / k**0.5).softmax(-1), message=message)


def _sampled(sample: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    returned = sample(q, k, v)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise CheckFailed("sample_attend must return two tensors: the chosen keys and the output")
    chosen = expect_tensor(returned[0], (len(q),), what="the chosen keys", hints={"use squeeze(-1)": (len(q), 1)})
    if chosen.is_floating_point() or bool(((chosen < 0) | (chosen >= len(k))).any()):
        raise CheckFailed("the chosen keys must be whole numbers from 0 to S - 1")
    return chosen, expect_tensor(returned[1], (len(q), v.shape[-1]), what="the output")


def _fits(counts: Tensor, probabilities: Tensor) -> bool:
    try:
        expect_frequencies(counts, probabilities, message="")
    except CheckFailed:
        return False
    return True


# --- 8: the backward pass -------------------------------------------------------------------------------------------

backward_by_hand = Check("The backward pass by hand")


def _call_backward(function: Callable[..., Any], draw: Draw, s: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The student's gradients of q, k and v, and what is needed to judge them."""
    t, k, m = draw.sizes(3, 3, 9)
    q, keys, v, upstream = draw.normal(t, k), draw.normal(s, k), draw.normal(s, m), draw.normal(t, m)
    returned = call_by_hand(function, q, keys, v, upstream)
    if not isinstance(returned, tuple | list) or len(returned) != 3:
        raise CheckFailed("attend_backward must return three gradients: of q, of k and of v")
    gradients = [
        expect_tensor(g, x.shape, what=f"the gradient of {name}")
        for g, x, name in zip(returned, (q, keys, v), "qkv", strict=True)
    ]
    inputs = [x.clone().requires_grad_() for x in (q, keys, v)]
    right = torch.autograd.grad(softmax_attention(*inputs), inputs, upstream)
    weights = (q @ keys.T / k**0.5).softmax(-1)
    no_sum = weights * (upstream @ v.T)
    context = {"q": q, "k": keys, "upstream": upstream, "weights": weights, "no_sum": no_sum}
    return gradients, context | dict(zip(("grad_q", "grad_k", "grad_v"), right, strict=True))


@backward_by_hand.stage("shape")
def _(function: Callable[..., Any], draw: Draw) -> None:
    _call_backward(function, draw, s=draw.integer(10, 12))


@backward_by_hand.stage("gradient of v")
def _(function: Callable[..., Any], draw: Draw) -> None:
    (_, _, grad_v), right = _call_backward(function, draw, s=draw.integer(10, 12))
    expect_close(grad_v, right["grad_v"], what="the gradient of v", message="out = W v, so it is Wᵀ times grad_out.")


@backward_by_hand.stage("a single key")
def _(function: Callable[..., Any], draw: Draw) -> None:
    (grad_q, grad_k, _), right = _call_backward(function, draw, s=1)
    message = (
        "With one key its weight is 1 whatever the score: nothing flows back to q and k. The softmax's backward is "
        "w * (g - (w * g).sum(-1, keepdim=True)); is the sum missing?"
    )
    expect_close(grad_q, right["grad_q"], what="the gradient of q", message=message)
    expect_close(grad_k, right["grad_k"], what="the gradient of k", message=message)


@backward_by_hand.stage("reference")
def _(function: Callable[..., Any], draw: Draw) -> None:
    (grad_q, grad_k, _), right = _call_backward(function, draw, s=draw.integer(10, 12))
    root = right["q"].shape[-1] ** 0.5
    for gradient, name, other in ((grad_q, "q", right["k"]), (grad_k, "k", right["q"])):
        no_sum = right["no_sum"] if name == "q" else right["no_sum"].T
        expect_close(
            gradient,
            right[f"grad_{name}"],
            what=f"the gradient of {name}",
            message="Go back through out = W v, the softmax, the scale and q kᵀ, one step at a time.",
            mistakes={
                "the scale is forgotten on the way back: the scores were divided by √K, so are their gradients": (
                    right[f"grad_{name}"] * root
                ),
                "the softmax's backward lacks the sum: it is w * (g - (w * g).sum(-1, keepdim=True))": (
                    no_sum @ other / root
                ),
            },
        )


# --- 9: attention in blocks -----------------------------------------------------------------------------------------

streaming = Check("Attention in blocks of keys")


class LargestTensor(TorchDispatchMode):
    """Remembers the shape of the largest tensor that any operation inside the block returns."""

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = ()
        self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.numel() > self.size:
                self.size, self.shape = leaf.numel(), tuple(leaf.shape)
        return result


def _blocks(q: Tensor, k: Tensor, v: Tensor, block: int, *, rescale: bool) -> Tensor:
    """Attention in blocks, right or with the accumulators never rescaled when the running maximum grows."""
    top = torch.full((len(q), 1), -torch.inf)
    total, out = torch.zeros(len(q), 1), torch.zeros(len(q), v.shape[-1])
    for start in range(0, len(k), block):
        scores = q @ k[start : start + block].T / q.shape[-1] ** 0.5
        new_top = torch.maximum(top, scores.amax(-1, keepdim=True))
        shrink = (top - new_top).exp() if rescale else torch.ones_like(top)
        weights = (scores - new_top).exp()
        total = total * shrink + weights.sum(-1, keepdim=True)
        out = out * shrink + weights @ v[start : start + block]
        top = new_top
    return out / total


@streaming.stage("one block")
def _(stream: TensorFunction, draw: Draw) -> None:
    t, s, k, m = draw.sizes(4, 3, 9)
    q, keys, v = draw.normal(t, k), draw.normal(s, k), draw.normal(s, m)
    expect_close(
        stream(q, keys, v, s),
        softmax_attention(q, keys, v),
        what="the output with a single block",
        message="With block = S this is ordinary attention.",
        mistakes={NO_SCALE: lambda: softmax_attention(q, keys, v, scale=1.0)},
    )


@streaming.stage("several blocks")
def _(stream: TensorFunction, draw: Draw) -> None:
    t, k, m = draw.sizes(3, 3, 9)
    block, extra = 4, draw.integer(1, 3)
    s = 3 * block + extra  # the last block is not full
    q, keys, v = draw.normal(t, k, scale=2), draw.normal(s, k), draw.normal(s, m)
    parts = [slice(start, start + block) for start in range(0, s, block)]
    expect_close(
        stream(q, keys, v, block),
        softmax_attention(q, keys, v),
        what="the output with four blocks",
        message="Keep for every query the largest score so far, the sum of exponentials and the weighted values.",
        mistakes={
            "the last block, which is not full, is left out": lambda: softmax_attention(q, keys[:-extra], v[:-extra]),
            "each block has its own softmax, and the outputs are averaged: larger scores must weigh more": (
                lambda: torch.stack([softmax_attention(q, keys[p], v[p]) for p in parts]).mean(0)
            ),
            "each block has its own softmax, and their outputs are added up": (
                lambda: torch.stack([softmax_attention(q, keys[p], v[p]) for p in parts]).sum(0)
            ),
            "when the largest score grows, what was summed before must shrink: multiply it by exp(old - new)": (
                lambda: _blocks(q, keys, v, block, rescale=False)
            ),
        },
    )


@streaming.stage("large scores")
def _(stream: TensorFunction, draw: Draw) -> None:
    t, k, m = draw.sizes(3, 4, 9)
    q, keys, v = draw.normal(t, k, scale=100), draw.normal(13, k, scale=10), draw.normal(13, m)
    message = "exp() of a large score overflows: subtract the largest score so far."
    expect_close(
        stream(q, keys, v, 4), softmax_attention(q, keys, v), what="the output for large scores", message=message
    )


@streaming.stage("memory")
def _(stream: TensorFunction, draw: Draw) -> None:
    t, s, block, width = 96, 256, 16, 8
    q, keys, v = draw.normal(t, width), draw.normal(s, width), draw.normal(s, width)
    with LargestTensor() as largest:
        out = stream(q, keys, v, block)
    expect_close(out, softmax_attention(q, keys, v), what="the output", message="See the stages above.")
    if largest.size > max(t * block, s * width, t * width):
        raise CheckFailed(
            f"a tensor of shape {largest.shape} was made: with T = {t}, S = {s} and block = {block} nothing larger "
            f"than ({t}, {block}) or the inputs is needed; take the scores of one block at a time"
        )

"""Logits of a large vocabulary, and the cross-entropy over it, computed a few tokens at a time.

The logits of a batch are its largest tensor: with 8,192 tokens in the vocabulary they take 16 times the memory of a
state of width 512, and a loss reads and writes them several times. Here only a slice of them exists at a time. Loss and
gradients of a slice are finished before the next slice is begun, so nothing is computed twice.

Shapes are written into names: N tokens, D model width, V vocabulary, C tokens of a slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.data.labels import IGNORE

SLICE = {"cpu": 2**21, "cuda": 2**27}
"""Logits of a slice: about 8 MB on a CPU, whose caches hold them, half a gigabyte on a GPU, whose
kernels need large slices to be efficient."""

FEW_TOKENS = range(2, 17)
"""For so many tokens at once the product with the vocabulary is faster on a CPU with the matrix on the left."""


def vocabulary_logits(lm_head: nn.Module, x_BTD: Tensor) -> Tensor:
    """The logits of the whole vocabulary: the output layer, applied to states.

    In generation a few states meet a large matrix. MKL's product (T x D) (D x V) then copies the matrix first, into
    blocks that suit its kernel. The transposed product (V x D) (D x T) takes about half the time.

    Args:
        lm_head: the output layer, a linear layer or what a compression has put in its place.
        x_BTD: (B, T, D).

    Returns:
        Logits, (B, T, V), not contiguous where the product was transposed.
    """
    tokens = x_BTD.shape[:-1].numel()
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or tokens not in FEW_TOKENS:
        return lm_head(x_BTD)
    is_plain = type(lm_head) is nn.Linear and lm_head.bias is None and x_BTD.device.type == "cpu"
    if not is_plain or lm_head._forward_hooks or lm_head._forward_pre_hooks:
        return lm_head(x_BTD)
    weight_VD: Tensor = lm_head.weight  # type: ignore[assignment]
    logits_VN = weight_VD @ x_BTD.flatten(0, -2).t()
    return logits_VN.t().unflatten(0, x_BTD.shape[:-1])


@dataclass(frozen=True)
class TokenLosses:
    """The summed loss of token predictions, and how many of them were right."""

    total: Tensor
    """The sum of the losses in nats, a scalar that carries the gradient."""
    correct: Tensor
    """The number of tokens whose likeliest prediction was right."""


def vocabulary_loss(x_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, *, label_smoothing: float = 0.0) -> TokenLosses:
    """The summed cross-entropy of ``x @ weight.T`` without ever holding all logits.

    Args:
        x_ND: last states, (N, D).
        weight_VD: the output layer, (V, D).
        labels_N: integers, (N,). Tokens labelled :data:`~plm_core.data.labels.IGNORE` add nothing to the loss; on a CPU
            they take no time either (on a GPU the host would have to wait for the number of the others).
        label_smoothing: share of the target's probability that is spread over the whole vocabulary.
    """
    if labels_N.device.type == "cpu":
        places = (labels_N != IGNORE).nonzero()[:, 0]
        if len(places) < len(labels_N):
            x_ND, labels_N = x_ND.index_select(0, places), labels_N[places]
    total, correct = _SlicedLoss.apply(x_ND, weight_VD, labels_N, label_smoothing)
    return TokenLosses(total, correct)


class _SlicedLoss(torch.autograd.Function):
    """Computes the gradients together with the loss; the backward pass only scales them.

    The gradient of a token's loss with respect to its logits is p - target, where the target is the one-hot label, or
    its smoothed form.
    """

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        device = x_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_ND.dtype
        at_least_fp32 = torch.promote_types(dtype, torch.float32)
        total, correct = x_ND.new_zeros((), dtype=at_least_fp32), labels_N.new_zeros(())
        needs = any(ctx.needs_input_grad)
        grad_x = torch.empty_like(x_ND) if needs else None
        grad_weight = torch.zeros_like(weight_VD) if needs else None
        with torch.autocast(device, enabled=False):
            weight = weight_VD.to(dtype)
            size = max(1, SLICE.get(device, SLICE["cuda"]) // len(weight))
            for first in range(0, len(x_ND), size):
                x_CD, labels_C1 = x_ND[first : first + size].to(dtype), labels_N[first : first + size, None]
                live_C1 = (labels_C1 != IGNORE).to(at_least_fp32)  # 0 for a token without a label
                labels_C1 = labels_C1.clamp(min=0)
                logits_CV = (x_CD @ weight.T).to(at_least_fp32)
                target_C1, highest_C1 = logits_CV.gather(1, labels_C1), logits_CV.amax(dim=1, keepdim=True)
                mean_C1 = logits_CV.mean(dim=1, keepdim=True) if smoothing else target_C1
                scores_CV = logits_CV.sub_(highest_C1).exp_()
                sum_C1 = scores_CV.sum(dim=1, keepdim=True)
                losses_C1 = sum_C1.log() + highest_C1 - (1 - smoothing) * target_C1 - smoothing * mean_C1
                total = total + (losses_C1 * live_C1).sum()
                correct = correct + ((target_C1 == highest_C1) & (live_C1 > 0)).sum()
                if grad_x is None or grad_weight is None:
                    continue
                grad_CV = scores_CV.div_(sum_C1 / live_C1)  # without a label: sum / 0 is infinite, gradient 0
                if smoothing:
                    grad_CV.sub_(live_C1 * (smoothing / len(weight)))
                grad_CV.scatter_add_(1, labels_C1, live_C1 * (smoothing - 1))
                grad_CV = grad_CV.to(dtype)
                grad_x[first : first + size] = grad_CV @ weight
                if grad_weight.dtype == dtype:
                    grad_weight.addmm_(grad_CV.T, x_CD)
                else:
                    grad_weight += grad_CV.T @ x_CD
        ctx.save_for_backward(grad_x, grad_weight)
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, grad_correct: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_x, grad_weight = ctx.saved_tensors
        return grad_x * grad_total, grad_weight * grad_total, None, None

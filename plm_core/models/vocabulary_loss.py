"""The cross-entropy over a large vocabulary, computed a few tokens at a time.

The logits of a batch are its largest tensor: with 8,192 tokens in the vocabulary they take 16 times the memory of a
state of width 512, and a loss reads and writes them several times. Here a slice of them lives at a time. Loss and
gradients of the slice are finished before the next one is begun, so nothing is computed twice.

Shapes are written into names: N tokens, D model width, V vocabulary, C tokens of a slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plm_core.data.labels import IGNORE

SLICE = {"cpu": 2**21, "cuda": 2**27}
"""Logits of a slice: about 8 MB on a CPU, whose caches hold them, half a gigabyte on a GPU, which likes large ones."""


@dataclass(frozen=True)
class TokenLosses:
    """What token predictions cost, and how many were right."""

    total: Tensor
    """The sum of the losses in nats, a scalar that carries the gradient."""
    correct: Tensor
    """The number of tokens whose likeliest prediction was right."""


def vocabulary_loss(x_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, *, label_smoothing: float = 0.0) -> TokenLosses:
    """The summed cross-entropy of ``x @ weight.T`` without ever holding all logits.

    Args:
        x_ND: last states, (N, D).
        weight_VD: the output layer, (V, D).
        labels_N: integers, (N,). Tokens labelled :data:`~plm_core.data.labels.IGNORE` cost nothing; on a CPU they take
            no time either (on a GPU the host would have to wait to learn how many are left).
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
                live_C1 = (labels_C1 != IGNORE).to(at_least_fp32)  # 1, or 0 for a token that is not asked for
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
                grad_CV = scores_CV.div_(sum_C1 / live_C1)  # sum / 0 is infinite: no gradient where none is asked for
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

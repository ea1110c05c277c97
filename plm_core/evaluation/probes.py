"""Linear probes: what a linear classifier can predict from frozen features.

A probe that succeeds shows that the information is there and is easy to reach, not that the model uses it. Compare it
with the same probe on an untrained network and on counts of words.
Source: Alain & Bengio (2017), "Understanding intermediate layers using linear classifier probes".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_DEVIATION = 1e-5  # features that never vary are divided by it and stay at zero


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier on standardised features: D features, C classes."""

    mean_D: Tensor
    """Mean of each feature over the training examples."""
    std_D: Tensor
    """Standard deviation of each feature over the training examples."""
    weight_DC: Tensor
    """Weights of the standardised features."""
    bias_C: Tensor
    """Biases of the classes."""

    def logits(self, features_ND: Tensor) -> Tensor:
        """Unnormalised log probabilities of the classes, (N, C)."""
        return (features_ND.float() - self.mean_D) / self.std_D @ self.weight_DC + self.bias_C

    def accuracy(self, features_ND: Tensor, labels_N: Tensor) -> float:
        """Share of the examples whose most probable class is the label."""
        return (self.logits(features_ND).argmax(dim=-1) == labels_N).float().mean().item()


def fit_linear_probe(
    features_ND: Tensor, labels_N: Tensor, *, weight_decay: float = 0.01, max_iter: int = 100
) -> LinearProbe:
    """Fit logistic regression by L-BFGS: mean cross-entropy plus ``weight_decay`` times the sum of squared weights.

    The problem is convex, so the result depends on no seed. The biases are not decayed.

    Args:
        features_ND: one row of D features for each of N examples, without gradient.
        labels_N: integers from 0; the largest one gives the number of classes.
        weight_decay: strength of the penalty. Features are standardised first, so its scale is that of a weight for a
            feature of variance one.
        max_iter: most iterations of L-BFGS.

    Raises:
        ValueError: shapes that do not fit, fewer than two examples, or only one class.

    >>> probe = fit_linear_probe(torch.tensor([[-1.0], [-2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1]))
    >>> probe.accuracy(torch.tensor([[-3.0], [3.0]]), torch.tensor([0, 1]))
    1.0
    """
    if features_ND.ndim != 2 or labels_N.shape != features_ND.shape[:1]:
        raise ValueError(
            f"a probe needs features (N, D) and labels (N,), got {tuple(features_ND.shape)} and {tuple(labels_N.shape)}"
        )
    if len(labels_N) < 2 or len(labels_N.unique()) < 2:
        raise ValueError("a probe needs examples of at least two classes")
    features_ND = features_ND.float()
    mean_D, std_D = features_ND.mean(dim=0), features_ND.std(dim=0).clamp_min(SMALLEST_DEVIATION)
    standard_ND = (features_ND - mean_D) / std_D
    weight_DC = torch.zeros(standard_ND.shape[1], int(labels_N.max()) + 1, requires_grad=True)
    bias_C = torch.zeros(weight_DC.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight_DC, bias_C], max_iter=max_iter, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(standard_ND @ weight_DC + bias_C, labels_N) + weight_decay * weight_DC.square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return LinearProbe(mean_D, std_D, weight_DC.detach(), bias_C.detach())

"""Calibration: whether a model that says 80 % is right in 80 % of such cases, and a temperature that mends it.

Shapes are written into names: N examples, C classes, K bins.
Source: Guo et al. (2017), "On calibration of modern neural networks".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 100.0
"""The range in which a temperature is searched."""
STEPS = 60
"""Halvings of the range: enough to reach the precision of fp64."""

Binning = Literal["width", "count"]


@dataclass(frozen=True)
class Reliability:
    """The data of a reliability diagram: confidence against accuracy, for each bin that holds an example."""

    confidence_K: Tensor
    """Mean confidence of the bin's examples."""
    accuracy_K: Tensor
    """Share of the bin's examples that are right."""
    counts_K: Tensor
    """Number of the bin's examples."""

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over examples of their bin's gap between accuracy and confidence."""
        gaps_K = (self.accuracy_K - self.confidence_K).abs()
        return float((gaps_K * self.counts_K).sum() / self.counts_K.sum())

    @property
    def largest_gap(self) -> float:
        """The largest gap of a bin, also called maximum calibration error."""
        return float((self.accuracy_K - self.confidence_K).abs().max())


def reliability(confidence_N: Tensor, right_N: Tensor, *, bins: int = 15, binning: Binning = "width") -> Reliability:
    """Sort examples into bins of similar confidence.

    The calibration error depends on the bins: report their number and kind with it. It is also positive for a
    calibrated model, by chance alone; :func:`ece_by_chance` says how large.

    Args:
        confidence_N: the probability that the model gave its answer, (N,), from 0 to 1.
        right_N: whether the answer is right, bool, (N,).
        bins: how many.
        binning: ``"width"``, bins of equal width, as Guo et al.; ``"count"``, borders at quantiles of the confidence.

    Raises:
        ValueError: no examples, shapes that do not fit, a confidence outside [0, 1], or a setting outside its range.

    >>> diagram = reliability(torch.tensor([0.9, 0.9, 0.3, 0.3]), torch.tensor([True, False, False, False]), bins=2)
    >>> diagram.counts_K.tolist(), round(diagram.ece, 2)
    ([2, 2], 0.35)
    """
    if confidence_N.ndim != 1 or confidence_N.shape != right_N.shape or not len(confidence_N):
        raise ValueError(
            f"confidence and outcomes must be (N,), got {tuple(confidence_N.shape)} and {tuple(right_N.shape)}"
        )
    if not bool(((confidence_N >= 0) & (confidence_N <= 1)).all()):
        raise ValueError("a confidence lies outside [0, 1]: give probabilities, not logits")
    if bins < 1 or binning not in ("width", "count"):
        raise ValueError(f"bins must be at least 1 and binning width or count, got {bins} and {binning!r}")
    confidence_N = confidence_N.double()
    positions = np.linspace(0, 1, bins + 1)
    # a confidence may lie on an edge, and then the last bit of the edge decides: numpy's, as scikit-learn has it
    edges = positions if binning == "width" else np.percentile(confidence_N.numpy(force=True), 100 * positions)
    inner = torch.from_numpy(edges[1:-1].copy()).to(confidence_N.device)
    bin_N = torch.searchsorted(inner, confidence_N)  # a bin holds its upper edge
    counts_K = torch.bincount(bin_N, minlength=bins)
    sums_K = torch.bincount(bin_N, confidence_N, bins)
    rights_K = torch.bincount(bin_N, right_N.double(), bins)
    kept = counts_K > 0
    counts_K = counts_K[kept]
    return Reliability(sums_K[kept] / counts_K, rights_K[kept] / counts_K, counts_K)


def ece_by_chance(
    confidence_N: Tensor, *, bins: int = 15, binning: Binning = "width", simulations: int = 200, seed: int = 0
) -> float:
    """The mean calibration error of a perfectly calibrated model with these confidences: the floor of the measure.

    Args:
        confidence_N: as of :func:`reliability`.
        bins: as of :func:`reliability`.
        binning: as of :func:`reliability`.
        simulations: how often outcomes are drawn from the confidences.
        seed: of the draws.

    Raises:
        ValueError: as :func:`reliability`, or no simulations.
    """
    if simulations < 1:
        raise ValueError(f"at least one simulation is needed, got {simulations}")
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(simulations):
        right_N = torch.rand(confidence_N.shape, generator=generator, dtype=torch.float64) < confidence_N
        total += reliability(confidence_N, right_N, bins=bins, binning=binning).ece
    return total / simulations


def fit_temperature(logits_NC: Tensor, labels_N: Tensor) -> float:
    """The temperature by which logits must be divided for the lowest mean cross-entropy. Fit it on validation data.

    Cross-entropy is convex in the inverse temperature, so that halving an interval finds its minimum. The temperature
    changes no prediction, only how sure they are.

    Args:
        logits_NC: (N, C).
        labels_N: integers, (N,).

    Returns:
        A number between 0.01 and 100: above 1 for an overconfident model. An end of the range means that there is no
        minimum in it, as where each label already has the highest logit.

    Raises:
        ValueError: no examples, shapes that do not fit, or logits that are not finite.
    """
    if logits_NC.ndim != 2 or labels_N.shape != logits_NC.shape[:1] or not len(labels_N):
        raise ValueError(
            f"a fit needs logits (N, C) and labels (N,), got {tuple(logits_NC.shape)} and {tuple(labels_N.shape)}"
        )
    if not bool(logits_NC.isfinite().all()):
        raise ValueError("the logits are not finite")
    logits_NC = logits_NC.detach().double()
    true = logits_NC.gather(-1, labels_N[:, None]).mean()
    low, high = math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)
    for _ in range(STEPS):
        middle = (low + high) / 2
        expected = ((logits_NC / math.exp(middle)).softmax(-1) * logits_NC).sum(-1).mean()
        if expected > true:  # the derivative by the inverse temperature: the model is too sure
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def brier(probabilities_NC: Tensor, labels_N: Tensor) -> float:
    """Brier score: the mean squared distance between the predicted probabilities and the outcome; 0 best, 2 worst.

    Args:
        probabilities_NC: (N, C), each row summing to 1.
        labels_N: integers, (N,).

    Raises:
        ValueError: no examples, or shapes that do not fit.

    Source: Brier (1950), "Verification of forecasts expressed in terms of probability".
    """
    if probabilities_NC.ndim != 2 or labels_N.shape != probabilities_NC.shape[:1] or not len(labels_N):
        raise ValueError(
            f"the score needs (N, C) and (N,), got {tuple(probabilities_NC.shape)} and {tuple(labels_N.shape)}"
        )
    outcome_NC = torch.nn.functional.one_hot(labels_N, probabilities_NC.shape[1])
    return float((probabilities_NC.double() - outcome_NC).square().sum(-1).mean())

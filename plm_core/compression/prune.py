"""Unstructured pruning: the choice of the weights that become zero, schedules, and training that keeps the zeros.

A score measures the importance of a weight. Magnitude takes ``|w|`` (Han et al. 2015); movement takes how far training
moves the weight away from zero, the sum over steps of -w·dL/dw (Sanh et al. 2020); random is the baseline. The lowest
scores lose their weights: over all layers together (global), layer by layer, or two of every four neighbours (the
pattern that GPUs since Ampere compute faster).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plm_core.compression.structure import block_linears, find_block_linears

Scope = Literal["global", "layer", "2:4"]
Scores = Mapping[str, Tensor]
Masks = dict[str, Tensor]


def magnitude_scores(model: nn.Module) -> dict[str, Tensor]:
    """``|w|`` of every weight in attention and feed-forward layers, by layer name."""
    return {name: layer.weight.detach().abs() for name, layer in block_linears(model).items()}


def random_scores(model: nn.Module, *, seed: int) -> dict[str, Tensor]:
    """Random scores: the baseline for every other score."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(layer.weight.shape, generator=generator).to(layer.weight.device)
        for name, layer in block_linears(model).items()
    }


class MovementScores:
    """Scores that grow while training moves a weight away from zero: the running sum of -w·dL/dw.

    Args:
        model: the model in training.
        optimizer: its optimiser; the sum is taken before each of its steps.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.layers = block_linears(model)
        self.totals = {name: torch.zeros_like(layer.weight) for name, layer in self.layers.items()}
        self.handle = optimizer.register_step_pre_hook(self.add)

    @torch.no_grad()
    def add(self, *_: Any) -> None:
        """Add the term of the present step; layers without a gradient are left as they are."""
        for name, layer in self.layers.items():
            if layer.weight.grad is not None:
                self.totals[name] -= layer.weight * layer.weight.grad

    def __call__(self) -> dict[str, Tensor]:
        """The scores so far."""
        return self.totals

    def close(self) -> None:
        """Remove the hook from the optimiser, so that nothing more is added."""
        self.handle.remove()


def choose_masks(scores: Scores, sparsity: float, *, scope: Scope = "global") -> Masks:
    """The masks of the weights that stay: True for those with the highest scores.

    Args:
        scores: by layer name, each of its weight's shape.
        sparsity: share of the weights to remove, in [0, 1]; exactly ``round(sparsity * n)`` of n go. Two of four is
            0.5 by definition.
        scope: what the n weights are: all layers together, or each layer for itself, or every four neighbours of a row.

    Raises:
        ValueError: a sparsity outside [0, 1] or other than 0.5 for ``"2:4"``, rows that fours do not divide, or scores
            that are not finite.
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"the sparsity is a share of the weights: expected 0 to 1, got {sparsity}")
    if bad := [name for name, score in scores.items() if not torch.isfinite(score).all()]:
        raise ValueError(f"scores of {', '.join(bad)} are not finite: the weights or gradients have diverged")
    if scope == "2:4":
        if sparsity != 0.5:
            raise ValueError(f"the pattern 2:4 removes half of the weights: sparsity must be 0.5, got {sparsity}")
        return {name: best_two_of_four(score, name) for name, score in scores.items()}
    if scope == "layer":
        return {name: highest(score.flatten(), sparsity).view_as(score) for name, score in scores.items()}
    if scope != "global":
        raise ValueError(f"unknown scope {scope!r}: use 'global', 'layer' or '2:4'")
    kept = highest(torch.cat([score.flatten() for score in scores.values()]), sparsity)
    pieces = kept.split([score.numel() for score in scores.values()])
    return {name: piece.view_as(score) for (name, score), piece in zip(scores.items(), pieces, strict=True)}


def highest(scores: Tensor, sparsity: float) -> Tensor:
    """True for all but the ``round(sparsity * n)`` lowest of n scores; of equal scores the first are removed first."""
    removed = round(sparsity * scores.numel())
    if removed == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(removed).values  # many times as fast as sorting
    kept, equal = scores > threshold, scores == threshold
    spared = int(kept.numel() - kept.sum()) - removed
    if spared:
        kept[equal.nonzero().squeeze(1)[-spared:]] = True
    return kept


def best_two_of_four(score: Tensor, name: str = "a layer") -> Tensor:
    """True for the two highest scores of every four neighbours in a row."""
    if score.shape[-1] % 4:
        raise ValueError(f"{name}: rows of {score.shape[-1]} weights cannot be cut into fours")
    fours = score.reshape(-1, 4)
    kept = torch.zeros_like(fours, dtype=torch.bool)
    return kept.scatter_(1, fours.topk(2, dim=1).indices, True).view_as(score)


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Set the weights that are masked out to zero, in place."""
    layers = find_block_linears(model)
    for name, mask in masks.items():
        layers[name].weight.mul_(mask)


def zero_masks(model: nn.Module) -> Masks:
    """Which weights are not zero, for the layers of attention and feed-forward networks that hold zeros.

    What earlier pruning removed is found by value, so it is known in a model that was opened from a file and in one
    whose heads or neurons were removed since.
    """
    masks = {name: layer.weight != 0 for name, layer in find_block_linears(model).items()}
    return {name: mask for name, mask in masks.items() if not mask.all()}


@contextmanager
def keep_zeros(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Masks]:
    """Keep the weights that are zero now at zero after each of an optimiser's steps in the block."""
    masks = zero_masks(model)
    hook = optimizer.register_step_post_hook(lambda *_: apply_masks(model, masks))
    try:
        yield masks
    finally:
        hook.remove()


def sparsity(model: nn.Module) -> float:
    """The share of zeros among the weights of attention and feed-forward layers, each parameter counted once."""
    weights = {id(layer.weight): layer.weight for layer in block_linears(model).values()}.values()
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def cubic_sparsity(step: int, *, final: float, start: int, end: int) -> float:
    """Sparsity after a step of a gradual schedule: fast at first, while many weights are unimportant, then ever slower.

    0 up to ``start``, ``final`` from ``end`` on, and between them final·(1 - (1 - t)³) for t from 0 to 1.

    Source: Zhu and Gupta (2017), equation 1.

    Raises:
        ValueError: an end that is not after the start.
    """
    if end <= start:
        raise ValueError(f"the schedule must end after it starts: got start {start}, end {end}")
    t = min(1.0, max(0.0, (step - start) / (end - start)))
    return final * (1 - (1 - t) ** 3)


class GradualPruning:
    """Prune while the model trains: after every optimiser step the masks are chosen anew and applied.

    Weights that were removed are zero after every step, whatever momentum the optimiser holds for them. A trainer needs
    to know nothing of it: the work is done in a hook of the optimiser.

    Args:
        model: the model in training.
        optimizer: its optimiser.
        scores: returns the current scores, such as ``lambda: magnitude_scores(model)`` or :class:`MovementScores`.
        schedule: sparsity after a step, counted from 1, such as a partial :func:`cubic_sparsity`.
        every: steps between two choices of the masks.
        scope: see :func:`choose_masks`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        scores: Callable[[], Scores],
        schedule: Callable[[int], float],
        every: int = 1,
        scope: Scope = "global",
    ) -> None:
        self.model, self.scores, self.schedule, self.every, self.scope = model, scores, schedule, every, scope
        self.step = 0
        self.masks: Masks = {}
        self.handle = optimizer.register_step_post_hook(self.after_step)

    def after_step(self, *_: Any) -> None:
        """Choose the masks when they are due, and apply them."""
        self.step += 1
        if self.step % self.every == 0 or not self.masks:
            self.masks = choose_masks(self.scores(), self.schedule(self.step), scope=self.scope)
        apply_masks(self.model, self.masks)

    def close(self) -> None:
        """Remove the hook from the optimiser; the weights stay as they are."""
        self.handle.remove()

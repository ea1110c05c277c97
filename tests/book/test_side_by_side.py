"""Sweeps trained in one pass give what training each model alone gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from plm_chapters.experiments.side_by_side import SideBySide


def build(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))


def loss_of(logits: Tensor, y_N: Tensor) -> Tensor:
    """Mean squared distance of the logits from a one-hot target, over the last two dimensions."""
    return (logits - nn.functional.one_hot(y_N, 3)).square().mean((-1, -2))


@pytest.mark.parametrize("clip", [None, 0.05])
def test_models_side_by_side_learn_what_each_learns_alone(clip: float | None) -> None:
    rates = [1e-3, 1e-2, 1e-1]
    together = SideBySide([build(seed) for seed in range(3)], rates, clip=clip)
    alone = [build(seed) for seed in range(3)]
    optimizers = [torch.optim.AdamW(model.parameters(), lr=rate) for model, rate in zip(alone, rates, strict=True)]
    generator = torch.Generator().manual_seed(0)
    for step in range(8):
        scale = 1 - step / 10
        x_ND, y_N = torch.randn(16, 5, generator=generator), torch.randint(3, (16,), generator=generator)
        together.step(loss_of(together(x_ND), y_N), scale)
        for model, optimizer, rate in zip(alone, optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * scale
            optimizer.zero_grad()
            loss_of(model(x_ND), y_N).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    for mine, theirs in zip(together.trained(), alone, strict=True):
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_model_keeps_its_own_rate() -> None:
    together = SideBySide([build(0), build(0)], [0.0, 0.1])
    together.step(loss_of(together(torch.randn(4, 5)), torch.zeros(4, dtype=torch.long)))
    still, moved = together.trained()
    reference = build(0)
    assert all(torch.equal(a, b) for a, b in zip(still.parameters(), reference.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(moved.parameters(), reference.parameters(), strict=True))

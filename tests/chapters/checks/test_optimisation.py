"""The checks on optimisation: right answers pass on every draw, and what stands for a mistake is one."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check
from plm_chapters.checks.optimisation import optimisers as optimisation
from plm_chapters.checks.optimisation import training_loop

SEEDS = st.integers(0, 2**31)


def adamw_step(
    w: Tensor, g: Tensor, state: dict[str, Any], lr: float, betas: tuple[float, float], eps: float, decay: float
) -> Tensor:
    t = state["t"] = state.get("t", 0) + 1
    state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g**2
    m, v = state["m"] / (1 - betas[0] ** t), state["v"] / (1 - betas[1] ** t)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps)


def rate(step: int, peak: float, warmup: int, total: int) -> float:
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - 1 - warmup)))


def clip(gradients: list[Tensor | None], max_norm: float) -> tuple[list[Tensor | None], Tensor]:
    norm = torch.cat([g.flatten() for g in gradients if g is not None]).norm()
    factor = max_norm / max(norm.item(), max_norm)
    return [None if g is None else g * factor for g in gradients], norm


def update(
    model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: list[tuple[Tensor, Tensor]], max_norm: float
) -> Tensor:
    optimizer.zero_grad()
    count = sum(len(y_N) for _, y_N in micro_batches)
    for x_ND, y_N in micro_batches:
        (F.cross_entropy(model(x_ND), y_N, reduction="sum") / count).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return norm


def save_state(model: nn.Module, optimizer: torch.optim.Optimizer, position: int) -> dict[str, Any]:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "position": position}
    return copy.deepcopy(state) | {"random": torch.get_rng_state()}


def load_state(state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["position"]


RIGHT = [
    pytest.param(optimisation.adamw, (adamw_step,), id="adamw"),
    pytest.param(optimisation.scale_prediction, ("grows", "stays", "falls", "stays", 10), id="scale"),
    pytest.param(training_loop.schedule, (rate,), id="schedule"),
    pytest.param(training_loop.clipping, (clip,), id="clip"),
    pytest.param(training_loop.update, (update,), id="update"),
    pytest.param(training_loop.resume, (save_state, load_state), id="resume"),
]


@pytest.mark.parametrize(("check", "answers"), RIGHT)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_right_answers_pass_on_every_draw(check: Check, answers: tuple[Any, ...], seed: int) -> None:
    outcomes = check.run(*answers, seed=seed)
    assert all(outcome.passed for outcome in outcomes), outcomes[-1].message


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_the_mistakes_of_adamw_are_far_from_the_truth(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    w, gradients = torch.randn(4, 3, generator=generator), list(torch.randn(8, 4, 3, generator=generator))
    truth = optimisation._reference(w, gradients, 0.5, 0.3)
    torch.testing.assert_close(optimisation._variant(w, gradients, 0.5, 0.3, "none"), truth)
    for mistake in ("L2", "no correction", "not squared", "eps inside", "decay without rate"):
        wrong = optimisation._variant(w, gradients, 0.5, 0.3, mistake)
        assert (wrong - truth).abs().max() > 1e-2, mistake


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4), seed=SEEDS)
def test_the_gradient_does_not_depend_on_the_split(sizes: list[int], seed: int) -> None:
    model, parts = training_loop._parts(training_loop.Draw(seed), sizes)
    whole = [(torch.cat([x_ND for x_ND, _ in parts]), torch.cat([y_N for _, y_N in parts]))]
    split, together = training_loop._true_gradient(model, parts), training_loop._true_gradient(model, whole)
    torch.testing.assert_close(split, together)

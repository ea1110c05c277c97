"""The checks on optimisation: right answers pass on every draw, and what stands for a mistake is one."""

from __future__ import annotations

import ast
import copy
import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw
from plm_chapters.checks.optimisation import batches, training_loop
from plm_chapters.checks.optimisation import optimisers as optimisation
from plm_chapters.notebook import load_experiment

SEEDS = st.integers(0, 2**31)
EXERCISES = Path(__file__).resolve().parents[3] / "chapters" / "exercises" / "12_optimisation.md"


load_once = functools.cache(load_experiment)


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


def noise_scale(gradients_GP: Tensor, size: int) -> Tensor:
    noise = size * gradients_GP.var(dim=0).sum()
    signal = gradients_GP.mean(dim=0).square().sum() - noise / (size * len(gradients_GP))
    return noise / signal if signal > 0 else torch.tensor(math.inf)


def noise_scale_from_pairs(gradients_GP: Tensor, size: int) -> float:
    """The mean product of two different gradients is |G|^2 on average, since their noise is independent."""
    rows = gradients_GP.double().numpy()
    signal = (np.sum(rows.sum(0) ** 2) - np.sum(rows**2)) / (len(rows) * (len(rows) - 1))
    return size * (np.mean(np.sum(rows**2, axis=1)) - signal) / signal if signal > 0 else float("inf")


def noise_scale_of_the_chapter(gradients_GP: Tensor, size: int) -> float:
    return load_once("12e_batch_size").noise_scale(list(gradients_GP), size)["scale"]


def fit_by_torch(steps: dict[int, float]) -> Tensor:
    sizes_N, steps_N = torch.tensor(list(steps)), torch.tensor(list(steps.values()))
    terms_N2 = torch.stack([1 / steps_N, 1 / (sizes_N * steps_N)], 1)
    fewest, slope = torch.linalg.lstsq(terms_N2, torch.ones(len(steps), 1)).solution
    return torch.stack([fewest, slope / fewest])


def fit_by_closed_form(steps: dict[int, float]) -> tuple[float, float]:
    """Weighted regression of the steps on 1 / B, by means and covariance."""
    sizes, needed = np.array(list(steps)), np.array(list(steps.values()))
    weights = needed**-2.0
    x_mean, y_mean = np.average(1 / sizes, weights=weights), np.average(needed, weights=weights)
    slope = (weights @ ((1 / sizes - x_mean) * (needed - y_mean))) / (weights @ (1 / sizes - x_mean) ** 2)
    return y_mean - slope * x_mean, slope / (y_mean - slope * x_mean)


def fit_by_search(steps: dict[int, float]) -> np.ndarray[Any, Any]:
    sizes, needed = np.array(list(steps)), np.array(list(steps.values()))
    return scipy.optimize.curve_fit(lambda b, s, c: s * (1 + c / b), sizes, needed, p0=(100, 10), sigma=needed)[0]


def plan(fewest: float, critical: float, machines: int, stories_a_machine: int) -> list[float]:
    stories = fewest * (machines * stories_a_machine + critical)
    return [stories / (machines * stories_a_machine), stories]


RIGHT = [
    pytest.param(optimisation.adamw, (adamw_step,), id="adamw"),
    pytest.param(optimisation.scale_prediction, ("grows", "stays", "falls", "stays", 10), id="scale"),
    pytest.param(training_loop.schedule, (rate,), id="schedule"),
    pytest.param(training_loop.clipping, (clip,), id="clip"),
    pytest.param(training_loop.update, (update,), id="update"),
    pytest.param(training_loop.resume, (save_state, load_state), id="resume"),
    pytest.param(batches.batch_size, (noise_scale, fit_by_torch, plan, {"B", "C", "E"}), id="batch_torch"),
    pytest.param(batches.batch_size, (noise_scale_from_pairs, fit_by_closed_form, plan, ["E", "C", "B"]), id="batch"),
    pytest.param(batches.batch_size, (noise_scale_of_the_chapter, fit_by_search, plan, ("B", "C", "E")), id="search"),
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


# --- how large a batch ----------------------------------------------------------------------------------------------

Answer = Callable[..., Any]


def refused(stage: str, seed: int = 1, **answers: Any) -> str:
    """The message on an answer to the exercise on batches that is right but for the given parts."""
    right = {"noise_scale": noise_scale, "fit_steps": fit_by_torch, "plan": plan, "follows": {"B", "C", "E"}}
    with pytest.raises(CheckFailed) as caught:
        batches.batch_size.grade(stage, *(right | answers).values(), seed=seed)
    return str(caught.value)


def test_the_estimates_of_noise_and_signal_are_right_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    signal_P = torch.randn(20, generator=generator)
    gradients_NGP = signal_P + 0.5 * torch.randn(4000, 4, 20, generator=generator)
    noise, signal = np.mean([batches._estimates(gradients_GP, 8) for gradients_GP in gradients_NGP], axis=0)
    assert noise == pytest.approx(8 * 20 * 0.25, rel=0.01)
    assert signal == pytest.approx(signal_P.square().sum().item(), rel=0.01)
    biased = gradients_NGP.mean(1).square().sum(1).mean().item()
    assert biased > 1.03 * signal_P.square().sum().item()


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS)
def test_other_least_squares_are_far_from_that_of_the_relative_error(seed: int) -> None:
    steps = batches._steps(Draw(seed), count=4, ratio=4, error=0.15)
    right, absolute, squared = (np.array(batches._fit(steps, power)) for power in (1, 0, 2))
    logarithmic = scipy.optimize.curve_fit(
        lambda b, s, c: np.log(s * (1 + c / b)), list(steps), np.log(list(steps.values())), p0=right
    )[0]
    for wrong in (absolute, squared, logarithmic):
        assert abs(wrong / right - 1).max() > 0.004


@pytest.mark.parametrize(
    ("stage", "wrong"),
    [
        ("the noise scale from many gradients", {"noise_scale": lambda gradients_GP, size: math.nan}),
        ("the noise scale from many gradients", {"noise_scale": lambda gradients_GP, size: math.inf}),
        (
            "the noise scale from many gradients",
            {"noise_scale": lambda gradients_GP, size: noise_scale(gradients_GP, 8)},
        ),
        ("the noise scale from few gradients", {"noise_scale": lambda gradients_GP, size: math.nan}),
        (
            "the noise scale from few gradients",
            {"noise_scale": lambda gradients_GP, size: noise_scale(gradients_GP[:2], 8)},
        ),
        ("the fit", {"fit_steps": lambda steps: (math.nan, math.nan)}),
        ("the fit", {"fit_steps": lambda steps: (200.0, 30.0)}),
        ("the fit", {"fit_steps": lambda steps: fit_by_torch(dict(list(steps.items())[:2]))}),
        ("the fit", {"fit_steps": lambda steps: fit_by_torch(dict(zip((2, 8, 32), steps.values(), strict=False)))}),
        ("the plan", {"plan": lambda *_: (math.nan, math.nan)}),
        ("the plan", {"plan": lambda fewest, critical, machines, each: plan(200.4, critical, machines, each)}),
        ("the plan", {"plan": lambda fewest, critical, machines, each: plan(fewest, 30.3, machines, each)}),
        ("the plan", {"plan": lambda fewest, critical, machines, each: plan(fewest, critical, 4, each)}),
        ("the plan", {"plan": lambda fewest, critical, machines, each: plan(fewest, critical, machines, 4)}),
        ("the statements", {"follows": set("ABCDEF")}),
        ("the statements", {"follows": {1, 2, 4}}),
        ("the statements", {"follows": "BCE"}),
        ("the statements", {"follows": set()}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 271828])
def test_nan_and_answers_that_ignore_an_argument_are_refused(stage: str, wrong: dict[str, Any], seed: int) -> None:
    assert refused(stage, seed, **wrong)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_the_noise_scale_mistakes_are_named_on_every_draw(seed: int) -> None:
    def without(correction: str) -> Answer:
        def wrong(gradients_GP: Tensor, size: int) -> Tensor:
            count, mean_square = len(gradients_GP), gradients_GP.mean(dim=0).square().sum()
            noise = gradients_GP.var(dim=0, correction=int(correction != "variance")).sum()
            return size * noise / (mean_square - (0 if correction == "signal" else noise / count))

        return wrong

    stage = "the noise scale from few gradients"
    assert "still holds noise" in refused(stage, seed, noise_scale=without("signal"))
    assert "divide by G - 1" in refused(stage, seed, noise_scale=without("variance"))


def test_the_statements_are_decided_by_the_table_of_the_exercise() -> None:
    table = re.search(r"^measured = (.*)$", EXERCISES.read_text(encoding="utf-8"), re.MULTILINE)
    assert table is not None
    measured = ast.literal_eval(table[1])
    fewest, critical = batches._fit(measured)
    fitted = {size: plan(fewest, critical, 1, size) for size in measured}
    assert all(abs(fitted[size][0] / steps - 1) < 0.03 for size, steps in measured.items())
    assert measured[100] > 3 * measured[10] / 10  # A
    assert plan(fewest, critical, 1, critical) == pytest.approx([2 * fewest, 2 * fewest * critical])  # B
    assert len(measured) == 7  # C
    for stories in ({size: size * steps for size, steps in measured.items()}, {s: fitted[s][1] for s in measured}):
        assert min(stories, key=stories.__getitem__) == 1
    assert fewest > 1.2 * 150  # D
    assert 1 + critical / 2 > 1.5 * 10  # E
    assert critical == pytest.approx(30, rel=0.05)  # F names it; no other target is in the table

"""Checks of the exercises on optimisers: steps by pencil, AdamW, and what the rules do with scale.

What stands around the optimiser is checked in :mod:`plm_chapters.checks.optimisation.training_loop`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

# --- 1: by pencil ---------------------------------------------------------------------------------------------------

pencil = Check("Steps by pencil")

AFTER_SGD = torch.tensor([0.2, 1.8])  # (1, 2) - 0.1 · (8, 2)
AFTER_MOMENTUM = torch.tensor([-0.36, 1.52])  # m = 0.5 · (8, 2) + (1.6, 1.8)
AFTER_ADAM = torch.tensor([0.9, 1.9])
AFTER_ADAMW = torch.tensor([0.85, 1.8])  # 0.95 · (1, 2) - 0.1 · (1, 1)


@pencil.stage("SGD")
def _(sgd: Any, momentum: Any, adam: Any, adamw: Any, draw: Draw) -> None:
    mistakes = {
        "this goes uphill: subtract the gradient": torch.tensor([1.8, 2.2]),
        "the gradient of 4x² is 8x, not 4x": torch.tensor([0.6, 1.8]),
    }
    expect_close(sgd, AFTER_SGD, what="sgd", message="w - 0.1 · gradient.", mistakes=mistakes, tolerance=0.005)


@pencil.stage("momentum")
def _(sgd: Any, momentum: Any, adam: Any, adamw: Any, draw: Draw) -> None:
    mistakes = {
        "these are two steps of SGD: the second step must remember the first gradient": torch.tensor([0.04, 1.62]),
        "this is the point after one step: take two": AFTER_SGD,
        "the second gradient belongs to the point after the first step": torch.tensor([-1.0, 1.5]),
    }
    message = "First m = (8, 2). Then m = 0.5 · (8, 2) + the gradient at the new point."
    expect_close(momentum, AFTER_MOMENTUM, what="momentum", message=message, mistakes=mistakes, tolerance=0.005)


@pencil.stage("Adam")
def _(sgd: Any, momentum: Any, adam: Any, adamw: Any, draw: Draw) -> None:
    mistakes = {
        "this is SGD's step: Adam divides the gradient by its size": AFTER_SGD,
        "the bias correction is missing: 0.1 · g / sqrt(0.001 · g²) is more than 3": torch.tensor([0.684, 1.684]),
    }
    message = "In the first step both corrected means are the gradient's own: g / |g|."
    expect_close(adam, AFTER_ADAM, what="adam", message=message, mistakes=mistakes, tolerance=0.005)


@pencil.stage("AdamW")
def _(sgd: Any, momentum: Any, adam: Any, adamw: Any, draw: Draw) -> None:
    mistakes = {
        "the decay has no effect here: multiply the weights by 1 - 0.1 · 0.5": AFTER_ADAM,
        "the decay is multiplied by the learning rate: 0.1 · 0.5, not 0.5": torch.tensor([0.4, 0.9]),
    }
    message = "Decay first, (1 - 0.1 · 0.5) · w, then Adam's step."
    expect_close(adamw, AFTER_ADAMW, what="adamw", message=message, mistakes=mistakes, tolerance=0.005)


# --- 2: AdamW -------------------------------------------------------------------------------------------------------

adamw = Check("AdamW")

Rule = Callable[..., Tensor]
Mistakes = dict[str, Tensor | Callable[[], Tensor]]
BETAS, DECAY = (0.8, 0.95), 0.3


def _walk(rule: Rule, w: Tensor, gradients: list[Tensor], eps: float, decay: float) -> Any:
    state: dict[str, Any] = {}
    for g in gradients:
        w = rule(w.clone(), g.clone(), state, 0.1, BETAS, eps, decay)
    return w


def _reference(w: Tensor, gradients: list[Tensor], eps: float, decay: float) -> Tensor:
    parameter = nn.Parameter(w.clone())
    optimizer = torch.optim.AdamW([parameter], lr=0.1, betas=BETAS, eps=eps, weight_decay=decay)
    for g in gradients:
        parameter.grad = g.clone()
        optimizer.step()
    return parameter.detach()


def _variant(w: Tensor, gradients: list[Tensor], eps: float, decay: float, mistake: str) -> Tensor:
    """AdamW with one mistake."""
    m, v, correct = torch.zeros_like(w), torch.zeros_like(w), mistake != "no correction"
    for t, g in enumerate(gradients, start=1):
        pull = g + decay * w if mistake == "L2" else g
        m = BETAS[0] * m + (1 - BETAS[0]) * pull
        v = BETAS[1] * v + (1 - BETAS[1]) * (pull if mistake == "not squared" else pull**2)
        mean = m / (1 - BETAS[0] ** t) if correct else m
        square = v / (1 - BETAS[1] ** t) if correct else v
        root = (square + eps).sqrt() if mistake == "eps inside" else square.abs().sqrt() + eps
        factor = {"L2": 1.0, "decay without rate": 1 - decay}.get(mistake, 1 - 0.1 * decay)
        w = w * factor - 0.1 * mean / root
    return w


@adamw.stage("shape")
def _(adamw_step: Rule, draw: Draw) -> None:
    n, k = draw.sizes(2, 3, 8)
    w, g = draw.normal(n, k), draw.normal(n, k)
    expect_tensor(adamw_step(w, g, {}, 0.1, BETAS, 1e-8, DECAY), (n, k), what="adamw_step(...)")


@adamw.stage("the first step moves every weight by the rate")
def _(adamw_step: Rule, draw: Draw) -> None:
    w, g = draw.normal(6), draw.normal(6, scale=100.0)
    mistakes: Mistakes = {
        "the bias correction is missing: both means start at 0 and must be divided by 1 - beta to the power of t": (
            lambda: _variant(w, [g], 1e-8, 0.0, "no correction")
        ),
        "this goes uphill: subtract the update": w + 0.1 * g.sign(),
    }
    message = "Without decay, the first step is the rate times the gradient's sign, however large the gradient."
    expect_close(_walk(adamw_step, w, [g], 1e-8, 0.0), w - 0.1 * g.sign(), what="w", message=message, mistakes=mistakes)


@adamw.stage("decay stands beside the gradient")
def _(adamw_step: Rule, draw: Draw) -> None:
    w, g = draw.normal(6, scale=3.0), torch.zeros(6)
    mistakes: Mistakes = {
        "the decay is in the gradient, where Adam rescales it: apply it to the weights": (
            lambda: _variant(w, [g], 1e-8, DECAY, "L2")
        ),
        "the decay is multiplied by the learning rate": w * (1 - DECAY),
        "nothing decays": w,
    }
    message = "With a gradient of zero, only the decay is left: w · (1 - lr · decay)."
    value = _walk(adamw_step, w, [g], 1e-8, DECAY)
    expect_close(value, w * (1 - 0.1 * DECAY), what="w", message=message, mistakes=mistakes)


@adamw.stage("reference")
def _(adamw_step: Rule, draw: Draw) -> None:
    w, gradients = draw.normal(4, 3), [draw.normal(4, 3) for _ in range(8)]
    eps = 0.5  # large, so that its place matters
    mistakes = {
        "eps stands outside the root": lambda: _variant(w, gradients, eps, DECAY, "eps inside"),
        "the second mean is that of the *squared* gradient": lambda: _variant(w, gradients, eps, DECAY, "not squared"),
        "the bias correction is missing after the first step: use t, the number of this step": (
            lambda: _variant(w, gradients, eps, DECAY, "no correction")
        ),
        "the decay is in the gradient": lambda: _variant(w, gradients, eps, DECAY, "L2"),
        "nothing is remembered from step to step: keep t and both means in `state`": (
            lambda: _forgetful(w, gradients, eps)
        ),
    }
    value = _walk(adamw_step, w, gradients, eps, DECAY)
    message = "Compare your lines with the chapter's, one by one."
    expect_close(
        value, _reference(w, gradients, eps, DECAY), what="w after 8 steps", message=message, mistakes=mistakes
    )


def _forgetful(w: Tensor, gradients: list[Tensor], eps: float) -> Tensor:
    for g in gradients:
        w = _reference(w, [g], eps, DECAY)
    return w


# --- 5: predict, then run -------------------------------------------------------------------------------------------

scale_prediction = Check("What the rules do with scale")

TRENDS = ("falls", "stays", "grows")


def first_step(optimizer: str, scale: float, seed: int = 0) -> float:
    """Length of the first step of an optimiser at rate 0.1, for random gradients times a scale."""
    parameter = nn.Parameter(torch.zeros(100))
    parameter.grad = scale * torch.randn(100, generator=torch.Generator().manual_seed(seed))
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    make([parameter], lr=0.1).step()
    return parameter.detach().norm().item()


def pull(optimizer: str, noise: float, seed: int = 0) -> float:
    """How much 50 steps with decay 0.1 at rate 0.01 take away from the mean of 300 weights, with noise as gradients.

    The same steps without decay are the control, since the noise moves the mean, too.
    """
    make, means = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer], []
    for decay in (0.0, 0.1):
        parameter = nn.Parameter(torch.ones(300))
        rule = make([parameter], lr=0.01, weight_decay=decay)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(50):
            parameter.grad = noise * torch.randn(300, generator=generator)
            rule.step()
        means.append(parameter.detach().mean().item())
    return means[0] - means[1]


def momentum_factor(mu: float = 0.9, steps: int = 100) -> float:
    """How many times longer than SGD's the last of many steps with momentum is, if the gradient is always the same."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=mu)
    before = 0.0
    for _ in range(steps):
        before = parameter.item()
        parameter.grad = torch.ones(1)
        optimizer.step()
    return before - parameter.item()


def _trend(small: float, large: float) -> str:
    return "stays" if abs(large / small - 1) < 0.25 else "grows" if large > small else "falls"


def _expect_trend(guess: Any, measured: list[float], *, what: str, why: str) -> None:
    right = _trend(*measured)
    if guess not in TRENDS:
        raise CheckFailed(f"{what} should be one of {', '.join(map(repr, TRENDS))}; got {guess!r}")
    if guess != right:
        raise CheckFailed(f"measured: from {measured[0]:.3g} to {measured[1]:.3g}, so {what} is {right!r}. {why}")


@scale_prediction.stage("SGD's step")
def _(sgd_step: Any, adam_step: Any, l2_pull: Any, adamw_pull: Any, factor: Any, draw: Draw) -> None:
    measured = [first_step("sgd", scale, draw.seed) for scale in (1.0, 1000.0)]
    _expect_trend(sgd_step, measured, what="sgd_step", why="SGD's step is the rate times the gradient.")


@scale_prediction.stage("Adam's step")
def _(sgd_step: Any, adam_step: Any, l2_pull: Any, adamw_pull: Any, factor: Any, draw: Draw) -> None:
    measured = [first_step("adam", scale, draw.seed) for scale in (1.0, 1000.0)]
    _expect_trend(adam_step, measured, what="adam_step", why="Adam divides by the size of the gradient.")


@scale_prediction.stage("the pull of an L2 penalty in Adam")
def _(sgd_step: Any, adam_step: Any, l2_pull: Any, adamw_pull: Any, factor: Any, draw: Draw) -> None:
    measured = [pull("adam", noise, draw.seed) for noise in (0.1, 10.0)]
    why = "The pull is part of the gradient, so Adam divides it by the gradient's size, too."
    _expect_trend(l2_pull, measured, what="l2_pull", why=why)


@scale_prediction.stage("the pull of AdamW")
def _(sgd_step: Any, adam_step: Any, l2_pull: Any, adamw_pull: Any, factor: Any, draw: Draw) -> None:
    measured = [pull("adamw", noise, draw.seed) for noise in (0.1, 10.0)]
    why = "AdamW multiplies the weights by 1 - lr · decay, whatever the gradient is."
    _expect_trend(adamw_pull, measured, what="adamw_pull", why=why)


@scale_prediction.stage("momentum's reach")
def _(sgd_step: Any, adam_step: Any, l2_pull: Any, adamw_pull: Any, factor: Any, draw: Draw) -> None:
    message = "Add up 1 + 0.9 + 0.9² + ...: a geometric series."
    right = torch.tensor(momentum_factor())
    expect_close(factor, right, what="factor", message=message, tolerance=0.05)

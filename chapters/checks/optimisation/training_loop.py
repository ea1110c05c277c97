"""Checks of the exercises on what stands around an optimiser: schedule, clipping, accumulation, exact resume.

Letters: N examples, D features, C classes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close
from plm_core.training.schedule import learning_rate

# --- 3: a schedule --------------------------------------------------------------------------------------------------

schedule = Check("Warm-up and cosine decay")

Schedule = Callable[[int, float, int, int], float]


def _rates(rate: Schedule, steps: range, peak: float, warmup: int, total: int) -> Any:
    values = [rate(step, peak, warmup, total) for step in steps]
    if any(value is None or value is ... for value in values):
        raise CheckFailed("rate(...) is None: is the code written, and does it `return`?")
    return torch.tensor([float(value) for value in values])


def _right(steps: range, peak: float, warmup: int, total: int) -> Tensor:
    options: dict[str, Any] = {"peak": peak, "warmup_steps": warmup, "total_steps": total}
    return torch.tensor([learning_rate(step, **options) for step in steps])


@schedule.stage("warm-up")
def _(rate: Schedule, draw: Draw) -> None:
    warmup = draw.integer(4, 9)
    steps = range(warmup)
    mistakes = {
        "the first step has the rate 0 and is wasted: count from 1": torch.tensor([s / warmup for s in steps]),
        "the peak belongs to step `warmup`, not to the one before: divide by warmup + 1": (
            torch.tensor([(s + 1) / warmup for s in steps])
        ),
        "there is no warm-up": torch.ones(warmup),
    }
    message = "Step s of the warm-up has the rate peak · (s + 1) / (warmup + 1)."
    expect_close(
        _rates(rate, steps, 1.0, warmup, 40), _right(steps, 1.0, warmup, 40), message=message, mistakes=mistakes
    )


@schedule.stage("peak and end")
def _(rate: Schedule, draw: Draw) -> None:
    warmup, total, peak = draw.integer(0, 5), draw.integer(20, 30), 2.0
    value = _rates(rate, range(warmup, total, total - 1 - warmup), peak, warmup, total)
    progress = (total - 1 - warmup) / (total - warmup)
    mistakes = {
        "the *last* step, total - 1, has the rate 0: divide by total - 1 - warmup": (
            torch.tensor([peak, peak * 0.5 * (1 + math.cos(math.pi * progress))])
        ),
        "the rate falls to -peak: half of 1 + cos": torch.tensor([peak, -peak]),
    }
    expect_close(
        value, torch.tensor([peak, 0.0]), message="Step `warmup` is the peak, the last step 0.", mistakes=mistakes
    )


@schedule.stage("reference")
def _(rate: Schedule, draw: Draw) -> None:
    warmup, total = draw.integer(2, 6), draw.integer(20, 30)
    steps, peak = range(total), 0.5 + draw.integer(1, 5)
    line = [peak * (1 - max(0, s - warmup) / (total - 1 - warmup)) for s in steps]
    late = [0.5 * peak * (1 + math.cos(math.pi * s / (total - 1))) for s in steps]
    right = _right(steps, peak, warmup, total)
    mistakes = {
        "this decay is linear: take half a cosine": torch.where(
            torch.arange(total) < warmup, right, torch.tensor(line)
        ),
        "the decay begins at step 0: its progress counts from the end of the warm-up": torch.where(
            torch.arange(total) < warmup, right, torch.tensor(late)
        ),
    }
    expect_close(_rates(rate, steps, peak, warmup, total), right, message="", mistakes=mistakes)


# --- 4: clipping ----------------------------------------------------------------------------------------------------

clipping = Check("Clip the whole gradient")

Clip = Callable[[list[Tensor | None], float], tuple[list[Tensor | None], Any]]


def _clipped(clip: Clip, gradients: list[Tensor | None], max_norm: float) -> tuple[Tensor, Any]:
    """The student's clipped gradients in one vector, and the norm."""
    result = clip([None if g is None else g.clone() for g in gradients], max_norm)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise CheckFailed(f"return two things, the clipped gradients and the norm before; got {result!r}")
    clipped, norm = result
    if not isinstance(clipped, list) or len(clipped) != len(gradients):
        raise CheckFailed(f"the clipped gradients should be a list of {len(gradients)}, in the given order")
    for before, after in zip(gradients, clipped, strict=True):
        if (before is None) != (after is None):
            raise CheckFailed("a parameter without a gradient has None: leave it None")
    return torch.cat([g.flatten() for g in clipped if g is not None]), norm


def _flat(gradients: list[Tensor | None]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients if g is not None])


@clipping.stage("the norm is that of all gradients together")
def _(clip: Clip, draw: Draw) -> None:
    gradients: list[Tensor | None] = [draw.normal(3, 4), draw.normal(5)]
    each = torch.stack([g.norm() for g in gradients if g is not None])
    mistakes = {
        "this adds up the norms: the square of the whole norm is the sum of the squares": each.sum(),
        "this is the largest of the norms": each.max(),
        "the root is missing": each.square().sum(),
    }
    _, norm = _clipped(clip, gradients, 0.5)
    expect_close(norm, _flat(gradients).norm(), what="the norm", message="", mistakes=mistakes)


@clipping.stage("a gradient below the limit is left alone")
def _(clip: Clip, draw: Draw) -> None:
    gradients: list[Tensor | None] = [draw.normal(3, 4, scale=0.01), None, draw.normal(5, scale=0.01)]
    clipped, _ = _clipped(clip, gradients, 2.0)
    flat = _flat(gradients)
    mistakes = {
        "its norm is below max_norm, and was raised to it: clipping only lowers a norm": flat / flat.norm() * 2.0
    }
    expect_close(clipped, flat, what="the clipped gradients", message="", mistakes=mistakes, tolerance=1e-6)
    still, norm = _clipped(clip, [torch.zeros(3, 4), None], 2.0)
    expect_close(still, torch.zeros(12), what="a gradient of zero", message="Its norm is 0: do not divide by it.")
    expect_close(norm, torch.tensor(0.0), what="its norm")


@clipping.stage("reference")
def _(clip: Clip, draw: Draw) -> None:
    gradients: list[Tensor | None] = [draw.normal(3, 4), None, draw.normal(5), draw.normal(2, scale=0.1)]
    clipped, _ = _clipped(clip, gradients, 0.5)
    flat, real = _flat(gradients), [g for g in gradients if g is not None]
    mistakes = {
        "each gradient is clipped for itself, which changes the direction: one factor for all": (
            torch.cat([(g * min(1.0, 0.5 / g.norm().item())).flatten() for g in real])
        ),
        "each value is clipped for itself, which changes the direction: one factor for all": flat.clamp(-0.5, 0.5),
    }
    message = "All gradients are multiplied by max_norm / norm."
    expect_close(clipped, flat * 0.5 / flat.norm(), what="the clipped gradients", message=message, mistakes=mistakes)


# --- 6: find the bugs -----------------------------------------------------------------------------------------------

update = Check("One step over ragged micro-batches")

Example = tuple[Tensor, Tensor]
Update = Callable[[nn.Module, torch.optim.Optimizer, list[Example], float], Any]

D, C = 4, 3


def _parts(draw: Draw, sizes: list[int]) -> tuple[nn.Linear, list[Example]]:
    """A linear classifier and micro-batches of the given sizes."""
    model = nn.Linear(D, C)
    with torch.no_grad():
        model.weight.copy_(draw.normal(C, D))
        model.bias.copy_(draw.normal(C))
    labels = [torch.randint(C, (n,), generator=draw.generator) for n in sizes]
    return model, [(draw.normal(n, D), y_N) for n, y_N in zip(sizes, labels, strict=True)]


def _vector(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _updated(step: Update, model: nn.Module, parts: list[Example], max_norm: float) -> tuple[Tensor, Any, int]:
    """How far the student's function moves the weights, what it returns, and how often it steps."""
    optimizer, count = torch.optim.SGD(model.parameters(), lr=0.1), 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1

    optimizer.register_step_pre_hook(note)
    before = _vector(model)
    result = step(model, optimizer, parts, max_norm)
    return before - _vector(model), result, count


def _true_gradient(model: nn.Module, parts: list[Example], *, mean_of_means: bool = False) -> Tensor:
    count = sum(len(y_N) for _, y_N in parts)
    loss = torch.zeros(())
    for x_ND, y_N in parts:
        divisor = len(y_N) * len(parts) if mean_of_means else count
        loss = loss + F.cross_entropy(model(x_ND), y_N, reduction="sum") / divisor
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@update.stage("old gradients do not count")
def _(step: Update, draw: Draw) -> None:
    model, parts = _parts(draw, [5])
    right = 0.1 * _true_gradient(model, parts)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    moved, _, _ = _updated(step, model, parts, 1e6)
    mistakes = {"gradients from before the step were still there: zero them before the first backward": right + 0.1}
    expect_close(moved, right, what="the change of the weights", message="", mistakes=mistakes)


@update.stage("every example counts the same")
def _(step: Update, draw: Draw) -> None:
    model, parts = _parts(draw, [1, 7, 3])
    mean, means = _true_gradient(model, parts), _true_gradient(model, parts, mean_of_means=True)
    moved, _, count = _updated(step, model, parts, 1e6)
    if count > 1:
        raise CheckFailed(f"the optimiser stepped {count} times: it steps once, after the last micro-batch")
    mistakes = {
        "this is the mean of the means: sum the losses, and divide by the number of examples in all": 0.1 * means,
        "the means are added up and never divided": 0.1 * 3 * means,
        "the losses are summed and never divided by the number of examples": 0.1 * 11 * mean,
    }
    expect_close(moved, 0.1 * mean, what="the change of the weights", message="", mistakes=mistakes)


@update.stage("the step uses the clipped gradient")
def _(step: Update, draw: Draw) -> None:
    model, parts = _parts(draw, [5])
    gradient = _true_gradient(model, parts)
    max_norm = 0.5 * gradient.norm().item()
    moved, _, _ = _updated(step, model, parts, max_norm)
    mistakes = {"clipping comes too late: the optimiser has stepped already": 0.1 * gradient}
    message = "Backward for all, then clip, then step."
    expect_close(moved, 0.05 * gradient, what="the change of the weights", message=message, mistakes=mistakes)


@update.stage("reference")
def _(step: Update, draw: Draw) -> None:
    model, parts = _parts(draw, [2, 9, 4])
    gradient = _true_gradient(model, parts)
    norm = gradient.norm()
    moved, result, _ = _updated(step, model, parts, 0.5 * norm.item())
    message = "Clip once, when the gradient of the whole batch is there; a part of it has another length."
    expect_close(moved, 0.05 * gradient, what="the change of the weights", message=message)
    expect_close(result, norm, what="the returned norm", message="Return the norm before clipping.")


# --- 7: exact resume ------------------------------------------------------------------------------------------------

resume = Check("Save and resume to the same bits")

Save = Callable[..., Any]
Load = Callable[..., Any]


class Run:
    """A small run: a network with dropout, an optimiser, and data that follow from their position."""

    def __init__(self, seed: int, *, dropout: float, adam: bool) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(D, 8), nn.Dropout(dropout), nn.Linear(8, C))
        make = torch.optim.Adam if adam else torch.optim.SGD
        self.optimizer: torch.optim.Optimizer = make(self.model.parameters(), lr=0.05)
        self.position = 0

    def train(self, steps: int) -> Run:
        """Take steps on the data from the position on."""
        for _ in range(steps):
            generator = torch.Generator().manual_seed(self.position)
            x_ND, y_N = torch.randn(6, D, generator=generator), torch.randint(C, (6,), generator=generator)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x_ND), y_N).backward()
            self.optimizer.step()
            self.position += 1
        return self


def _expect_same(save: Save, load: Load, draw: Draw, message: str, *, through_file: bool = True, **kind: Any) -> None:
    """Train 4 steps, save, train 4 more; then resume in a fresh run with other weights and other random numbers."""
    run = Run(draw.seed, **kind).train(4)
    state = save(run.model, run.optimizer, run.position)
    if not isinstance(state, dict):
        raise CheckFailed(f"save_state should return a dict, got {state!r}")
    file = io.BytesIO()
    if through_file:
        torch.save(state, file)
    whole = _vector(run.train(4).model)
    if through_file:
        file.seek(0)
        state = torch.load(file, weights_only=True)
    fresh = Run(draw.seed + 1, **kind)
    position = load(state, fresh.model, fresh.optimizer)
    if position != 4:
        raise CheckFailed(f"load_state should return the position in the data, 4; it returned {position!r}")
    fresh.position = position
    if not torch.equal(_vector(fresh.train(4).model), whole):
        raise CheckFailed(f"the resumed run does not end with the bits of the uninterrupted one. {message}")


@resume.stage("weights and position")
def _(save: Save, load: Load, draw: Draw) -> None:
    message = "Here the weights alone would do: model.state_dict() and model.load_state_dict(...)."
    _expect_same(save, load, draw, message, dropout=0.0, adam=False)


@resume.stage("optimiser")
def _(save: Save, load: Load, draw: Draw) -> None:
    message = "Adam's two means and its step count are missing: optimizer.state_dict()."
    _expect_same(save, load, draw, message, dropout=0.0, adam=True)


@resume.stage("random numbers")
def _(save: Save, load: Load, draw: Draw) -> None:
    message = "Dropout drew other numbers: torch.get_rng_state() and torch.set_rng_state(...)."
    _expect_same(save, load, draw, message, dropout=0.3, adam=True)


@resume.stage("a copy, not a view")
def _(save: Save, load: Load, draw: Draw) -> None:
    message = (
        "state_dict() hands out the tensors themselves, and training goes on changing them: copy them when you save, "
        "for example with copy.deepcopy."
    )
    _expect_same(save, load, draw, message, through_file=False, dropout=0.3, adam=True)

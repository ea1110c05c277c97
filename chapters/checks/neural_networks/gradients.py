"""Checks of the exercises on gradients: a graph by pencil, softmax with its loss, a layer, and a training loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, call_by_hand, expect_close, expect_tensor

# --- 1: a graph by pencil -------------------------------------------------------------------------------------------

pencil = Check("Backpropagation by pencil")

RIGHT = {"v": -4.0, "h": -16.0, "w": -48.0, "b": -16.0}


def _expect_entries(gradients: Any, names: str, hints: Mapping[str, Mapping[float, str]]) -> None:
    if not isinstance(gradients, Mapping) or set(gradients) != set(RIGHT):
        raise CheckFailed("gradients should be a dictionary with the keys v, h, w and b")
    for name in names:
        found = gradients[name]
        if found is ... or found is None:
            raise CheckFailed(f"the gradient of {name} is still missing")
        if not abs(float(found) - RIGHT[name]) <= 1e-9:
            hint = hints.get(name, {}).get(float(found), "multiply backward, one arrow at a time")
            raise CheckFailed(f"the gradient of {name} is not {found}: {hint}")


@pencil.stage("the last steps")
def _(gradients: Any, draw: Draw) -> None:
    hints = {
        "v": {
            4.0: "y - t is negative, so the loss falls when y grows",
            -2.0: "the derivative of a square is twice its base",
        }
    }
    _expect_entries(gradients, "v", hints)


@pencil.stage("a node that is used twice")
def _(gradients: Any, draw: Draw) -> None:
    hints = {"h": {-8.0: "h is both factors of h * h; the gradients of both are added"}}
    _expect_entries(gradients, "h", hints)


@pencil.stage("the weights")
def _(gradients: Any, draw: Draw) -> None:
    hints = {
        "w": {
            -16.0: "the derivative of w * x + b with respect to w is x",
            -24.0: "this is built on a gradient of h that was counted once",
        },
        "b": {-48.0: "b is added: its derivative is 1, not x", -8.0: "the gradient of h was counted once"},
    }
    _expect_entries(gradients, "wb", hints)


# --- 3: softmax, loss and gradient ----------------------------------------------------------------------------------

softmax_loss = Check("Softmax and cross-entropy")

LossFunction = Callable[[Tensor, Tensor], tuple[Any, Any]]


def _loss_of(function: LossFunction, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    answer = call_by_hand(function, logits, labels)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise CheckFailed("loss_and_gradient should return two things: the mean loss and its gradient")
    return expect_tensor(answer[0], (), what="the loss"), expect_tensor(
        answer[1], tuple(logits.shape), what="the gradient"
    )


def _example(draw: Draw, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    batch, vocabulary = draw.sizes(2, 3, 9)
    labels = torch.tensor([draw.integer(0, vocabulary - 1) for _ in range(batch)])
    return draw.normal(batch, vocabulary, scale=scale), labels


@softmax_loss.stage("the loss")
def _(function: LossFunction, draw: Draw) -> None:
    logits, labels = _example(draw)
    loss, _ = _loss_of(function, logits, labels)
    per_row = F.cross_entropy(logits, labels, reduction="none")
    columns = -logits.log_softmax(0)[torch.arange(len(labels)), labels]
    expect_close(
        loss,
        per_row.mean(),
        what="the loss",
        mistakes={
            "this is the sum over the batch: take the mean.": per_row.sum(),
            "the softmax runs over the batch: it belongs over the last axis, one row at a time.": columns.mean(),
            "the softmax is applied twice.": F.cross_entropy(logits.softmax(-1), labels),
            "this is in bits: use the natural logarithm.": per_row.mean() / torch.log(torch.tensor(2.0)),
        },
    )


@softmax_loss.stage("the gradient")
def _(function: LossFunction, draw: Draw) -> None:
    logits, labels = _example(draw)
    _, gradient = _loss_of(function, logits, labels)
    right = logits.softmax(-1) - F.one_hot(labels, logits.shape[1]).float()
    expect_close(
        gradient,
        right / len(labels),
        what="the gradient",
        mistakes={
            "the loss is a mean over the batch, so its gradient is divided by the batch size too.": right,
            "the sign is wrong: it is p minus the truth.": -right / len(labels),
            "these are the probabilities: subtract 1 at each right answer.": logits.softmax(-1) / len(labels),
        },
    )


@softmax_loss.stage("large logits")
def _(function: LossFunction, draw: Draw) -> None:
    logits, labels = _example(draw, scale=500.0)
    loss, gradient = _loss_of(function, logits, labels)
    if not bool(loss.isfinite()) or not bool(gradient.isfinite().all()):
        raise CheckFailed(
            "e to a logit of several hundred is infinite: subtract each row's largest logit first, and keep the "
            "logarithm of the sum instead of taking the logarithm of a probability that was rounded to 0"
        )
    expect_close(loss, F.cross_entropy(logits, labels), what="the loss")
    right = logits.softmax(-1) - F.one_hot(labels, logits.shape[1])
    for i in range(len(labels)):  # each row alone: the stage before has judged the division by the batch size
        _, gradient = _loss_of(function, logits[i : i + 1], labels[i : i + 1])
        expect_close(gradient[0], right[i], what="the gradient", message="Take it from the shifted logits too.")


# --- 4: a layer backward --------------------------------------------------------------------------------------------

layer = Check("A layer, backward")

LayerFunction = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Any, Any, Any]]


def _layer_case(draw: Draw) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs x, W, b and the gradient of the output, and the true gradients of x, W and b."""
    batch, inputs, neurons = draw.sizes(3, 2, 7)
    x, w, b = (
        value.requires_grad_()
        for value in (draw.normal(batch, inputs), draw.normal(inputs, neurons), draw.normal(neurons))
    )
    output = F.relu(x @ w + b)
    g = draw.normal(batch, neurons)
    return [x.detach(), w.detach(), b.detach(), g], list(torch.autograd.grad(output, (x, w, b), g))


def _layer_gradients(function: LayerFunction, case: list[Tensor], truth: list[Tensor]) -> list[Tensor]:
    answer = call_by_hand(function, *case)
    if not isinstance(answer, tuple) or len(answer) != 3:
        raise CheckFailed("layer_backward should return three gradients: of x, of W and of b")
    hint = "transpose: the gradient of a thing has the shape of the thing"
    return [
        expect_tensor(each, right.shape, what=f"the gradient of {name}", hints={hint: right.shape[::-1]})
        for each, right, name in zip(answer, truth, "xWb", strict=True)
    ]


@layer.stage("shapes")
def _(function: LayerFunction, draw: Draw) -> None:
    _layer_gradients(function, *_layer_case(draw))


def _ungated(case: list[Tensor]) -> list[Tensor]:
    x, w, _, g = case
    return [g @ w.T, x.T @ g, g.sum(0)]


def _expect_gradient(function: LayerFunction, draw: Draw, place: int, name: str, message: str) -> None:
    case, truth = _layer_case(draw)
    found = _layer_gradients(function, case, truth)[place]
    mistakes = {
        "ReLU is missing: where its input was negative, nothing passes. Set the gradient there to 0 first.": _ungated(
            case
        )[place]
    }
    if place == 2:
        mistakes["this is the mean over the batch: every example used the bias, so their gradients are added."] = truth[
            2
        ] / len(case[0])
    expect_close(found, truth[place], what=f"the gradient of {name}", message=message, mistakes=mistakes)


@layer.stage("the bias")
def _(function: LayerFunction, draw: Draw) -> None:
    _expect_gradient(function, draw, 2, "b", "Add the gradients of the sums over the batch.")


@layer.stage("the weights")
def _(function: LayerFunction, draw: Draw) -> None:
    _expect_gradient(function, draw, 1, "W", "It is the transposed input times the gradient of the sums.")


@layer.stage("the inputs")
def _(function: LayerFunction, draw: Draw) -> None:
    _expect_gradient(function, draw, 0, "x", "It is the gradient of the sums times the transposed weights.")


# --- 5: a training loop to repair -----------------------------------------------------------------------------------

loop = Check("A training loop to repair")

LoopFunction = Callable[[nn.Module, Tensor, Tensor, int, float], Any]


def _loop_case(draw: Draw) -> tuple[nn.Module, Tensor, Tensor]:
    inputs, classes = draw.sizes(2, 3, 6)
    model = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, classes))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(draw.normal(*weight.shape, scale=0.7))
    labels = torch.tensor([draw.integer(0, classes - 1) for _ in range(20)])
    return model, draw.normal(20, inputs), labels


def _reference(
    model: nn.Module, x: Tensor, y: Tensor, steps: int, rate: float, *, zero: bool = True, twice: bool = False
) -> tuple[Tensor, list[float]]:
    """The weights and the losses of a right loop, or of one with a known mistake."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        scores = model(x)
        loss = F.cross_entropy(scores.softmax(-1) if twice else scores, y)
        if zero:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return _weights(model), losses


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def _check_loop(function: LoopFunction, draw: Draw, steps: int) -> None:
    model, x, y = _loop_case(draw)
    mine = copy.deepcopy(model)
    losses = function(mine, x, y, steps, 0.5)
    weights, right = _reference(model, x, y, steps, 0.5)
    untouched = _weights(model)
    expect_close(
        _weights(mine),
        weights,
        what="the weights after training",
        mistakes={
            "the softmax is applied twice: F.cross_entropy takes logits.": lambda: _reference(
                model, x, y, steps, 0.5, twice=True
            )[0],
            "the gradients of earlier steps are still there: set them to zero before backward.": lambda: _reference(
                model, x, y, steps, 0.5, zero=False
            )[0],
            "both mistakes are still there: the softmax is applied twice, and gradients add up.": lambda: _reference(
                model, x, y, steps, 0.5, zero=False, twice=True
            )[0],
            "nothing was learned: the weights are those that came in.": untouched,
        },
    )
    expect_close(losses, torch.tensor(right), what="the list of losses")


@loop.stage("one step")
def _(function: LoopFunction, draw: Draw) -> None:
    _check_loop(function, draw, 1)


@loop.stage("several steps")
def _(function: LoopFunction, draw: Draw) -> None:
    _check_loop(function, draw, 4)

"""Checks of the exercises on the loss of a distillation: by pencil, built, and at temperatures without end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.data.labels import IGNORE

TensorFunction = Callable[..., Tensor]


def divergence(teacher_NV: Tensor, student_NV: Tensor, tau: float) -> Tensor:
    """KL(teacher || student) of softened distributions, in nats, summed over N."""
    p_NV, q_NV = (teacher_NV / tau).softmax(-1), (student_NV / tau).softmax(-1)
    return (p_NV * (p_NV.log() - q_NV.log())).sum()


# --- by pencil ---------------------------------------------------------------------------------------------------

pencil = Check("Two temperatures by pencil")


@pencil.stage("temperature 1")
def _(sharp: Any, soft: Any, gradient: Any, draw: Draw) -> None:
    expect_close(
        sharp,
        torch.tensor([81.0, 9.0, 1.0]) / 91,
        what="sharp",
        message="The exponential of ln 81 is 81: add the three up and divide.",
        mistakes={"these are logits; probabilities add up to 1": torch.tensor([81.0, 9.0, 1.0]).log()},
        tolerance=0.005,
    )


@pencil.stage("temperature 2")
def _(sharp: Any, soft: Any, gradient: Any, draw: Draw) -> None:
    expect_close(
        soft,
        torch.tensor([9.0, 3.0, 1.0]) / 13,
        what="soft",
        message="Half of ln 81 is ln 9.",
        mistakes={
            "the temperature divides the logits, not the probabilities": torch.tensor([81.0, 9.0, 1.0]) / 182,
            "this is sharper than before: the temperature divides, it does not multiply": torch.tensor(
                [6561.0, 81.0, 1.0]
            )
            / 6643,
        },
        tolerance=0.005,
    )


@pencil.stage("the gradient")
def _(sharp: Any, soft: Any, gradient: Any, draw: Draw) -> None:
    right = torch.tensor([-28.0, 8.0, 20.0]) / 39
    expect_close(
        gradient,
        right,
        what="gradient",
        message="It is τ² · (q - p) / τ, with q = 1/3 each.",
        mistakes={
            "the factor τ² is missing": right / 4,
            "one factor τ goes away: the logits are divided by it": right * 2,
            "the sign: the derivative is q - p, and a step goes against it": -right,
        },
        tolerance=0.005,
    )


# --- the soft loss -----------------------------------------------------------------------------------------------

soft_loss = Check("soft_loss: what the teacher says")


@soft_loss.stage("shape")
def _(loss: TensorFunction, draw: Draw) -> None:
    n, v = draw.sizes(2, 3, 9)
    hints = {"one number for each prediction: sum over all of them": (n,), "sum over the words, too": (n, v)}
    value = expect_tensor(loss(draw.normal(n, v), draw.normal(n, v), 2.0), (), what="soft_loss(...)", hints=hints)
    if not bool(value > 0):
        raise CheckFailed(f"a divergence is positive, but this is {value.item():.3g}: is the sign right?")


@soft_loss.stage("who is compared with whom")
def _(loss: TensorFunction, draw: Draw) -> None:
    student_NV, teacher_NV = draw.normal(5, 7, scale=2.0), draw.normal(5, 7, scale=2.0)
    p_NV, q_NV = teacher_NV.softmax(-1), student_NV.softmax(-1)
    expect_close(
        loss(student_NV, teacher_NV, 1.0),
        divergence(teacher_NV, student_NV, 1.0),
        what="soft_loss at temperature 1",
        mistakes={
            "this is KL(student || teacher): the mean must be taken over the teacher's words": (
                lambda: divergence(student_NV, teacher_NV, 1.0)
            ),
            "this is the cross-entropy: subtract the teacher's entropy, so that equal models have loss 0": (
                lambda: -(p_NV * q_NV.log()).sum()
            ),
            "this is the mean over the predictions: the objective needs their sum": (
                lambda: divergence(teacher_NV, student_NV, 1.0) / 5
            ),
        },
    )


@soft_loss.stage("the temperature")
def _(loss: TensorFunction, draw: Draw) -> None:
    student_NV, teacher_NV, tau = draw.normal(4, 6, scale=2.0), draw.normal(4, 6, scale=2.0), 3.0
    right = divergence(teacher_NV, student_NV, tau)
    p_NV, soft_NV = teacher_NV.softmax(-1), (student_NV / tau).softmax(-1)
    expect_close(
        loss(student_NV, teacher_NV, tau),
        tau**2 * right,
        what="soft_loss at temperature 3",
        mistakes={
            "the factor τ² is missing": right,
            "the factor is τ², not τ": tau * right,
            "the temperature does nothing": lambda: divergence(teacher_NV, student_NV, 1.0),
            "the temperature must soften the teacher, too": lambda: tau**2 * (p_NV * (p_NV / soft_NV).log()).sum(),
        },
    )


@soft_loss.stage("large logits")
def _(loss: TensorFunction, draw: Draw) -> None:
    student_NV, teacher_NV = draw.normal(3, 5, scale=200.0), draw.normal(3, 5, scale=200.0)
    log_p, log_q = ((x.double() / 2).log_softmax(-1) for x in (teacher_NV, student_NV))
    expect_close(
        loss(student_NV, teacher_NV, 2.0),
        4 * (log_p.exp() * (log_p - log_q)).sum(),
        what="soft_loss of logits near 200",
        message="Use log_softmax: the logarithm of a probability that was rounded to 0 is lost.",
        tolerance=1e-3,
    )


# --- the whole loss ----------------------------------------------------------------------------------------------

whole = Check("distilled_loss: labels and teacher")


def lesson(draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a student and a teacher (B, T, V), and labels (B, T) of which some are IGNORE."""
    student_BTV, teacher_BTV = draw.normal(3, 5, 7), draw.normal(3, 5, 7)
    labels_BT = torch.randint(7, (3, 5), generator=draw.generator)
    labels_BT[0, 3:] = IGNORE
    labels_BT[2, 1:] = IGNORE
    return student_BTV, teacher_BTV, labels_BT


def whole_reference(student_BTV: Tensor, teacher_BTV: Tensor, labels_BT: Tensor, tau: float, weight: float) -> Tensor:
    """The sum of the loss over the positions that have a label."""
    asked = labels_BT != IGNORE
    hard = F.cross_entropy(student_BTV[asked], labels_BT[asked], reduction="sum")
    return (1 - weight) * hard + weight * tau**2 * divergence(teacher_BTV[asked], student_BTV[asked], tau)


@whole.stage("labels alone")
def _(loss: TensorFunction, draw: Draw) -> None:
    student_BTV, teacher_BTV, labels_BT = lesson(draw)
    asked, right = labels_BT != IGNORE, whole_reference(student_BTV, teacher_BTV, labels_BT, 1.0, 0.0)
    expect_close(
        loss(student_BTV, teacher_BTV, labels_BT, 2.0, 0.0),
        right,
        what="the loss at weight 0",
        message="It is ordinary training: the summed cross-entropy of the labels, at temperature 1.",
        mistakes={
            "this is the mean: the objective needs the sum": right / asked.sum(),
            "labels are learned at temperature 1": lambda: F.cross_entropy(
                student_BTV[asked] / 2, labels_BT[asked], reduction="sum"
            ),
        },
    )


@whole.stage("padding changes nothing")
def _(loss: TensorFunction, draw: Draw) -> None:
    student_BTV, teacher_BTV, labels_BT = lesson(draw)
    before = expect_tensor(loss(student_BTV, teacher_BTV, labels_BT, 2.0, 1.0), (), what="distilled_loss(...)")
    more = [torch.cat([x, draw.normal(3, 4, 7)], dim=1) for x in (student_BTV, teacher_BTV)]
    after = loss(*more, F.pad(labels_BT, (0, 4), value=IGNORE), 2.0, 1.0)
    expect_close(
        after,
        before,
        what="the loss of a longer batch",
        message="Where there is no label nothing is asked, neither of the student nor of the teacher.",
    )


@whole.stage("the teacher learns nothing")
def _(loss: TensorFunction, draw: Draw) -> None:
    student_BTV, teacher_BTV, labels_BT = lesson(draw)
    labels_BT = labels_BT.clamp(min=0)  # a label everywhere: the stage before looks at padding
    student_BTV.requires_grad_()
    teacher_BTV.requires_grad_()
    value = expect_tensor(loss(student_BTV, teacher_BTV, labels_BT, 2.0, 0.5), (), what="distilled_loss(...)")
    if not value.requires_grad:
        raise CheckFailed("the loss carries no gradient to the student")
    value.backward()
    if student_BTV.grad is None:
        raise CheckFailed("the loss carries no gradient to the student")
    if teacher_BTV.grad is not None and teacher_BTV.grad.any():
        raise CheckFailed("the teacher got a gradient: detach its logits, or it will learn to agree")
    right = whole_reference(student_BTV, teacher_BTV.detach(), labels_BT, 2.0, 0.5)
    expect_close(
        student_BTV.grad,
        torch.autograd.grad(right, student_BTV)[0],
        what="the gradient of the student's logits",
        message="Both parts of the loss must reach the student.",
    )


@whole.stage("reference")
def _(loss: TensorFunction, draw: Draw) -> None:
    for tau, weight in ((1.0, 1.0), (3.0, 0.25)):
        student_BTV, teacher_BTV, labels_BT = lesson(draw)
        right = whole_reference(student_BTV, teacher_BTV, labels_BT, tau, weight)
        expect_close(
            loss(student_BTV, teacher_BTV, labels_BT, tau, weight),
            right,
            what=f"the loss at temperature {tau:g} and weight {weight:g}",
            mistakes={
                "the weight belongs to the teacher, the rest to the labels": whole_reference(
                    student_BTV, teacher_BTV, labels_BT, tau, 1 - weight
                ),
            },
        )


# --- predict, then run -------------------------------------------------------------------------------------------

limits = Check("Temperatures without end")


def measure(tau: float) -> dict[str, float]:
    """What a temperature does to two fixed models of eight words: gradient without τ², and the teacher's entropy."""
    generator = torch.Generator().manual_seed(0)
    teacher_V, student_V = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    p_V, q_V = (teacher_V / tau).softmax(-1), (student_V / tau).softmax(-1)
    return {
        "gradient": ((q_V - p_V) / tau).norm().item(),
        "entropy": -(p_V * p_V.log()).sum().item(),
        "likeliest": float(p_V.argmax()),
    }


def expect_prediction(value: Any, right: float, *, what: str, mistakes: Mapping[str, float], message: str) -> None:
    """Compare one predicted number within a hundredth of it."""
    wrong = {mistake: torch.tensor(number) for mistake, number in mistakes.items()}
    value = expect_tensor(value, (), what=what)
    expect_close(value, torch.tensor(right), what=what, message=message, mistakes=wrong, tolerance=0.01)


@limits.stage("the gradient")
def _(shrinks: Any, entropy: Any, equal: Any, draw: Draw) -> None:
    expect_prediction(
        shrinks,
        measure(100)["gradient"] / measure(200)["gradient"],
        what="shrinks",
        mistakes={
            "the division by τ is one factor 2; the distributions come closer together as well": 2.0,
            "without τ² nothing keeps the size": 1.0,
        },
        message="(q - p)/τ, and q - p itself shrinks like 1/τ.",
    )


@limits.stage("the teacher's entropy")
def _(shrinks: Any, entropy: Any, equal: Any, draw: Draw) -> None:
    expect_prediction(
        entropy,
        math.log(8),
        what="entropy",
        mistakes={"in nats, not bits": 3.0, "that is a single certain word: temperature near 0": 0.0},
        message="In the limit all eight words are equally likely.",
    )


@limits.stage("two equal models")
def _(shrinks: Any, entropy: Any, equal: Any, draw: Draw) -> None:
    expect_prediction(
        equal,
        0.0,
        what="equal",
        mistakes={
            "that is the largest entropy eight words can have; the question is the norm of the gradient, which is zero "
            "where q = p": math.log(8)
        },
        message="q - p is zero where the two agree, at every temperature.",
    )

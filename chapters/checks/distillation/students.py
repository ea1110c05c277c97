"""Checks of the exercises on a distilled student: what it is copied from, a fair baseline, and a repaired step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plm_chapters.checks.distillation.losses import TensorFunction, divergence
from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.data.labels import IGNORE

# --- which tensors to copy ---------------------------------------------------------------------------------------

copied = Check("student_state: what is copied")


def stack_of(blocks: int, draw: Draw) -> dict[str, Tensor]:
    """The state of a model with so many blocks."""
    state = {"embeddings.weight": draw.normal(5, 3)}
    for number in range(blocks):
        state[f"decoder.layers.{number}.up.weight"] = draw.normal(2, 3)
        state[f"decoder.layers.{number}.norm.weight"] = draw.normal(3)
    return state | {"decoder.norm.weight": draw.normal(3)}


def expect_state(state: Any, teacher: Mapping[str, Tensor], layers: list[int]) -> None:
    """Compare a student's state with what it should be."""
    if not isinstance(state, dict):
        raise CheckFailed(f"student_state should return a dict, but it returned {type(state).__name__}")
    expected = {name: tensor for name, tensor in teacher.items() if ".layers." not in name}
    for place, number in enumerate(layers):
        for part in ("up.weight", "norm.weight"):
            expected[f"decoder.layers.{place}.{part}"] = teacher[f"decoder.layers.{number - 1}.{part}"]
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or extra:
        raise CheckFailed(
            f"missing: {', '.join(missing) or 'nothing'}; too much: {', '.join(extra) or 'nothing'}. "
            "The student's blocks are numbered from 0, without gaps."
        )
    for name, right in expected.items():
        expect_close(state[name], right, what=name, message=f"The blocks to copy were {layers}, counted from 1.")


@copied.stage("the first blocks")
def _(student_state: Callable[..., Any], draw: Draw) -> None:
    teacher = stack_of(6, draw)
    expect_state(student_state(teacher, [1, 2]), teacher, [1, 2])


@copied.stage("blocks from anywhere")
def _(student_state: Callable[..., Any], draw: Draw) -> None:
    teacher = stack_of(6, draw)
    for layers in ([2, 4, 6], [5, 3]):
        expect_state(student_state(teacher, layers), teacher, layers)


@copied.stage("more than ten blocks")
def _(student_state: Callable[..., Any], draw: Draw) -> None:
    teacher = stack_of(12, draw)
    expect_state(student_state(teacher, [1, 2, 12]), teacher, [1, 2, 12])


# --- a fair baseline ---------------------------------------------------------------------------------------------

fair = Check("fair_steps: equal arithmetic")


def fair_reference(student_blocks: int, teacher_blocks: int, steps: int, times_read: int) -> float:
    """Steps without a teacher that cost as much; the unit is one block's forward pass over one batch."""
    return (3 * student_blocks * steps + teacher_blocks * steps / times_read) / (3 * student_blocks)


@fair.stage("text that is read once")
def _(fair_steps: Callable[..., float], draw: Draw) -> None:
    student, steps = draw.integer(1, 4), 60 * draw.integer(1, 9)
    teacher = student * draw.integer(2, 4)
    right = fair_reference(student, teacher, steps, 1)
    expect_close(
        fair_steps(student, teacher, steps, 1),
        torch.tensor(right),
        what=f"fair_steps({student}, {teacher}, {steps}, 1)",
        mistakes={
            "equal steps are not equal arithmetic: the teacher runs, too": torch.tensor(float(steps)),
            "the teacher has no backward pass: it costs one forward pass, a third of a training step": torch.tensor(
                steps * (student + teacher) / student
            ),
        },
        tolerance=1e-3,
    )


@fair.stage("answers that are kept")
def _(fair_steps: Callable[..., float], draw: Draw) -> None:
    for times_read in (2, 5):
        expect_close(
            fair_steps(2, 6, 1000, times_read),
            torch.tensor(fair_reference(2, 6, 1000, times_read)),
            what=f"fair_steps(2, 6, 1000, {times_read})",
            message="The teacher answers each batch once; its answers are read again later.",
            mistakes={"the teacher need not answer twice: keep its answers": torch.tensor(2000.0)},
            tolerance=1e-3,
        )


# --- find the bugs -----------------------------------------------------------------------------------------------

bugs = Check("distil: a repaired training step")


class Word(nn.Module):
    """A model for the next word: an embedding, dropout, and logits."""

    def __init__(self, draw: Draw, vocabulary: int = 7) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(draw.normal(vocabulary, 4), freeze=False)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, vocabulary)
        with torch.no_grad():
            self.head.weight.copy_(draw.normal(vocabulary, 4))
            self.head.bias.copy_(draw.normal(vocabulary))

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits, (B, T, V)."""
        return self.head(self.dropout(self.embedding(ids_BT)))


def classroom(draw: Draw) -> tuple[Word, Word, Tensor, Tensor]:
    """A student without dropout, a teacher with it, ids and labels (B, T)."""
    student, teacher = Word(draw), Word(draw)
    student.dropout.p = 0.0
    ids_BT, labels_BT = (torch.randint(7, (3, 5), generator=draw.generator) for _ in range(2))
    labels_BT[0, 3:] = IGNORE
    return student, teacher, ids_BT, labels_BT


def expect_step(distil: TensorFunction, draw: Draw, tau: float, *, ragged: bool, mistakes: bool) -> None:
    """Compare the loss of a step, the mean over labelled positions, with the reference."""
    student, teacher, ids_BT, labels_BT = classroom(draw)
    if not ragged:
        labels_BT = labels_BT.clamp(min=0)
    value = distil(student, teacher, ids_BT, labels_BT, tau)
    teacher.eval()
    with torch.no_grad():
        asked = labels_BT != IGNORE
        p_NV, q_NV = teacher(ids_BT)[asked], student(ids_BT)[asked]
        right = tau**2 * divergence(p_NV, q_NV, tau) / len(q_NV)
        everywhere = tau**2 * divergence(teacher(ids_BT), student(ids_BT), tau) / labels_BT.numel()
        explained = {
            "the factor τ² is missing": right / tau**2,
            "this is KL(student || teacher): F.kl_div takes the student's log-probabilities first": (
                tau**2 * divergence(q_NV, p_NV, tau) / len(q_NV)
            ),
            "positions without a label count as well": everywhere,
        }
    expect_close(value, right, what="the loss", mistakes=explained if mistakes else {}, tolerance=1e-4)


@bugs.stage("the teacher is asked, not trained")
def _(distil: TensorFunction, draw: Draw) -> None:
    student, teacher, ids_BT, labels_BT = classroom(draw)
    active: list[bool] = []
    teacher.register_forward_pre_hook(lambda *_: active.append(teacher.dropout.training))
    value = expect_tensor(distil(student, teacher, ids_BT, labels_BT, 2.0), (), what="the loss")
    if any(active):
        raise CheckFailed("the teacher is in training mode: its dropout makes the answers noise")
    value.backward()
    if student.head.weight.grad is None:
        raise CheckFailed("the student got no gradient")
    if teacher.head.weight.grad is not None:
        raise CheckFailed("the teacher got a gradient: compute its answers under torch.no_grad()")


@bugs.stage("temperature 1, every position")
def _(distil: TensorFunction, draw: Draw) -> None:
    expect_step(distil, draw, 1.0, ragged=False, mistakes=True)


@bugs.stage("temperature 3")
def _(distil: TensorFunction, draw: Draw) -> None:
    expect_step(distil, draw, 3.0, ragged=False, mistakes=True)


@bugs.stage("positions without a label")
def _(distil: TensorFunction, draw: Draw) -> None:
    expect_step(distil, draw, 1.0, ragged=True, mistakes=True)

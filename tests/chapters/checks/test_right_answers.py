"""Right answers that go another way than the solution get full marks, too."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.checks.distillation import students
from plm_chapters.checks.evaluation import decisions
from plm_chapters.checks.feedback import Check
from plm_chapters.checks.fine_tuning import heads
from plm_chapters.checks.quantisation import integers
from plm_core.data.labels import IGNORE


def pool_row_by_row(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    rows = zip(x_BTD, mask_BT, strict=True)
    return torch.stack([x_TD[mask_T].mean(0) if mask_T.any() else torch.zeros(x_TD.shape[1]) for x_TD, mask_T in rows])


def simulated_excess(systems: int, disagree: float, texts: int) -> float:
    return (torch.randn(200_000, systems).amax(1).mean() * (disagree / (2 * texts)) ** 0.5).item()


def fake_quantised(x: Tensor, scale: float, bits: int) -> Tensor:
    highest = 2 ** (bits - 1) - 1
    return torch.fake_quantize_per_tensor_affine(x, scale, 0, -highest, highest)


def clipped_after_rounding(x: Tensor, scale: float, bits: int) -> Tensor:
    rounded, highest = (x / scale).round(), 2 ** (bits - 1) - 1
    straight = x + (rounded * scale - x).detach()
    return torch.where(rounded.abs() <= highest, straight, rounded.clamp(-highest, highest).detach() * scale)


def distil_and_restore(student: nn.Module, teacher: nn.Module, ids_BT: Tensor, labels_BT: Tensor, tau: float) -> Tensor:
    training = teacher.training
    teacher.eval()
    scored_BT = labels_BT != IGNORE
    with torch.no_grad():
        p_NV = (teacher(ids_BT)[scored_BT] / tau).softmax(-1)
    teacher.train(training)
    log_q_NV = (student(ids_BT)[scored_BT] / tau).log_softmax(-1)
    return tau**2 * F.kl_div(log_q_NV, p_NV, reduction="batchmean")


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        pytest.param(heads.pooled, pool_row_by_row, id="mean_of_each_row"),
        pytest.param(decisions.lucky, simulated_excess, id="excess_by_simulation"),
        pytest.param(integers.straight, fake_quantised, id="fake_quantisation_of_torch"),
        pytest.param(integers.straight, clipped_after_rounding, id="clipped_after_rounding"),
        pytest.param(students.bugs, distil_and_restore, id="teacher_gets_its_mode_back"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 271828])
def test_it_gets_full_marks(check: Check, answer: object, seed: int) -> None:
    assert [outcome.message for outcome in check.run(answer, seed=seed) if not outcome.passed] == []

"""The checks on number formats and loss scaling accept torch and the library, and reject what students do not write.

Typical wrong answers are in ``chapters/exercises/wrong``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from plm_chapters.checks.feedback import Check
from plm_chapters.checks.precision import formats as precision
from plm_chapters.checks.precision import loss_scaling
from plm_core.training.precision import LossScaler

SEEDS = range(10)


def failure(check: Check, *answers: object, seed: int | None = None) -> str:
    """``stage: message`` of the first stage that fails, or an empty string."""
    last = check.run(*answers, seed=seed)[-1]
    return "" if last.passed else f"{last.stage}: {last.message}"


def test_torchs_conversion_passes_the_check_of_rounding() -> None:
    names = {(exponent, fraction): dtype for dtype, exponent, fraction in precision.FORMATS.values()}

    def student(x: Tensor, exponent_bits: int, fraction_bits: int) -> Tensor:
        return x.to(names[exponent_bits, fraction_bits]).float()

    for seed in SEEDS:
        assert failure(precision.rounding, student, seed=seed) == ""


def test_rounding_that_flushes_subnormal_numbers_is_found() -> None:
    def student(x: Tensor, exponent_bits: int, fraction_bits: int) -> Tensor:
        rounded = x.to(torch.float16 if exponent_bits == 5 else torch.bfloat16).float()
        return torch.where(rounded.abs() < 2.0 ** (2 - 2 ** (exponent_bits - 1)), torch.zeros(()), rounded)

    assert failure(precision.rounding, student).startswith("subnormal numbers: in fp16")


def test_rounding_that_saturates_is_found() -> None:
    def student(x: Tensor, exponent_bits: int, fraction_bits: int) -> Tensor:
        dtype = torch.float16 if exponent_bits == 5 else torch.bfloat16
        return x.to(dtype).float().clamp(min=torch.finfo(dtype).min, max=torch.finfo(dtype).max)

    assert failure(precision.rounding, student).startswith("overflow: in fp16 65520 becomes 65504, not inf")


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 6))
def test_the_librarys_scaler_moves_the_scale_as_the_reference_does(overflows: list[bool], interval: int) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scaler = LossScaler("cpu", init_scale=2.0**16, growth_interval=interval, minimum=2.0**-40)
    scales = []
    for overflow in overflows:
        scaler.scale(weight.sum() * (float("inf") if overflow else 1.0)).backward()
        scaler.unscale_(optimizer)
        assert scaler.step(optimizer) is not overflow
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    assert scales == loss_scaling.reference_scales(overflows, 2.0**16, interval)


def test_a_step_in_the_right_order_passes_its_check() -> None:
    def student(
        loss: Tensor, parameters: list[nn.Parameter], optimizer: Any, scaler: Any, schedule: Any, max_norm: float
    ) -> None:
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, max_norm)
        scaler.step(optimizer)
        scaler.update()
        if norm.isfinite():
            schedule.step()
        optimizer.zero_grad()

    for seed in SEEDS:
        assert failure(loss_scaling.training_step, student, seed=seed) == ""


def test_a_step_that_keeps_the_gradients_of_a_skipped_step_is_found() -> None:
    def student(
        loss: Tensor, parameters: list[nn.Parameter], optimizer: Any, scaler: Any, schedule: Any, max_norm: float
    ) -> None:
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, max_norm)
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() >= before:
            schedule.step()
            optimizer.zero_grad()

    assert failure(loss_scaling.training_step, student).startswith("an overflow changes nothing but the scale")


@pytest.mark.parametrize(("dtype", "stop"), [(torch.float16, 2048), (torch.bfloat16, 256), (torch.float32, 5000)])
def test_counting_up_stops_where_the_spacing_becomes_two(dtype: torch.dtype, stop: int) -> None:
    assert precision.count_up(dtype) == stop

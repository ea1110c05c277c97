"""The schedule is a pure function with the promised landmarks."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.training.schedule import learning_rate


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_at_the_start_the_peak_and_the_end_is_the_stated_one(schedule):
    def rate(step):
        return learning_rate(step, peak=2.0, total_steps=101, warmup_steps=10, schedule=schedule, final=0.5)

    assert rate(0) == pytest.approx(2.0 / 11)
    assert rate(10) == 2.0
    assert rate(55) == pytest.approx(1.25), "half-way between peak and final"
    assert rate(100) == pytest.approx(0.5)
    assert rate(10_000) == pytest.approx(0.5)


def test_inverse_sqrt_halves_when_steps_quadruple():
    def rate(step):
        return learning_rate(step, peak=1.0, total_steps=1, warmup_steps=99, schedule="inverse_sqrt")

    assert rate(99) == 1.0
    assert rate(399) == pytest.approx(0.5)


def test_cosine_equals_torch_after_warmup():
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=49, eta_min=0.1)
    for step in range(50):
        ours = learning_rate(step, peak=1.0, total_steps=50, schedule="cosine", final=0.1)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        reference.step()


@given(
    total=st.integers(1, 500),
    warmup=st.integers(0, 100),
    schedule=st.sampled_from(["cosine", "linear", "constant", "inverse_sqrt"]),
)
def test_rises_then_never_rises_again_and_stays_in_bounds(total, warmup, schedule):
    rates = [
        learning_rate(step, peak=1.0, total_steps=total, warmup_steps=warmup, schedule=schedule, final=0.01)
        for step in range(total + warmup)
    ]
    assert all(0 < rate <= 1.0 for rate in rates)
    assert all(a < b for a, b in itertools.pairwise(rates[: warmup + 1]))
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rates[warmup:]))
    assert all(math.isfinite(rate) for rate in rates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": -1, "peak": 1.0, "total_steps": 5}, "must not be negative"),
        ({"step": 0, "peak": 1.0, "total_steps": 5, "final": 2.0}, "final <= peak"),
        ({"step": 0, "peak": 1.0, "total_steps": 5, "schedule": "cubic"}, "unknown schedule 'cubic'"),
    ],
)
def test_impossible_schedules_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(arguments.pop("step"), **arguments)

"""The parts that every check is made of: fresh inputs, comparisons that name mistakes, stages and their report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plm_chapters.checks.feedback import (
    VISIBLE_SEED,
    Check,
    CheckFailed,
    Draw,
    call_by_hand,
    expect_close,
    expect_frequencies,
    expect_tensor,
)

double = Check("Twice as much")


@double.stage("shape")
def _(function: Callable[..., Any], draw: Draw) -> None:
    expect_tensor(function(draw.normal(2, 3)), (2, 3), what="double(x)", hints={"did you sum?": ()})


@double.stage("reference")
def _(function: Callable[..., Any], draw: Draw) -> None:
    x = draw.normal(2, 3)
    expect_close(function(x), 2 * x, what="double(x)", message="Add x to itself.", mistakes={"squared": x * x})


def test_the_same_key_draws_the_same_inputs_and_another_key_others() -> None:
    first, again, other = (Draw(key, "title").normal(4) for key in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_sizes_differ_and_stay_within_bounds(seed: int, count: int) -> None:
    sizes = Draw(seed).sizes(count, 3, 9)
    assert len(set(sizes)) == count
    assert all(3 <= size <= 9 for size in sizes)


def test_a_right_answer_passes_every_stage_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    double(lambda x: x + x)
    printed = capsys.readouterr().out
    assert "✓ shape" in printed
    assert "✓ reference" in printed
    assert "All stages passed." in printed


def test_nan_is_wrong_even_where_the_truth_was_taken_from_an_answer_that_holds_nan() -> None:
    nan = torch.full((2,), math.nan)
    with pytest.raises(CheckFailed, match="the result holds NaN"):
        expect_close(nan, nan)


def test_gradients_by_hand_are_worked_out_on_copies_and_without_autograd() -> None:
    x = torch.ones(2)
    found = call_by_hand(lambda x: (x.mul_(2), None), x)
    assert found[0].tolist() == [2.0, 2.0]
    assert not found[0].is_inference()
    assert x.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError):
        call_by_hand(lambda x: torch.autograd.grad(x.detach().requires_grad_().sum(), x), x)


def test_feedback_stops_at_the_first_failing_stage(capsys: pytest.CaptureFixture[str]) -> None:
    double(lambda x: x.sum())
    printed = capsys.readouterr().out
    assert "✗ shape" in printed
    assert "did you sum?" in printed
    assert "✓ reference" not in printed
    assert "1 more stage after this one" in printed


@pytest.mark.parametrize(
    ("answer", "stage", "message"),
    [
        (..., "shape", "no answer yet"),
        (None, "shape", "no answer yet"),
        (lambda x: None, "shape", "does it `return`"),
        (lambda x: "text", "shape", "should be a tensor, but it is a str"),
        (lambda x: [[1, 2], [3]], "shape", "not a table of numbers"),
        (lambda x: x.T, "shape", r"shape \(3, 2\), expected \(2, 3\)"),
        (lambda x: x * x, "reference", "^squared$"),
        (lambda x: x * math.nan, "reference", "holds NaN"),
        (lambda x: x * math.inf, "reference", "holds infinity"),
        (lambda x: 3 * x, "reference", "is right. Add x to itself."),
        (lambda x: 1 / 0, "reference", "your code raised ZeroDivisionError"),
        (lambda: 0, "reference", "your code raised TypeError"),
    ],
)
def test_a_wrong_answer_fails_with_a_message_that_helps(answer: Any, stage: str, message: str) -> None:
    with pytest.raises(CheckFailed, match=message):
        double.grade(stage, answer)


def test_an_error_in_the_answer_names_the_line() -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        return x.no_such_method()

    with pytest.raises(CheckFailed, match=r"AttributeError, on line \d+ of `wrong`: return x.no_such_method\(\)"):
        double.grade("shape", wrong)


def test_an_answer_that_exits_does_not_take_the_grader_along() -> None:
    with pytest.raises(CheckFailed, match="SystemExit"):
        double.grade("shape", lambda x: exit(0))


def test_hidden_inputs_differ_from_visible_ones_and_only_the_seed_decides() -> None:
    seen: list[torch.Tensor] = []
    for seed in (VISIBLE_SEED, 5, 5, None):
        double.grade("shape", lambda x: seen.append(x) or x, seed=seed)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert torch.equal(seen[0], seen[3]), "no seed means the visible one"


def test_a_check_leaves_the_global_generator_alone_and_seeds_the_answer() -> None:
    seen: list[torch.Tensor] = []
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    for _ in range(2):
        double.grade("shape", lambda x: seen.append(torch.rand(2)) or x)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(seen[0], seen[1])


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(ValueError, match="has no stage 'speed'; it has shape, reference"):
        double.grade("speed", lambda x: x)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6), st.floats(-1, 1))
def test_expect_close_accepts_exactly_what_lies_within_the_tolerance(values: list[float], shift: float) -> None:
    expected = torch.tensor(values, dtype=torch.float64)
    bound = 1e-3 * max(1.0, expected.abs().max().item())
    if abs(shift) < 0.99:
        expect_close(expected + shift * bound, expected, tolerance=1e-3)
    with pytest.raises(CheckFailed):
        expect_close(expected + math.copysign(1.5 * bound, shift), expected, tolerance=1e-3)


def test_numbers_and_lists_count_as_tensors() -> None:
    expect_close(3, torch.tensor(3.0))
    expect_close([[1, 2], [3, 4.0]], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))


def test_right_samplers_pass_the_frequency_test() -> None:
    """100 right samplers, each rejected with probability at most 1e-6: a false alarm here once in 10,000 seeds."""
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.01, 0.01, 0.98]])
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        draws = torch.multinomial(probabilities, 2000, replacement=True, generator=generator)
        counts = torch.nn.functional.one_hot(draws, 3).sum(1)
        expect_frequencies(counts, probabilities, message="")


def test_a_wrong_sampler_fails_the_frequency_test() -> None:
    counts = torch.tensor([[1000, 1000]])
    with pytest.raises(CheckFailed, match=r"frequency 0.500, its probability is 0.700. Look again"):
        expect_frequencies(counts, torch.tensor([[0.7, 0.3]]), message="Look again")

"""Wanda and SparseGPT: the zeros that were asked for, and the numbers that make up for them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.compression.gptq import output_error
from plm_core.compression.low_rank import input_moments
from plm_core.compression.one_shot import keep_in_rows, sparsegpt, wanda
from plm_core.compression.prune import apply_masks, sparsity
from tests.compression.test_gptq import example


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), block=st.sampled_from([4, 16]))
def test_the_numbers_that_stay_are_the_best_for_the_zeros_that_were_chosen(seed, block):
    # with the zeros that were found, column by column the others are solved for
    weight, moments = example(seed)
    found = sparsegpt(weight, moments, 0.5, block=block).double()
    damped = moments + 0.01 * moments.diagonal().mean() * torch.eye(len(moments))
    for row, exact in zip(found, weight.double(), strict=True):
        gone, rest = row == 0, exact.clone()
        for column in range(16):
            if gone[column]:
                fixed = torch.cat([row[:column], torch.zeros(1)])
                f, r = slice(0, column + 1), slice(column + 1, None)
                rest[r] = exact[r] + (exact[f] - fixed) @ damped[f, r] @ torch.linalg.inv(damped[r, r])
            else:
                assert row[column] == pytest.approx(float(rest[column]), rel=1e-4, abs=1e-5)
                rest[column] = row[column]


@pytest.mark.parametrize(("pattern", "share"), [("row", 0.5), ("row", 0.75), ("2:4", 0.5)])
def test_every_row_loses_its_share(pattern, share):
    weight, moments = example(0, rows=8, columns=32)
    found = sparsegpt(weight, moments, share, pattern=pattern, block=16)
    assert ((found == 0).sum(-1) == 32 * share).all()
    if pattern == "2:4":
        assert ((found.unflatten(-1, (-1, 4)) == 0).sum(-1) == 2).all()


def test_making_up_for_zeros_beats_leaving_them_and_inputs_beat_magnitude():
    ratios = []
    for seed in range(20):
        weight, moments = example(seed, rows=16, columns=32)
        size = moments.diagonal().sqrt().float()
        by_size = weight * keep_in_rows(weight.abs(), 0.5, "row")
        by_input = weight * keep_in_rows(weight.abs() * size, 0.5, "row")
        repaired = sparsegpt(weight, moments, 0.5)
        ratios.append([output_error(weight, each, moments) for each in (by_size, by_input, repaired)])
    size_error, input_error, repaired_error = torch.tensor(ratios).log().mean(0)
    assert repaired_error < input_error < size_error


def test_wanda_keeps_in_every_row_what_counts(gpt, ids):
    moments = input_moments(gpt, lambda model: model(ids))
    masks = wanda(gpt, moments, 0.5)
    for name, mask in masks.items():
        assert (mask.sum(-1) == mask.shape[1] // 2).all()
        score = gpt.get_submodule(name).weight.abs() * moments[name].diagonal().sqrt().float()
        worst_kept = torch.where(mask, score, torch.inf).amin(-1)
        best_gone = torch.where(mask, -torch.inf, score).amax(-1)
        assert (worst_kept >= best_gone).all()
    apply_masks(gpt, masks)
    assert sparsity(gpt) == pytest.approx(0.5)


def test_what_does_not_fit_is_refused():
    weight, moments = example(0)
    with pytest.raises(ValueError, match="expected second moments"):
        sparsegpt(weight, moments[:3, :3], 0.5)
    with pytest.raises(ValueError, match="0 to 1"):
        sparsegpt(weight, moments, 1.5)
    with pytest.raises(ValueError, match=r"must be 0\.5"):
        sparsegpt(weight, moments, 0.25, pattern="2:4")
    with pytest.raises(ValueError, match="unknown pattern"):
        keep_in_rows(weight, 0.5, "column")  # type: ignore[arg-type]

"""Ranks chosen for a whole model: the budget is kept, and no other choice leaves less error."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.compression import rank_budget
from plm_core.compression.low_rank import break_even_rank, factorise_model
from plm_core.compression.rank_budget import ranks_by_budget, spectra
from plm_core.compression.structure import block_linears


def weights_of(model: nn.Module, ranks: dict[str, int]) -> int:
    layers = block_linears(model)
    return sum(
        ranks[name] * sum(layer.weight.shape) if name in ranks else layer.weight.numel()
        for name, layer in layers.items()
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.1, 0.95), seed=st.integers(0, 10**6))
def test_a_budget_is_kept_and_nearly_used_up(gpt, share, seed):
    torch.manual_seed(seed)
    errors = {name: values * torch.rand(()) for name, values in spectra(gpt).items()}
    ranks = ranks_by_budget(gpt, share, errors)
    sizes = {name: layer.weight.shape for name, layer in block_linears(gpt).items()}
    spent, whole = weights_of(gpt, ranks), weights_of(gpt, {})
    assert share * whole - max(map(sum, sizes.values())) < spent <= share * whole
    assert all(rank >= 1 and rank * sum(sizes[name]) < sizes[name].numel() for name, rank in ranks.items())


def test_no_exchange_of_one_rank_between_layers_of_one_shape_makes_a_budget_better(gpt):
    torch.manual_seed(0)
    errors = {name: values * torch.rand(()) for name, values in spectra(gpt).items()}
    ranks = ranks_by_budget(gpt, 0.4, errors)
    shapes = {name: layer.weight.shape for name, layer in block_linears(gpt).items()}
    pairs = [(a, b) for a in ranks for b in ranks if a != b and sum(shapes[a]) == sum(shapes[b])]
    assert pairs
    for gives, takes in pairs:  # one rank less here, one more there
        if ranks[gives] > 1 and ranks[takes] + 1 < break_even_rank(*shapes[takes]):
            assert errors[takes][ranks[takes]] <= errors[gives][ranks[gives] - 1]


def test_a_layer_that_matters_stays_whole_and_one_that_does_not_gets_rank_one(gpt):
    torch.manual_seed(0)
    errors = spectra(gpt)
    first, *_, last = errors
    ranks = ranks_by_budget(gpt, 0.5, errors | {first: errors[first] * 1e9, last: errors[last] * 1e-9})
    assert first not in ranks
    assert ranks[last] == 1
    factorise_model(gpt, ranks)
    assert type(gpt.get_submodule(first)) is nn.Linear


def test_a_budget_that_cannot_be_kept_is_refused(gpt):
    with pytest.raises(ValueError, match="rank 1 in every layer"):
        ranks_by_budget(gpt, 0.01, spectra(gpt))
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        ranks_by_budget(gpt, 1.0, spectra(gpt))
    with pytest.raises(ValueError, match="no layer of a block is called head"):
        factorise_model(gpt, {"head": 2})


def toy_model(sizes: list[tuple[int, int]]) -> nn.Module:
    return nn.ModuleList([nn.Linear(columns, rows) for rows, columns in sizes])


def error_left(errors: dict[str, torch.Tensor], ranks: dict[str, int]) -> float:
    return sum(float(errors[name][rank:].sum()) for name, rank in ranks.items())


def least_error(model: nn.Module, budget: float, errors: dict[str, torch.Tensor]) -> float:
    """By trying every choice."""
    layers = block_linears(model)
    choices = [
        [(name, rank) for rank in range(1, min(layer.weight.shape) + 1) if rank < break_even_rank(*layer.weight.shape)]
        + [(name, None)]
        for name, layer in layers.items()
    ]
    tried = ({name: rank for name, rank in each if rank is not None} for each in itertools.product(*choices))
    return min(error_left(errors, ranks) for ranks in tried if weights_of(model, ranks) <= budget)


def test_no_choice_leaves_less_error_in_200_toy_models():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        sizes = [tuple(torch.randint(4, 11, (2,), generator=generator).tolist()) for _ in range(3)]
        model = toy_model(sizes)
        errors = {
            name: torch.rand(min(layer.weight.shape), generator=generator).pow(3).sort(descending=True).values
            for name, layer in block_linears(model).items()
        }
        whole = weights_of(model, {})
        least = sum(map(sum, sizes)) / whole
        share = least + (1 - least) * float(torch.rand((), generator=generator)) * 0.99 + 1e-6
        ranks = ranks_by_budget(model, share, errors)
        assert weights_of(model, ranks) <= share * whole
        assert error_left(errors, ranks) == pytest.approx(least_error(model, share * whole, errors), abs=1e-9)


def test_a_budget_in_coarse_steps_is_kept_all_the_same(gpt, monkeypatch):
    errors = spectra(gpt)
    exact = error_left(errors, ranks_by_budget(gpt, 0.5, errors))
    monkeypatch.setattr(rank_budget, "BUDGET_STEPS", 50)
    ranks = ranks_by_budget(gpt, 0.5, errors)
    assert weights_of(gpt, ranks) <= 0.5 * weights_of(gpt, {})
    assert exact <= error_left(errors, ranks) < 2 * exact

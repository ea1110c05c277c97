"""Low rank: exact at full rank, best at any other, weighted as it says."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.compression.low_rank import (
    break_even_rank,
    decompose,
    factorise,
    factorise_model,
    fisher_rows,
    input_means,
    input_moments,
    rank_for_share,
    row_curvature,
)
from plm_core.compression.structure import block_linears, stored_bytes
from plm_core.objectives.causal_lm import CausalLM


@pytest.mark.parametrize("weighted", [False, True])
def test_full_rank_is_exact(weighted):
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 9), torch.randn(50, 12)
    moments = x.T @ x / len(x) if weighted else None
    rows = torch.rand(9) + 0.1 if weighted else None
    thin = factorise(layer, 9, row_weights=rows, input_moments=moments, allow_growth=True)
    torch.testing.assert_close(thin(x), layer(x), rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_the_error_is_the_tail_of_the_spectrum(rank, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(12, 9)
    thin = factorise(layer, rank)
    tail = torch.linalg.svdvals(layer.weight.detach())[rank:].square().sum()
    torch.testing.assert_close((thin.weight - layer.weight).detach().square().sum(), tail, rtol=1e-3, atol=1e-6)


def test_moments_win_on_the_output_and_rows_on_their_rows():
    torch.manual_seed(0)
    layer = nn.Linear(16, 12, bias=False)
    x = torch.randn(400, 16) * torch.logspace(-2, 1, 16)
    plain = factorise(layer, 4)
    aware = factorise(layer, 4, input_moments=x.T @ x / len(x))
    assert (aware(x) - layer(x)).square().sum() < 0.5 * (plain(x) - layer(x)).square().sum()
    assert (plain.weight - layer.weight).square().sum() < (aware.weight - layer.weight).square().sum()
    rows = torch.tensor([100.0] * 2 + [1.0] * 10)
    fisher = factorise(layer, 4, row_weights=rows)
    weighted = [(rows[:, None] * (thin.weight - layer.weight).square()).sum() for thin in (fisher, plain)]
    assert weighted[0] < weighted[1]


def test_no_other_factorisation_of_that_rank_has_a_smaller_output_error():
    torch.manual_seed(0)
    layer, x = nn.Linear(8, 6, bias=False), torch.randn(300, 8) @ torch.randn(8, 8)
    thin = factorise(layer, 2, input_moments=x.T @ x / len(x))
    best = (thin(x) - layer(x)).square().mean().item()
    optimizer = torch.optim.Adam(thin.parameters(), lr=1e-3)
    for _ in range(100):
        loss = (thin(x) - layer(x).detach()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() > best * (1 - 1e-4)


def test_a_rank_that_saves_nothing_is_refused():
    assert break_even_rank(512, 512) == 256
    assert rank_for_share(100, 100, 0.5) == 25
    with pytest.raises(ValueError, match="saves nothing"):
        factorise(nn.Linear(8, 8), 4)
    with pytest.raises(ValueError, match="ranks from 1 to 6"):
        factorise(nn.Linear(8, 6), 7)
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        rank_for_share(8, 8, 1.0)
    with pytest.raises(ValueError, match="row weights"):
        factorise(nn.Linear(8, 6), 2, row_weights=torch.ones(8))
    with pytest.raises(ValueError, match="second moments"):
        factorise(nn.Linear(8, 6), 2, input_moments=torch.ones(6, 6))


def test_a_model_keeps_at_most_the_share_and_its_interface(gpt, ids):
    weights = sum(layer.weight.numel() for layer in block_linears(gpt).values())
    size, batch = stored_bytes(gpt), {"input_ids": ids, "labels": ids.roll(-1, 1)}
    rows = fisher_rows(gpt, CausalLM(), [batch])
    moments = input_moments(gpt, lambda model: model(ids))
    factorise_model(gpt, 0.5, row_weights=rows, moments=moments)
    assert stored_bytes(gpt) <= size - 4 * weights * 0.5
    CausalLM()(gpt, batch).total.backward()
    assert all(parameter.grad is not None for parameter in gpt.parameters())


def weights_of(model, ranks):
    """Weights of the blocks' layers once they are factorised so."""
    return sum(
        ranks[name] * sum(layer.weight.shape) if name in ranks else layer.weight.numel()
        for name, layer in block_linears(model).items()
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_all_ranks_together_give_the_weight_back(weighted):
    torch.manual_seed(0)
    layer, x = nn.Linear(7, 5), torch.randn(40, 7)
    moments = x.T @ x / len(x) if weighted else None
    up, values, down = decompose(layer, row_weights=torch.rand(5) if weighted else None, input_moments=moments)
    torch.testing.assert_close((up * values) @ down, layer.weight.detach().double())
    assert values.tolist() == sorted(values.tolist(), reverse=True)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_both_factors_have_one_size_whatever_the_weights_are_measured_in(scale):
    torch.manual_seed(0)
    layer, x = nn.Linear(7, 9), torch.randn(40, 7) * torch.logspace(-2, 1, 7)
    rows, moments = torch.rand(9) + 0.1, x.T @ x / len(x)
    plain = factorise(layer, 3, row_weights=rows, input_moments=moments)
    scaled = factorise(layer, 3, row_weights=rows * scale, input_moments=moments)
    torch.testing.assert_close(scaled.up.weight.norm(dim=0), scaled.down.weight.norm(dim=1))
    torch.testing.assert_close(scaled.weight, plain.weight)


def test_a_layer_of_zeros_stays_finite():
    layer = nn.Linear(7, 9)
    nn.init.zeros_(layer.weight)
    assert factorise(layer, 3).weight.abs().max() == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), rank=st.integers(1, 3))
def test_with_the_mean_the_bias_moves_and_no_pair_of_that_rank_errs_less(seed, rank):
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(12, 8).double()
    x = torch.randn(300, 12, generator=generator, dtype=torch.double) + 5 * torch.randn(12, generator=generator)
    moments, mean = x.T @ x / len(x), x.mean(0)
    error = {}
    for name, given_mean in {"fixed": None, "moved": mean}.items():
        thin = factorise(layer, rank, input_moments=moments, input_mean=given_mean)
        error[name] = float((thin(x) - layer(x)).detach().square().sum(-1).mean())
    assert error["moved"] <= error["fixed"] * (1 + 1e-9)
    # the optimum: what the rank leaves of the covariance of the outputs
    outputs = layer(x).detach() - layer(x).detach().mean(0)
    left = torch.linalg.svdvals(outputs)[rank:].square().sum() / len(x)
    assert error["moved"] == pytest.approx(float(left), rel=1e-3, abs=1e-9)


def test_a_mean_needs_moments_and_a_bias():
    with pytest.raises(ValueError, match="moves the bias"):
        factorise(nn.Linear(8, 8), 1, input_mean=torch.zeros(8))
    with pytest.raises(ValueError, match="moves the bias"):
        factorise(nn.Linear(8, 8, bias=False), 1, input_moments=torch.eye(8), input_mean=torch.zeros(8))


def test_a_model_is_factorised_with_means(gpt, ids):
    moments, means = (of(gpt, lambda model: model(ids)) for of in (input_moments, input_means))
    x = {}
    for name, mean in means.items():
        torch.linalg.cholesky(moments[name] - torch.outer(mean, mean) + 1e-6 * torch.eye(len(mean)))  # a covariance
        x[name] = mean
    errors = []
    before = gpt(ids).detach()
    for given_means in (None, x):
        model = copy.deepcopy(gpt)
        factorise_model(model, 0.3, moments=moments, means=given_means)
        errors.append(float((model(ids) - before).square().mean()))
    assert errors[1] < errors[0]


def test_a_layer_without_gradient_is_refused():
    with pytest.raises(ValueError, match="no gradient"):
        decompose(nn.Linear(4, 4), row_weights=torch.zeros(4))


def test_fisher_information_per_output_and_per_input_is_one_sum(gpt, ids):
    batches = [{"input_ids": ids, "labels": ids.roll(-1, 1)}]
    outputs, inputs = (fisher_rows(gpt, CausalLM(), batches, per=per) for per in ("output", "input"))
    for name, layer in block_linears(gpt).items():
        assert (len(outputs[name]), len(inputs[name])) == tuple(layer.weight.shape)
        torch.testing.assert_close(outputs[name].sum(), inputs[name].sum())


def test_curvature_predicts_which_layer_costs_more_loss(gpt):
    """Noise of one size in the weights of one layer after the other: the loss rises most where it is predicted to."""
    torch.manual_seed(0)
    model = gpt.double()
    ids = torch.randint(40, (16, 12))
    logits = model(ids).detach()
    labels = torch.distributions.Categorical(logits=logits).sample()  # the model is right: its loss is at a minimum

    def divergence():
        return nn.functional.kl_div(
            model(ids).log_softmax(-1), logits.log_softmax(-1), log_target=True, reduction="sum"
        ).item()

    batches = [{"input_ids": ids[i : i + 1], "labels": labels[i : i + 1]} for i in range(len(ids))]
    fisher = fisher_rows(model, CausalLM(), batches)
    moments = input_moments(model, lambda model: model(ids))
    rows, predicted, seen = row_curvature(fisher, moments), [], []
    for name, layer in block_linears(model).items():
        noise = 0.01 * torch.randn_like(layer.weight)
        error = rows[name].double() @ ((noise @ moments[name]) * noise).sum(-1)
        with torch.no_grad():
            layer.weight += noise
            seen.append(divergence())
            layer.weight -= noise
        predicted.append(float(error))
    ranks = torch.stack([torch.tensor(v).argsort().argsort().double() for v in (predicted, seen)])
    assert torch.corrcoef(ranks)[0, 1] > 0.8

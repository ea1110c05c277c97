"""Distributions are filtered as documented, draws follow them, and no setting at the edge breaks them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plm_core.generation.sampling import Sampling, choose, next_token_probabilities, uniform_numbers

LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


def test_temperature_one_is_softmax():
    torch.testing.assert_close(next_token_probabilities(LOGITS), LOGITS.exp())


def test_greedy_takes_the_likeliest():
    assert next_token_probabilities(LOGITS, temperature=0).tolist() == [[1, 0, 0, 0]]


def test_top_k_keeps_k_and_renormalises():
    torch.testing.assert_close(
        next_token_probabilities(LOGITS, top_k=2), torch.tensor([[0.625, 0.375, 0, 0]]), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, 1), (0.5, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.96, 4), (1.0, 4)])
def test_top_p_keeps_the_smallest_sufficient_set(top_p, kept):
    assert (next_token_probabilities(LOGITS, top_p=top_p) > 0).sum() == kept


@given(
    logits=st.lists(st.floats(-20, 20), min_size=1, max_size=30),
    temperature=st.floats(0.05, 5),
    top_k=st.none() | st.integers(1, 40),
    top_p=st.none() | st.floats(0.01, 1),
)
def test_always_a_distribution_that_keeps_the_order(logits, temperature, top_k, top_p):
    probabilities = next_token_probabilities(torch.tensor([logits]), temperature=temperature, top_k=top_k, top_p=top_p)[
        0
    ]
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-4)
    assert probabilities[torch.tensor(logits).argmax()] == probabilities.max()
    if top_k is not None:
        assert (probabilities > 0).sum() <= top_k


@pytest.mark.parametrize("temperature", [1e-45, 1e-40, 1e-38, 1e-30])
def test_a_temperature_near_zero_takes_the_likeliest(temperature):
    assert next_token_probabilities(LOGITS, temperature=temperature).tolist() == [[1, 0, 0, 0]]
    assert next_token_probabilities(torch.tensor([[5.0, 1.0]]), temperature=temperature).tolist() == [[1, 0]]


@pytest.mark.parametrize("top_p", [1e-300, 5e-324, 1e-10])
def test_a_tiny_top_p_keeps_the_likeliest(top_p):
    assert next_token_probabilities(LOGITS, top_p=top_p).tolist() == [[1, 0, 0, 0]]


def test_top_p_of_one_keeps_every_token():
    logits = torch.randn(2, 250_000, generator=torch.Generator().manual_seed(1))
    assert (next_token_probabilities(logits, top_p=1.0) > 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": -3}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        next_token_probabilities(LOGITS, **settings)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.0}, {"top_k": 2}, {"top_p": 0.5}])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(settings, bad):
    with pytest.raises(ValueError, match="not finite"):
        next_token_probabilities(torch.tensor([[1.0, bad, 2.0]]), **settings)


def test_tokens_of_logit_minus_infinity_are_never_drawn():
    logits = torch.tensor([[1.0, -torch.inf, 2.0, -torch.inf]])
    for settings in ({}, {"top_k": 3}, {"top_p": 0.99}, {"temperature": 0.0}):
        probabilities = next_token_probabilities(logits, **settings)
        assert probabilities[0, [1, 3]].tolist() == [0, 0]
        assert probabilities.sum().item() == pytest.approx(1)


@given(
    logits=st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=120),
    top_k=st.none() | st.integers(1, 130),
    top_p=st.none() | st.floats(0.01, 1),
)
def test_filters_keep_what_a_full_sort_keeps(logits, top_k, top_p):
    """Integer logits tie often: of equal tokens those with the lowest ids stay."""
    probabilities_V = torch.tensor(logits).softmax(-1)
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))[:top_k]
    kept, before, total = [], 0.0, probabilities_V[order].double().sum().item()
    for token in order:
        if top_p is None or not kept or before / total < top_p - 1e-6:
            kept.append(token)
        elif before / total < top_p + 1e-6:
            return  # rounding decides
        before += probabilities_V[token].item()
    found = next_token_probabilities(torch.tensor([logits]), top_k=top_k, top_p=top_p)[0]
    assert found.nonzero()[:, 0].tolist() == sorted(kept)


@pytest.mark.parametrize("settings", [{}, {"top_k": 5}, {"top_p": 0.8}, {"temperature": 0.7, "top_k": 9, "top_p": 0.9}])
def test_draws_follow_the_distribution(settings):
    """40,000 draws; each token's frequency within 5 standard errors: a false alarm has probability 4 x 30 x 6e-7."""
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(2)) * 2
    expected = next_token_probabilities(logits, **settings)[0]
    n = 40_000
    uniform = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    drawn = choose(logits.expand(n, -1), Sampling(**settings), uniform)
    frequency = torch.bincount(drawn, minlength=30) / n
    assert (frequency[expected == 0] == 0).all()
    assert ((frequency - expected).abs() <= 5 * (expected * (1 - expected) / n).sqrt() + 1e-6).all()


def test_the_ends_of_the_unit_interval_draw_tokens_that_are_possible():
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]])
    highest = 1 - 2**-53
    assert choose(logits, Sampling(), torch.tensor([0.0], dtype=torch.float64)).tolist() == [1]
    assert choose(logits, Sampling(), torch.tensor([highest], dtype=torch.float64)).tolist() == [2]


def test_random_numbers_of_a_sequence_do_not_depend_on_its_neighbours():
    few, many = uniform_numbers(5, 2, device=torch.device("cpu")), uniform_numbers(5, 7, device=torch.device("cpu"))
    for _ in range(300):
        assert torch.equal(next(few), next(many)[:2])


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        uniform_numbers(seed, 1, device=torch.device("cpu"))

"""Distributions are filtered as documented; the cache changes nothing; seeds reproduce."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plm_core.generation.sampling import generate, next_token_probabilities
from plm_core.models.gpt import Gpt, GptConfig

LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = GptConfig(vocab_size=17, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    return Gpt(config.replace(max_position_embeddings=24, initializer_range=0.5))


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


def test_greedy_with_cache_equals_full_passes(model):
    prompt = torch.randint(0, 17, (3, 5), generator=torch.Generator().manual_seed(1))
    out = generate(model, prompt, max_new_tokens=15, temperature=0)
    expected = prompt
    model.eval()
    for _ in range(15):
        expected = torch.cat((expected, model(expected)[:, -1].argmax(-1, keepdim=True)), dim=1)
    assert torch.equal(out, expected)


def test_longer_than_the_context(model):
    prompt = torch.tensor([[1, 2, 3]])
    out = generate(model, prompt, max_new_tokens=60, seed=0)
    assert out.shape == (1, 63)
    assert torch.equal(out[:, :3], prompt)


def test_seed_reproduces_and_leaves_the_global_generator_alone(model):
    prompt = torch.tensor([[1, 2]])
    state = torch.get_rng_state()
    first = generate(model, prompt, max_new_tokens=10, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, generate(model, prompt, max_new_tokens=10, seed=4))
    assert not torch.equal(first, generate(model, prompt, max_new_tokens=10, seed=5))


def test_samples_follow_the_distribution(model):
    """20,000 draws; each token's frequency within 5 standard errors: a false alarm has probability 17 x 6e-7."""
    prompt = torch.tensor([[3, 1, 4]])
    model.eval()
    with torch.no_grad():
        expected = model(prompt)[0, -1].softmax(-1)
    n = 20_000
    drawn = generate(model, prompt.expand(n, -1), max_new_tokens=1, seed=0)[:, -1]
    frequency = torch.bincount(drawn, minlength=17) / n
    assert ((frequency - expected).abs() <= 5 * (expected * (1 - expected) / n).sqrt() + 1e-6).all()


def test_stop_token_ends_rows(model):
    prompt = torch.randint(0, 17, (4, 3), generator=torch.Generator().manual_seed(2))
    out = generate(model, prompt, max_new_tokens=20, seed=1, stop_token_id=5)
    for row in out[:, 3:].tolist():
        if 5 in row:
            assert set(row[row.index(5) :]) == {5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
    ],
)
def test_impossible_settings(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(model, torch.tensor([[1]]), max_new_tokens=1, **arguments)


def test_impossible_prompts(model):
    with pytest.raises(ValueError, match="prompt is empty"):
        generate(model, torch.zeros(1, 0, dtype=torch.long), max_new_tokens=1)
    with pytest.raises(ValueError, match="shorten it"):
        generate(model, torch.zeros(1, 25, dtype=torch.long), max_new_tokens=1)

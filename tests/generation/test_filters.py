"""Filters equal those of Hugging Face transformers, and change nothing where they are off."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from plm_core.generation.decoding import generate
from plm_core.generation.filters import RepetitionPenalty, near_likeliest, penalise, typical
from plm_core.generation.sampling import Sampling, next_token_probabilities
from plm_core.models.gpt import Gpt, GptConfig

SHARES = st.none() | st.floats(0.02, 0.98)


def random_logits(seed: int, rows: int = 3) -> torch.Tensor:
    return 3 * torch.randn(rows, 40, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**6), st.floats(0.3, 3), st.none() | st.integers(2, 40), SHARES, SHARES, SHARES)
def test_distributions_are_those_of_transformers(seed, temperature, top_k, top_p, min_p, typical_p) -> None:
    """Logits are random, so that none are equal; where rounding decides about a border token, nothing is compared."""
    logits_BV = random_logits(seed)
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p else []
    warpers += [MinPLogitsWarper(min_p)] if min_p else []
    warpers += [TypicalLogitsWarper(typical_p)] if typical_p else []
    expected_BV = LogitsProcessorList(warpers)(torch.zeros(3, 0, dtype=torch.long), logits_BV.clone()).softmax(-1)
    filters = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "typical_p": typical_p}
    found_BV = next_token_probabilities(logits_BV, **filters)
    for name in ("top_p", "min_p", "typical_p"):
        if filters[name]:
            nearby = [next_token_probabilities(logits_BV, **filters | {name: filters[name] + d}) for d in (-1e-5, 1e-5)]
            assume(all(torch.equal(each > 0, found_BV > 0) for each in nearby))
    torch.testing.assert_close(found_BV, expected_BV, atol=1e-5, rtol=1e-4)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 39), max_size=12), st.floats(0.5, 3))
def test_the_repetition_penalty_is_that_of_transformers(seed, tokens, penalty) -> None:
    logits_BV = random_logits(seed, rows=1)
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([tokens], dtype=torch.long), logits_BV.clone())
    assert (
        torch.equal(RepetitionPenalty([tokens or [0]], 40, penalty, "cpu").apply(logits_BV, [0]), theirs) or not tokens
    )
    seen_BV = torch.zeros(1, 40, dtype=torch.bool)
    seen_BV[0, tokens] = True
    assert torch.equal(penalise(logits_BV, seen_BV, penalty), theirs)
    if tokens:
        grown = RepetitionPenalty([tokens[:1]], 40, penalty, "cpu")
        for token in tokens[1:]:
            grown.update([(0, token)])
        assert torch.equal(grown.apply(logits_BV, [0]), theirs)


def test_the_typical_set_is_the_smallest_that_holds_the_mass() -> None:
    probabilities = torch.tensor([[0.6, 0.2, 0.1, 0.06, 0.04]])
    entropy = -(probabilities * probabilities.log()).sum().item()
    distances = [abs(-p.log().item() - entropy) for p in probabilities[0]]
    order = sorted(range(5), key=distances.__getitem__)
    for size in range(1, 6):
        mass = sum(probabilities[0, token].item() for token in order[:size]) - 1e-3
        assert typical(probabilities, mass)[0].nonzero()[:, 0].tolist() == sorted(order[:size])


def test_min_p_is_relative_to_the_likeliest() -> None:
    flat, peaked = torch.full((1, 10), 0.1), torch.tensor([[0.91] + [0.01] * 9])
    assert (near_likeliest(flat, 0.5) > 0).sum() == 10
    assert (near_likeliest(peaked, 0.5) > 0).sum() == 1


def test_settings_that_keep_all_change_nothing() -> None:
    logits_BV = random_logits(0)
    plain = next_token_probabilities(logits_BV)
    assert torch.equal(next_token_probabilities(logits_BV, typical_p=1.0), plain)
    torch.testing.assert_close(next_token_probabilities(logits_BV, min_p=1e-30), plain)


def test_tokens_of_logit_minus_infinity_stay_impossible() -> None:
    logits = torch.tensor([[1.0, -torch.inf, 2.0, -torch.inf]])
    for filters in ({"typical_p": 0.9}, {"min_p": 0.1}, {"typical_p": 1e-300}):
        probabilities = next_token_probabilities(logits, **filters)
        assert probabilities[0, [1, 3]].tolist() == [0, 0]
        assert probabilities.sum().item() == pytest.approx(1)


def test_prompt_and_continuation_are_penalised_in_every_sequence_of_a_batch() -> None:
    """Against full passes of the model, penalised by hand."""
    torch.manual_seed(0)
    config = GptConfig(vocab_size=17, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    model = Gpt(config.replace(initializer_range=0.5, max_position_embeddings=64)).double().eval()
    prompts = [[1, 2], [3, 4, 5]]
    expected = []
    for tokens in map(list, prompts):
        for _ in range(30):
            with torch.no_grad():
                logits_V = model(torch.tensor([tokens]))[0, -1]
            for token in set(tokens):
                logits_V[token] *= 1 / 1.3 if logits_V[token] > 0 else 1.3
            tokens.append(int(logits_V.argmax()))
        expected.append(tokens)
    assert generate(model, prompts, max_new_tokens=30, temperature=0, repetition_penalty=1.3) == expected
    assert generate(model, prompts, max_new_tokens=30, temperature=0) != expected


def test_a_prompt_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="ids are 0 to 39"):
        RepetitionPenalty([[1, 40]], 40, 1.2, "cpu")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_p": 0.0}, "min_p"),
        ({"min_p": 1.1}, "min_p"),
        ({"typical_p": float("nan")}, "typical_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty"),
    ],
)
def test_settings_outside_their_range_are_refused(values, message) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**values)

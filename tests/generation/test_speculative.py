"""Speculative decoding draws from the target's distribution: by enumeration, by chi-square, and token for token."""

from itertools import pairwise, product
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from plm_core.generation.decoding import generate
from plm_core.generation.sampling import Sampling, distribution
from plm_core.generation.speculative import acceptance, residual, speculate
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.kv_cache import Cache

WEIGHTS = st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any)


class Markov(nn.Module):
    """A model whose next token depends on the last one alone, by a table of logits."""

    def __init__(self, table_VV: torch.Tensor) -> None:
        super().__init__()
        self.table_VV = nn.Parameter(table_VV)
        self.config = SimpleNamespace(vocab_size=len(table_VV), max_position_embeddings=None)

    def new_cache(self) -> Cache:
        return Cache(0)

    def forward(self, input_ids, *, attention_mask, position_ids, cache, logits_to_keep):
        return self.table_VV[input_ids[:, -logits_to_keep:]]


def markov(seed: int) -> Markov:
    return Markov(1.5 * torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)))


def outcome(p_V: torch.Tensor, q_V: torch.Tensor) -> torch.Tensor:
    """The distribution of a proposed token after it was checked: accepted, or rejected and replaced."""
    kept_V = torch.tensor([q_V[x].item() * acceptance(p_V, q_V, x) if q_V[x] else 0.0 for x in range(len(q_V))])
    return kept_V + (1 - kept_V.sum()) * residual(p_V, q_V)


@given(WEIGHTS, WEIGHTS)
def test_a_checked_token_has_the_targets_distribution(p, q) -> None:
    p_V, q_V = torch.tensor(p, dtype=torch.float64) / sum(p), torch.tensor(q, dtype=torch.float64) / sum(q)
    torch.testing.assert_close(outcome(p_V, q_V), p_V, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.7, top_k=2), Sampling(top_p=0.8)])
def test_all_texts_of_three_tokens_have_the_targets_probability_by_enumeration(sampling) -> None:
    """Every draft of two tokens, every place of the first rejection, and what replaces it or follows."""
    target, draft = markov(1), markov(2)
    with torch.no_grad():
        p_VV = distribution(target.table_VV, sampling).double()
        q_VV = distribution(draft.table_VV, sampling).double()

    def after(token: int, written: tuple[int, ...]) -> dict[tuple[int, ...], float]:
        """The texts of the rounds that follow until three tokens are written, with their probabilities."""
        if len(written) >= 3:
            return {written[:3]: 1.0}
        found: dict[tuple[int, ...], float] = {}

        def add(text: tuple[int, ...], probability: float) -> None:
            if probability:
                for whole, each in after(text[-1], text).items():
                    found[whole] = found.get(whole, 0.0) + probability * each

        count = min(2, 3 - len(written) - 1)
        for drafted in product(range(3), repeat=count):
            probability, last = 1.0, token
            for place, x in enumerate(drafted):
                q_V, p_V = q_VV[last], p_VV[last]
                if not q_V[x]:
                    probability = 0.0
                    break
                probability *= q_V[x].item()
                rejected = probability * (1 - acceptance(p_V, q_V, x))
                # the proposals after a rejected one do not matter: they are added up once
                if not any(drafted[place + 1 :]):
                    for y in range(3):
                        add((*written, *drafted[:place], y), rejected * residual(p_V, q_V)[y].item())
                probability *= acceptance(p_V, q_V, x)
                last = x
            for y in range(3):
                add((*written, *drafted, y), probability * p_VV[last][y].item())
        return found

    found = after(0, ())
    for text in product(range(3), repeat=3):
        expected = p_VV[0, text[0]] * p_VV[text[0], text[1]] * p_VV[text[1], text[2]]
        assert found.get(text, 0.0) == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize(("draft_tokens", "seed"), [(1, 5), (2, 6), (4, 7)])
def test_what_follows_each_token_has_the_targets_distribution(draft_tokens, seed) -> None:
    """A text of 1,500 tokens: chi-square for each of three tokens; a false alarm has probability 3 x 1e-6."""
    target, draft = markov(3), markov(4)
    with torch.no_grad():
        p_VV = target.table_VV.softmax(-1).double().numpy()
    text = speculate(target, draft, [0], max_new_tokens=1500, draft_tokens=draft_tokens, seed=seed).tokens
    for token in range(3):
        following = [after for before, after in pairwise(text) if before == token]
        counts = [following.count(after) for after in range(3)]
        assert stats.chisquare(counts, p_VV[token] / p_VV[token].sum() * len(following)).pvalue > 1e-6


def tiny(seed: int, position: str = "learned", layers: int = 2) -> Gpt:
    torch.manual_seed(seed)
    config = GptConfig(vocab_size=17, hidden_size=32, num_attention_heads=2, num_hidden_layers=layers)
    return Gpt(config.replace(max_position_embeddings=40, initializer_range=0.4, position=position)).double()


@pytest.mark.parametrize("position", ["learned", "rope", "alibi", "t5", "shaw", "transformer_xl"])
@pytest.mark.parametrize("draft_tokens", [1, 3, 8])
def test_greedy_tokens_are_those_of_the_target_alone(position, draft_tokens) -> None:
    target, draft = tiny(0, position), tiny(1, position, layers=1)
    expected = generate(target, [[3, 1, 4]], max_new_tokens=30, temperature=0)[0]
    greedy = Sampling(temperature=0)
    found = speculate(target, draft, [3, 1, 4], max_new_tokens=30, draft_tokens=draft_tokens, sampling=greedy)
    assert found.tokens == expected
    assert found.target_passes + found.accepted == 30


def test_a_draft_that_is_the_target_is_always_right() -> None:
    model = tiny(0)
    found = speculate(model, model, [1, 2], max_new_tokens=30, draft_tokens=4, seed=0)
    assert found.accepted == found.proposed == 24
    assert found.target_passes == 6


def test_the_stop_token_ends_the_text_whether_it_was_proposed_or_not() -> None:
    target, draft = tiny(0), tiny(1)
    for other in (draft, target):
        for seed in range(20):
            tokens = speculate(target, other, [5, 5], max_new_tokens=30, seed=seed, stop_token_id=5).tokens[2:]
            assert 5 not in tokens[:-1]
            assert tokens[-1] == 5 or len(tokens) == 30


def test_seeds_reproduce_and_modes_come_back() -> None:
    target, draft = tiny(0).train(), tiny(1).eval()
    one, other = (speculate(target, draft, [1], max_new_tokens=20, seed=4) for _ in range(2))
    assert one == other
    assert target.training
    assert not draft.training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draft": Markov(torch.zeros(4, 4))}, "vocabularies have 17 and 4"),
        ({"prompt": []}, "prompt is empty"),
        ({"max_new_tokens": 40}, "do not fit"),
        ({"draft_tokens": 0}, "draft_tokens"),
        ({"sampling": Sampling(repetition_penalty=1.2)}, "no repetition penalty"),
    ],
)
def test_impossible_settings_are_refused(settings, message) -> None:
    arguments = {"draft": tiny(1), "prompt": [1], "max_new_tokens": 5, **settings}
    with pytest.raises(ValueError, match=message):
        speculate(tiny(0), **arguments)

"""Contrastive search with its cache equals the definition with a full pass for every candidate."""

import pytest
import torch

from plm_core.generation.contrastive import contrastive_search
from plm_core.generation.decoding import generate
from plm_core.models.gpt import Gpt, GptConfig


def tiny(position: str = "learned") -> Gpt:
    torch.manual_seed(0)
    config = GptConfig(vocab_size=17, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, position=position)
    return Gpt(config.replace(max_position_embeddings=24, initializer_range=0.5)).double().eval()


def by_definition(model: Gpt, prompt: list[int], new: int, top_k: int, alpha: float) -> list[int]:
    tokens = list(prompt)
    for _ in range(new):
        probabilities = model(torch.tensor([tokens]))[0, -1].softmax(-1)
        scores = {}
        for token in probabilities.topk(top_k).indices.tolist():
            states = model.hidden_states(torch.tensor([[*tokens, token]]))[0]
            similar = torch.cosine_similarity(states[-1:], states[:-1]).max()
            scores[token] = (1 - alpha) * probabilities[token] - alpha * similar
        tokens.append(max(scores, key=scores.get))
    return tokens


@torch.no_grad()
@pytest.mark.parametrize("position", ["learned", "rope", "alibi", "t5"])
@pytest.mark.parametrize(("top_k", "alpha"), [(4, 0.6), (6, 0.3), (3, 1.0)])
def test_the_cache_changes_nothing(position, top_k, alpha) -> None:
    model, prompt = tiny(position), [3, 1, 4]
    expected = by_definition(model, prompt, 12, top_k, alpha)
    assert contrastive_search(model, prompt, max_new_tokens=12, top_k=top_k, alpha=alpha) == expected


def test_without_contrast_it_is_greedy_search() -> None:
    model = tiny()
    greedy = generate(model, [[5, 6]], max_new_tokens=15, temperature=0)[0]
    assert contrastive_search(model, [5, 6], max_new_tokens=15, alpha=0.0) == greedy
    assert contrastive_search(model, [5, 6], max_new_tokens=15, top_k=1, alpha=0.9) == greedy


def test_the_stop_token_ends_it() -> None:
    model = tiny()
    whole = contrastive_search(model, [5, 6], max_new_tokens=15)
    stop = whole[6]
    place = whole.index(stop, 2)
    assert contrastive_search(model, [5, 6], max_new_tokens=15, stop_token_id=stop) == whole[: place + 1]
    assert contrastive_search(model, [5, 6], max_new_tokens=0) == [5, 6]


@pytest.mark.parametrize(
    ("prompt", "settings", "message"),
    [
        ([], {}, "prompt is empty"),
        ([1], {"max_new_tokens": 24}, "do not fit"),
        ([1], {"top_k": 0}, "top_k"),
        ([1], {"top_k": 18}, "top_k"),
        ([1], {"alpha": 1.1}, "alpha"),
    ],
)
def test_impossible_settings_are_refused(prompt, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        contrastive_search(tiny(), prompt, **{"max_new_tokens": 3, **settings})

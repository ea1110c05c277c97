"""Beam search in text: what it writes is what the search over tokens finds, without special tokens."""

import pytest
import torch

from plm_core.data.tokenize import frame
from plm_core.data.tokenizer_training import train_tokenizer_of_kind
from plm_core.generation.beam import Beam
from plm_core.generation.beam_text import search_texts
from plm_core.generation.decoding import generate
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig

TEXT = ["the cat sat on the mat, didn't it?", "walking walked walks"] * 3


@pytest.fixture(params=["characters", "bpe", "wordpiece"])
def pair(request):
    """A tokenizer and an untrained model, which finds special tokens as likely as others."""
    tokenizer = train_tokenizer_of_kind(request.param, TEXT, 300)
    torch.manual_seed(0)
    config = GptConfig(
        vocab_size=tokenizer.vocab_size + 2,  # two ids have no token
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=0.4,
    )
    return tokenizer, Gpt(config)


def test_width_one_is_greedy_search_without_special_tokens(pair):
    tokenizer, model = pair
    begin, (end,) = frame(tokenizer)
    special = [*sorted(tokenizer.special_ids - {end}), tokenizer.vocab_size, tokenizer.vocab_size + 1]
    for prompt in ("the cat", "walk"):
        ids = begin + tokenizer.encode(prompt)
        (greedy,) = generate(
            model, [ids], max_new_tokens=8, temperature=0.0, stop_token_id=end, suppressed_token_ids=special
        )
        (text,) = search_texts(model, tokenizer, [prompt], Beam(1, 8))
        shown = tokenizer.decode(greedy, skip_special_tokens=True)
        assert text.startswith(prompt)
        assert text.removeprefix(prompt) == shown.removeprefix(tokenizer.decode(ids, skip_special_tokens=True))


def test_other_prompts_change_nothing(pair):
    tokenizer, model = pair
    prompts = ["the cat", "walk", ""]
    assert search_texts(model, tokenizer, prompts, Beam(4, 8)) == [
        search_texts(model, tokenizer, [prompt], Beam(4, 8))[0] for prompt in prompts
    ]


def test_a_masked_model_and_a_text_too_long_are_refused(pair):
    tokenizer, model = pair
    with pytest.raises(ValueError, match="at most"):
        search_texts(model, tokenizer, ["the cat"], Beam(2, 40))
    with pytest.raises(ValueError, match="masked model"):
        search_texts(Bert(BertConfig.tiny(tokenizer.vocab_size)), tokenizer, ["the"], Beam(2, 4))

"""Text in, text out: pieces add up to the whole, hold whole characters, and show no special token."""

import random

import pytest
import torch

from plm_core.data.tokenizer_training import train_tokenizer_of_kind
from plm_core.generation.sampling import Sampling
from plm_core.generation.text import (
    Detokenizer,
    continue_text,
    continue_texts,
    read_prompts,
    stream_texts,
    unknown_parts,
)
from plm_core.models.gpt import Gpt, GptConfig

TEXT = ["the cat sat on the mat, didn't it?", "um 12 Uhr: größer als über 你好，世界 🙂🙃", "walking walked walks"] * 3
KINDS = ["characters", "words", "bpe", "wordpiece"]


def tokenizer_of(kind):
    return train_tokenizer_of_kind(kind, TEXT, 300)


def model_for(tokenizer, extra=0):
    torch.manual_seed(0)
    config = GptConfig(
        vocab_size=tokenizer.vocab_size + extra,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    return Gpt(config)


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_add_up_to_the_text_of_all_tokens(kind):
    tokenizer = tokenizer_of(kind)
    ordinary = sorted(set(range(tokenizer.vocab_size)) - tokenizer.special_ids)
    random.seed(0)
    for prompt in ("", "the cat", "walk", "你"):
        ids = tokenizer.encode(prompt)
        stream, pieces = Detokenizer(tokenizer, ids), []
        before = tokenizer.decode(ids, skip_special_tokens=True)
        for _ in range(150):  # byte-level BPE: mostly invalid UTF-8
            ids.append(random.choice(ordinary))
            pieces.append(stream.add(ids[-1]))
        pieces.append(stream.rest())
        assert before + "".join(pieces) == tokenizer.decode(ids, skip_special_tokens=True)


def test_a_piece_holds_complete_characters_only():
    tokenizer = tokenizer_of("bpe")
    text = "größer 你好 🙂 ok"
    stream = Detokenizer(tokenizer, [])
    pieces = [stream.add(token) for token in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_text_does_not_depend_on_its_neighbours_or_on_how_it_is_shown():
    tokenizer = tokenizer_of("bpe")
    model = model_for(tokenizer)
    prompts = ["the cat", "", "walking walked", "你好", "the mat, didn't it"]
    settings = {"max_new_tokens": 25, "seed": 7}
    texts = continue_texts(model, tokenizer, prompts, **settings)
    assert texts == continue_texts(model, tokenizer, prompts, batch_size=2, **settings)
    for number, prompt in enumerate(prompts):
        pieces = stream_texts(model, tokenizer, [prompt], first=number, **settings)
        assert prompt + "".join(piece for _, piece in pieces) == texts[number]
    assert texts[0] == continue_text(model, tokenizer, prompts[0], **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_neither_drawn_nor_shown(kind):
    """The model has more ids than the tokenizer: they have no text and must not be drawn either."""
    tokenizer = tokenizer_of(kind)
    model = model_for(tokenizer, extra=40)
    text = continue_text(model, tokenizer, "the cat 龘", max_new_tokens=300, seed=0)
    assert text.startswith("the cat 龘")
    assert not any(token in text for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", "[EOS]"))


def test_only_what_the_vocabulary_lacks_is_reported():
    assert unknown_parts(tokenizer_of("characters"), "the 龘 cat 龘 Ж") == ["龘", "Ж"]
    assert unknown_parts(tokenizer_of("bpe"), "the 龘 cat") == []


def test_settings_are_refused_before_the_first_piece():
    tokenizer = tokenizer_of("characters")
    model = model_for(tokenizer)
    with pytest.raises(ValueError, match="max_new_tokens"):
        stream_texts(model, tokenizer, ["the"], max_new_tokens=-5)
    with pytest.raises(ValueError, match="shorten it"):
        stream_texts(model, tokenizer, ["the", "the " * 30], max_new_tokens=5, sampling=Sampling(0.0), batch_size=1)


def test_prompts_stand_one_to_a_line(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_bytes("a boy\r\n\r\n  two\u2028lines\n你好".encode())
    assert read_prompts(file) == ["a boy", "  two\u2028lines", "你好"]
    file.write_text("\n \n")
    with pytest.raises(ValueError, match="holds no prompt"):
        read_prompts(file)

"""Texts end before the first stop string, however they are cut into pieces, and nothing else is lost or late."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from plm_core.data.tokenizer_training import train_tokenizer_of_kind
from plm_core.generation.stop_strings import StopStrings
from plm_core.generation.text import continue_texts, stream_texts
from plm_core.models.gpt import Gpt, GptConfig

STRINGS = st.lists(st.text("ab", min_size=1, max_size=3), max_size=3)


def before_the_first(text: str, strings: list[str]) -> str | None:
    """The text before the stop string that is complete first, read character by character."""
    for end in range(1, len(text) + 1):
        complete = [len(string) for string in strings if text[:end].endswith(string)]
        if complete:
            return text[: end - max(complete)]
    return None


@given(st.lists(st.text("abc", max_size=4), max_size=8), STRINGS)
@example(["ba", "a"], ["a", "baa"])
@example(["baa"], ["a", "baa"])
def test_pieces_add_up_to_the_text_before_the_first_stop_string(pieces, strings) -> None:
    stop, shown, text = StopStrings(strings), "", ""
    for piece in pieces:
        text += piece
        shown += stop.add(piece)
        expected = before_the_first(text, strings)
        if expected is not None:
            assert stop.stopped
            assert shown == expected
        else:
            held = text[len(shown) :]
            assert not stop.stopped
            assert text.startswith(shown)
            assert not held or any(string.startswith(held) for string in strings)
    shown += stop.rest()
    assert shown == (text if not stop.stopped else before_the_first(text, strings))


@pytest.mark.parametrize("kind", ["characters", "bpe", "wordpiece"])
def test_a_continuation_ends_before_a_stop_string(kind) -> None:
    texts = ["the cat sat on the mat, didn't it?", "um 12 Uhr: größer 你好，世界 🙂🙃", "walking walked walks"] * 3
    tokenizer = train_tokenizer_of_kind(kind, texts, 300)
    torch.manual_seed(0)
    config = GptConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    model = Gpt(config.replace(max_position_embeddings=32))
    prompts = ["the cat", "um", "walk"]
    for seed in range(100):  # the first one with which no continuation is short
        settings = {"max_new_tokens": 30, "seed": seed}
        plain = continue_texts(model, tokenizer, prompts, **settings)
        strings = [text[len(prompt) + 7 : len(prompt) + 10] for prompt, text in zip(prompts, plain, strict=True)]
        if all(len(string) == 3 for string in strings):
            break
    expected = []
    for prompt, text in zip(prompts, plain, strict=True):
        new = text[len(prompt) :]
        ends = [place for place in map(new.find, strings) if place >= 0]
        expected.append(prompt + new[: min(ends)])
    assert continue_texts(model, tokenizer, prompts, stop_strings=strings, **settings) == expected
    pieces = ["", "", ""]
    for row, piece in stream_texts(model, tokenizer, prompts, stop_strings=strings, batch_size=2, **settings):
        pieces[row] += piece
    assert [prompt + piece for prompt, piece in zip(prompts, pieces, strict=True)] == expected


def test_stop_strings_must_be_texts() -> None:
    with pytest.raises(ValueError, match="not empty"):
        StopStrings([""])
    with pytest.raises(ValueError, match="list of texts"):
        StopStrings("END")

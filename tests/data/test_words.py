"""Whole words are whole with every tokenizer, also without a space before them."""

import pytest
import torch

from plm_core.data.masking import IGNORE, Masker, MaskingConfig
from plm_core.data.tokenizer_training import train_bpe, train_characters, train_wordpiece, train_words
from plm_core.data.words import white_space_tokens, word_starts

TEXTS = ["the cat sat on the mat. The dog ran."] * 3 + ["internationalization a café b 3.5 我爱北京，你好", "don't"]
TOKENIZERS = {
    "characters": train_characters(TEXTS),
    "bpe": train_bpe(TEXTS, vocab_size=290),
    "wordpiece": train_wordpiece(TEXTS, vocab_size=110),
    "words": train_words(TEXTS),
}


def words(tokenizer, ids):
    """The texts of the words that the starts divide a sequence into."""
    found = []
    for token, starts in zip(ids, word_starts(ids, tokenizer), strict=True):
        if starts:
            found.append([])
        found[-1].append(token)
    return [text for text in (tokenizer.decode(word).strip() for word in found) if text]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("internationalization", ["internationalization"]),
        ("the mat. the dog", ["the", "mat", ".", "the", "dog"]),
        ("a café b", ["a", "café", "b"]),
        ("我爱北京，你好", list("我爱北京，你好")),
        ("don't 3.5", ["don", "'", "t", "3", ".", "5"]),
        ("the cat\nthe dog", ["the", "cat", "the", "dog"]),
    ],
)
def test_words_are_found_with_every_tokenizer(kind, text, expected):
    tokenizer = TOKENIZERS[kind]
    found = words(tokenizer, tokenizer.encode(text))
    if kind == "bpe":  # its tokens may hold a mark and letters ('t), which cannot be parted
        found = [part for word in found for part in (["'", "t"] if word == "'t" else [word])]
    assert found == expected


def test_a_sentence_joined_to_another_begins_with_a_word():
    tokenizer = TOKENIZERS["bpe"]
    joined = tokenizer.encode("the mat.") + tokenizer.encode("The dog")
    assert words(tokenizer, joined) == ["the", "mat", ".", "The", "dog"]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_masking_by_words_takes_all_of_a_word_or_nothing(kind):
    tokenizer = TOKENIZERS[kind]
    masker = Masker(
        vocab_size=tokenizer.vocab_size,
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        config=MaskingConfig(rate=0.5, unit="word"),
    )
    ids = tokenizer.encode("internationalization")
    rows, starts = torch.tensor([ids] * 50), torch.tensor([word_starts(ids, tokenizer)] * 50)
    _, labels = masker(rows, range(50), word_starts=starts)
    share = (labels != IGNORE).float().mean(1)
    assert set(share.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_white_space_tokens_are_those_that_show_nothing(kind):
    tokenizer = TOKENIZERS[kind]
    table = white_space_tokens(tokenizer)
    assert table[tokenizer.encode("\n")[0]]
    assert not table[tokenizer.encode("cat")].any()
    assert not table[sorted(tokenizer.special_ids)].any()

"""Shortening: as the library does it, without a setting that another thread could see."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.tokenizer_training import train_wordpiece

TOKENIZER = train_wordpiece(["the cat sat on the mat a b c d"] * 3, vocab_size=60)
few_words = st.lists(st.sampled_from(["the", "cat", "sat", "on", "mat"]), max_size=12).map(" ".join)


def shortened_by_the_library(first, second, length, truncation):
    TOKENIZER.backend.enable_truncation(length, strategy=truncation)
    try:
        return TOKENIZER.backend.encode(first, second).ids
    finally:
        TOKENIZER.backend.no_truncation()


@given(few_words, st.none() | few_words, st.integers(4, 20))
@settings(max_examples=200)
def test_the_longest_is_cut_first_as_in_the_library(first, second, length):
    pairs = None if second is None else [second]
    found = TOKENIZER.batch([first], pairs, max_length=length, truncation="longest_first")["input_ids"][0].tolist()
    assert found == shortened_by_the_library(first, second, length, "longest_first")


@pytest.mark.parametrize("truncation", ["only_first", "only_second"])
def test_one_of_two_is_cut_where_that_is_enough(truncation):
    first, second = "the cat sat on the mat", "on the mat the cat sat"
    found = TOKENIZER.batch([first], [second], max_length=12, truncation=truncation)["input_ids"][0].tolist()
    assert found == shortened_by_the_library(first, second, 12, truncation)
    with pytest.raises(ValueError, match=r"raise max_length|longest_first"):
        TOKENIZER.batch([first], [second], max_length=6, truncation=truncation)


def test_threads_shorten_to_lengths_of_their_own():
    texts = ["the cat sat on the mat and " * 20] * 20

    def lengths(length):
        made = (TOKENIZER.batch(texts, max_length=length, truncation="longest_first") for _ in range(15))
        return {batch["input_ids"].shape[1] for batch in made}

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lengths, (8, 16, 32, 64))) == [{8}, {16}, {32}, {64}]

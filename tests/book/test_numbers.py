"""What counts as a measured number typed into prose, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.tool.numbers import sentences, typed_measurements
from book.tool.prose import read_prose


def found(text: str) -> list[str]:
    return [words for passage in read_prose(text).passages for _, words in typed_measurements(passage)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It takes 12.3 ms.", "12.3 ms"),
        ("It takes 12 ms on a laptop.", "12 ms"),
        ("A step takes 3 s.", "3 s"),
        ("A step takes 40 µs.", "40 µs"),
        ("Training ends after 20 minutes.", "20 minutes"),
        ("It is right in 85 % of the cases.", "85 %"),
        ("It is right in 85% of the cases.", "85%"),
        ("It needs 120 MiB of memory.", "120 MiB"),
        ("It needs 1.5GB of memory.", "1.5GB"),
        ("The fused kernel is 1.6x faster.", "1.6x"),
        ("The fused kernel is 3× faster.", "3×"),
        ("The fused kernel is 3.2 times faster.", "3.2 times faster"),
        ("It needs 4 times as much memory.", "4 times as"),
        ("It reads 10,000 tokens/s.", "10,000 tokens/s"),
        ("It reads 10,000 tokens per second.", "10,000 tokens per second"),
        ("The accuracy of 0.93 is high.", "accuracy of 0.93"),
        ("The loss falls to 1.88 in the end.", "loss falls to 1.88"),
        ("The **loss** is then 1.88.", "loss is then 1.88"),
        ("We reach a loss of 1.88 and stop.", "loss of 1.88"),
        ("It ends at 2.31 nats.", "2.31 nats"),
        ("It ends at 1.47 bits per character.", "1.47 bits per character"),
        ("Perplexity drops from many to 31.7.", "Perplexity drops from many to 31.7"),
        ("A BLEU of 27.3 is what we get.", "BLEU of 27.3"),
        ("The largest weight is 0.93.", "largest weight is 0.93"),
        ("The largest weight of a row is about 0.93.", "largest weight of a row is about 0.93"),
        ("The gap between the two falls to 0.2 in the end.", "gap between the two falls to 0.2"),
        ("Their mean was only −0.31.", "mean was only −0.31"),
        ("A ratio of 2.5 remains.", "ratio of 2.5"),
        ("The norms differ by 0.04.", "norms differ by 0.04"),
        ("> quoted: 12 ms", "12 ms"),
        ("| a | b |\n|---|---|\n| time | 3 ms |", "3 ms"),
        ("# A heading of 3 ms", "3 ms"),
        ("```{admonition} After 3 ms\nText.\n```", "3 ms"),
        ("term\n: takes 4 ms", "4 ms"),
        ("Foo[^1].\n\n[^1]: It takes 3 ms.", "3 ms"),
    ],
)
def test_measurements_are_found(text: str, words: str) -> None:
    assert found(text) == [words]


@pytest.mark.parametrize(
    "text",
    [
        "It has 8 heads of 64 dimensions, 12 layers and 110 million parameters.",
        "In 2017 and in the 1990s, see chapter 5 and section 3.2.",
        "A vocabulary of 30,000 entries.",
        "With dropout 0.1, temperature 0.8 and a learning rate of 0.001.",
        "The weight decay is set to 0.1, and weights below 0.05 are cut.",
        "The largest weight is {glue:text}`largest`; version 3.11 of Python gives it.",
        "The largest weight is 1, as the rows sum to 1.",
        "A 3 × 4 matrix, or 3 x 4, or (3×4).",
        "Three times as many heads.",
        "Do it 3 times.",
        "The product is 1/256: 8 bits, or 2 bits per token.",
        "torch 2.13.0 on Python 3.11",
        "GPT-2, T5 and F1, BLEU and ROUGE-2.",
        "Loss is lower. The next one has 2.5 layers.",
        "Exercise 3 shows it.",
        "An int8 or fp16 weight of 8 bits.",
        "Compute $12.3\\,\\text{ms}$ and `time = 12.3 ms`.",
        "$$\n12.3 \\text{ ms}\n$$",
        "```python\ntime = '12.3 ms'\n```",
        "The loss is {glue:text}`loss` and the time {glue:text}`time:.1f` ms.",
        "<!-- 12.3 ms -->",
        "% a comment of 12.3 ms",
        "[12 ms](https://example.org)",
        "It was 12.3 ms {cite:p}`a`.",
        "According to {cite:t}`a`, e.g. on a GPU, it takes 12.3 ms.",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert found(text) == []


def test_a_citation_excuses_its_own_sentence_only() -> None:
    assert found("They took 5 ms {cite:p}`a`. We took 3 ms. Others took 4 ms {cite:p}`b`.") == ["3 ms"]


def test_an_excuse_holds_for_the_next_block_only() -> None:
    text = "% number: a definition\nIt is 15 %.\n\nIt is 16 %.\n\n% number: a list\n- 17 %\n- 18 %\n\nIt is 19 %."
    assert found(text) == ["16 %", "19 %"]


def test_an_excuse_holds_inside_a_directive() -> None:
    assert found("% number: given\n:::{note}\nIt is 15 %.\n:::\n\n:::{note}\n% number: given\nIt is 16 %.\n:::") == []


def test_lines_are_those_of_the_file() -> None:
    prose = read_prose("One.\n\nTwo is\n3 ms.\n\n:::{note}\n:class: tip\n\nIt is\n15 %.\n:::\n", line=100)
    assert [place for passage in prose.passages for place in typed_measurements(passage)] == [
        (103, "3 ms"),
        (109, "15 %"),
    ]


@given(st.text())
def test_sentences_are_parts_of_the_text_in_order(text: str) -> None:
    end = 0
    for start, sentence in sentences(text):
        assert start >= end
        assert text[start : start + len(sentence)] == sentence
        end = start + len(sentence)

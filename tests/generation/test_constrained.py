"""Outputs never leave their constraint, and where it allows all they are what they would be without it."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.tokenizer_training import train_tokenizer_of_kind
from plm_core.generation.constrained import ConstraintFilter, Grammar, OneOf, token_texts
from plm_core.generation.decoding import generate
from plm_core.generation.regular import parse
from plm_core.generation.text import continue_texts
from plm_core.models.gpt import Gpt, GptConfig

STOP = 0
VOCABULARY = ["", "a", "b", "ab", "ba", "1", "a1", "b1b", "2", "12"]


def tiny(vocab_size: int, seed: int = 0) -> Gpt:
    torch.manual_seed(seed)
    config = GptConfig(vocab_size=vocab_size, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    return Gpt(config.replace(initializer_range=0.5, max_position_embeddings=32))


MODEL = tiny(len(VOCABULARY))


def outputs(constraint, seed: int, **settings) -> list[list[int]]:
    prompts = [[1], [2, 3, 4], [5, 6]]
    rows = generate(MODEL, prompts, max_new_tokens=12, constraint=constraint, stop_token_id=STOP, seed=seed, **settings)
    return [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["(ab|ba)*", "a*b", "(a|b|1|2){3}", "[ab]+(12)?", "a{0,2}1|b"]),
    st.integers(0, 10**6),
    st.sampled_from([{}, {"temperature": 0.0}, {"top_k": 2}, {"top_p": 0.5}, {"repetition_penalty": 1.5}]),
)
def test_outputs_never_leave_the_grammar(pattern, seed, sampling) -> None:
    for tokens in outputs(Grammar(parse(pattern), VOCABULARY), seed, **sampling):
        text = "".join(VOCABULARY[token] for token in tokens)
        if tokens[-1] == STOP:
            assert re.fullmatch(pattern, text)
        else:  # cut at max_new_tokens: only an endless grammar can be so long
            assert len(tokens) == 12
            assert re.fullmatch(pattern, text) or any(
                re.fullmatch(pattern, text + end) for end in ("a", "b", "ab", "1", "12")
            )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=5), st.integers(0, 10**6))
def test_outputs_are_among_those_listed(allowed, seed) -> None:
    for tokens in outputs(OneOf(allowed), seed):
        assert tokens[-1] == STOP
        assert tokens[:-1] in allowed


def test_every_allowed_output_occurs_as_often_as_its_tokens_say() -> None:
    """Two outputs of one token and one of two, 3,000 draws: 5 standard errors."""
    allowed = [[1], [2], [2, 3]]
    MODEL.eval()
    with torch.no_grad():
        first = MODEL(torch.tensor([[4]]))[0, -1, [1, 2]].softmax(-1)
        second = MODEL(torch.tensor([[4, 2]]))[0, -1, [STOP, 3]].softmax(-1)
    expected = torch.stack([first[0], first[1] * second[0], first[1] * second[1]])
    rows = generate(MODEL, [[4]] * 3000, max_new_tokens=3, constraint=OneOf(allowed), stop_token_id=STOP, seed=1)
    written = [row[1:-1] for row in rows]
    frequency = torch.tensor([written.count(each) for each in allowed]) / 3000
    assert ((frequency - expected).abs() <= 5 * (expected * (1 - expected) / 3000).sqrt()).all()


def test_a_grammar_that_allows_all_changes_nothing() -> None:
    everything = Grammar(parse("[ab12]*"), VOCABULARY)
    assert outputs(everything, seed=3) == outputs(None, seed=3)


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_texts_of_a_tokenizer(kind) -> None:
    tokenizer = train_tokenizer_of_kind(kind, ["a date: 2024-05-17, 1999-12-31 and so on 你好"] * 5, 300)
    texts = token_texts(tokenizer)
    model = tiny(tokenizer.vocab_size, seed=1)
    pattern = r" \d{4}-\d{2}-\d{2}"
    grammar = Grammar(parse(pattern), texts)
    for text in continue_texts(model, tokenizer, ["date:", "a"], max_new_tokens=20, seed=2, constraint=grammar):
        assert re.fullmatch(f"(date:|a){pattern}", text)


def test_wordpiece_is_refused_for_grammars() -> None:
    tokenizer = train_tokenizer_of_kind("wordpiece", ["walking walked walks"] * 5, 100)
    with pytest.raises(ValueError, match="depends on its neighbours"):
        token_texts(tokenizer)


def test_what_cannot_constrain_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no token for \['c'\]"):
        Grammar(parse("a+c"), VOCABULARY)
    with pytest.raises(ValueError, match="none may be empty"):
        OneOf([[1], []])
    with pytest.raises(ValueError, match="ids are 0 to 9"):
        generate(MODEL, [[1]], max_new_tokens=1, constraint=OneOf([[10]]), stop_token_id=STOP)
    with pytest.raises(ValueError, match="needs a stop_token_id"):
        generate(MODEL, [[1]], max_new_tokens=1, constraint=OneOf([[1]]))


def test_characters_without_a_token_of_their_own_are_never_written() -> None:
    grammar = Grammar(parse("a[bc]+1"), ["", "a", "b", "bc", "1"])
    after_a = grammar.step(grammar.start(), 1)
    assert grammar.allowed(after_a) == [2]


def test_a_dead_end_is_named() -> None:
    class Nowhere(OneOf):
        def accepts(self, state) -> bool:
            return False

    each = ConstraintFilter(Nowhere([[1]]), 1, STOP, 10)
    each.update([(0, 1)])
    with pytest.raises(ValueError, match="allows no further token"):
        each.apply(torch.zeros(1, 10), [0])

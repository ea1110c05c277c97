"""Expressions match what Python's own regular expressions match, and know which beginnings can become a match."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.generation.regular import NOTHING, derivative, matches, parse, restrict

REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,3}"])
PATTERNS = st.recursive(
    st.sampled_from(["a", "b", "[ab]", r"\d", "[a-c1]", ""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, REPEATS).map(lambda two: f"({two[0]}){two[1]}"),
    ),
    max_leaves=6,
)
TEXTS = ["".join(each) for length in range(5) for each in itertools.product("abc1", repeat=length)]


@settings(deadline=None)
@given(PATTERNS)
def test_all_short_texts_match_as_in_python(pattern) -> None:
    expression, theirs = parse(pattern), re.compile(pattern)
    assert [matches(expression, text) for text in TEXTS] == [bool(theirs.fullmatch(text)) for text in TEXTS]


@settings(deadline=None)
@given(PATTERNS, st.sampled_from(TEXTS))
def test_a_beginning_is_alive_exactly_if_it_can_become_a_match(pattern, text) -> None:
    """Completed here by the shortest way: breadth first over the states, of which there are few."""
    state = parse(pattern)
    alphabet = sorted(state.alphabet())
    for character in text:
        state = derivative(state, character)
    seen, waiting = {state}, [state]
    while waiting:
        one = waiting.pop()
        new = {derivative(one, character) for character in alphabet} - seen
        seen |= new
        waiting += new
        assert len(seen) < 500
    assert (state is not NOTHING) == any(matches(each, "") for each in seen)


@settings(deadline=None)
@given(PATTERNS, st.frozensets(st.sampled_from("abc1")))
def test_a_restriction_matches_texts_of_the_given_characters(pattern, characters) -> None:
    expression, limited = parse(pattern), restrict(parse(pattern), characters)
    for text in TEXTS:
        assert matches(limited, text) == (matches(expression, text) and set(text) <= characters)


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        (r"\{\"name\": \"[A-Z][a-z]+\"\}", ['{"name": "Anna"}']),
        (r"(0|-?[1-9]\d*)(\.\d+)?", ["0", "-12.5", "907"]),
        (r"[a\-z]|[\]x-]", ["a", "-", "z", "]", "x"]),
        (r"\w\s\n", ["_ \n"]),
        ("是|否", ["是", "否"]),
    ],
)
def test_patterns_of_use(pattern, texts) -> None:
    assert all(matches(parse(pattern), text) for text in texts)


def test_long_texts_do_not_exhaust_the_stack() -> None:
    expression = parse("(" + "x" * 3000 + ")?")
    assert matches(expression, "x" * 3000)
    assert not matches(expression, "x" * 2999)
    assert expression.alphabet() == {"x"}
    assert restrict(expression, frozenset("x")) == expression
    assert parse("x" * 3000) != parse("x" * 2999)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "no end"),
        ("a)", "closing bracket"),
        ("[ab", "no end"),
        ("[]", "empty set"),
        ("[^a]", "negated"),
        ("[z-a]", "backwards"),
        ("a.b", "not understood"),
        ("^a$", "not understood"),
        ("*a", "not understood"),
        ("a{x}", "repeats"),
        ("a{2,}", "repeats"),
        ("a{3,2}", "ascending"),
        ("a{999}", "ascending"),
        (r"\q", "unknown escape"),
        ("a\\", "no end"),
    ],
)
def test_other_patterns_are_refused(pattern, message) -> None:
    with pytest.raises(ValueError, match=message):
        parse(pattern)

"""Transforms change what they should and nothing else; checks count what was not expected."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.evaluation.robustness import (
    check,
    different,
    lengthen,
    negate,
    not_higher,
    same,
    substitutes,
    typos,
)

TEXTS = st.lists(st.sampled_from(["reading", "a", "is", "Anna", "it.", "说", "cool", "don't"]), max_size=8).map(
    " ".join
)


@given(TEXTS, st.integers(1, 4), st.integers(0, 5))
def test_typos_move_letters_within_words_and_keep_the_first(text, count, seed) -> None:
    changed = typos(count, seed=seed)(text)
    if changed is None:
        return
    assert changed == typos(count, seed=seed)(text)
    places = [place for place in range(len(text)) if text[place] != changed[place]]
    assert 2 <= len(places) <= 2 * count
    assert len(places) % 2 == 0
    for one, other in zip(text.split(" "), changed.split(" "), strict=True):
        assert one[:1] == other[:1]
        assert Counter(one) == Counter(other)


def test_where_there_is_no_letter_to_swap_there_is_no_typo() -> None:
    assert typos()("猫 is a 123 ahh") is None


@given(TEXTS, st.integers(0, 5))
def test_names_are_exchanged_alike_at_each_mention(text, seed) -> None:
    text = f"{text} Anna met Annabel and Anna left"
    changed = substitutes(["Anna", "Maria", "Li Na"], seed=seed)(text)
    name = changed.removesuffix(" left").split(" and ")[-1]
    assert name in ("Maria", "Li Na")
    assert changed == text.replace("Anna ", f"{name} ")
    assert changed.count("Annabel") == 1


def test_two_names_in_a_text_stay_two() -> None:
    for seed in range(10):
        changed = substitutes(["Anna", "Maria", "Eva"], seed=seed)("Anna saw Maria")
        one, other = changed.split(" saw ")
        assert one not in (other, "Anna")
        assert other != "Maria"


def test_names_between_chinese_characters_are_found() -> None:
    assert substitutes(["小明", "小红"])("老师看见小明了") == "老师看见小红了"


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("The film is good.", "The film is not good."),
        ("You should see it, it is good.", "You should not see it, it is good."),
        ("It is not good.", "It is good."),
        ("It isn't good.", "It is good."),
        ("I don't like it.", "I do like it."),
        ("We won't go.", "We will go."),
        ("One cannot say.", "One can say."),
        ("They can’t.", "They can."),
        ("This isn't what I can't forget.", "This is what I can't forget."),
    ],
)
def test_negation_comes_or_goes(text, negated) -> None:
    assert negate(text) == negated


@pytest.mark.parametrize("text", ["She likes it.", "Is it good?", "island history", "", "notes on cans"])
def test_sentences_without_such_a_verb_are_left_out(text) -> None:
    assert negate(text) is None


@given(st.sampled_from(["It is good.", "They were late, it was cold.", "He may come."]))
def test_negating_twice_gives_the_text_back(text) -> None:
    assert negate(negate(text)) == text


def test_fillers_stand_at_an_end() -> None:
    assert lengthen("So it is.", 2)("Yes.") == "Yes. So it is. So it is."
    assert lengthen("So it is.", at_start=True)("Yes.") == "So it is. Yes."


def test_a_check_counts_only_texts_that_change() -> None:
    def predict(texts):
        return ["not" in text for text in texts]

    texts = ["It is good.", "She likes it.", "It was not bad."]
    result = check(predict, texts, negate, different)
    assert (len(result.changes), result.failure_rate, result.failures) == (2, 0.0, [])
    result = check(predict, texts, negate, same)
    assert result.failure_rate == 1
    assert [each.after for each in result.failures] == ["It is not good.", "It was bad."]
    assert (result.changes[0].answer_before, result.changes[0].answer_after) == (False, True)


def test_a_score_may_fall_and_rise_by_the_tolerance() -> None:
    expected = not_higher(0.1)
    assert [expected(0.5, after) for after in (0.1, 0.59, 0.61)] == [True, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check(lambda texts: texts, ["She likes it."], negate), "none of the 1 texts"),
        (lambda: check(lambda texts: [], ["It is."], lengthen("x")), "0 answers to 2"),
        (lambda: typos(0), "at least one typo"),
        (lambda: substitutes(["Anna"]), "two different names"),
        (lambda: substitutes(["Anna", "Eva", "Anna"]), "none twice"),
        (lambda: lengthen(" "), "filler"),
        (lambda: lengthen("x", 0), "filler"),
    ],
)
def test_what_cannot_be_checked_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()

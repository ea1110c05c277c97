"""Questions with spans: both formats are read, what is wrong is named, and windows label the tokens of the answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.data.squad import Answer, Question, read_squad, span_windows
from plm_core.data.tokenizer_training import train_tokenizer_of_kind

CONTEXT = "Ann Lee met Bob in New York. Bob had a café there, and Ann liked it."
QUESTION = Question("q1", "Where did Ann meet Bob?", CONTEXT, (Answer("New York", 19), Answer("York", 23)))
NONE = Question("q2", "Who is Carol?", CONTEXT, ())
TEXTS = [CONTEXT, QUESTION.question, NONE.question] * 3


def nested(*, version: bool = True) -> dict:
    questions = [
        {"id": q.id, "question": q.question, "answers": [{"text": a.text, "answer_start": a.start} for a in q.answers]}
        for q in (QUESTION, NONE)
    ]
    if version:
        questions[0]["is_impossible"], questions[1]["is_impossible"] = False, True
    return {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]}


def flat() -> list[dict]:
    return [
        {
            "id": q.id,
            "question": q.question,
            "context": q.context,
            "answers": {"text": [a.text for a in q.answers], "answer_start": [a.start for a in q.answers]},
        }
        for q in (QUESTION, NONE)
    ]


def test_both_formats_hold_the_same_questions(tmp_path):
    for number, values in enumerate((nested(), nested(version=False))):
        (tmp_path / f"{number}.json").write_text(json.dumps(values), encoding="utf-8")
        assert read_squad(tmp_path / f"{number}.json") == [QUESTION, NONE]
    lines = [json.dumps(values, ensure_ascii=False) for values in flat()]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert read_squad(tmp_path / "a.jsonl") == [QUESTION, NONE]
    bare = {"question": "Who?", "context": "Ann."}
    (tmp_path / "b.jsonl").write_text("\n" + json.dumps(bare), encoding="utf-8")
    assert read_squad(tmp_path / "b.jsonl") == [Question("2", "Who?", "Ann.", ())]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"answers": {"text": ["it now"], "answer_start": [63]}},
            "line 1: the answer 'it now' from character 63 to 69",
        ),
        ({"answers": {"text": ["Bob"], "answer_start": [-1]}}, "goes beyond its text of 68 characters"),
        (
            {"answers": {"text": ["Bob"], "answer_start": [13]}},
            "at character 13 stands 'ob ', not 'Bob'; it is found at",
        ),
        ({"answers": {"text": ["Eve"], "answer_start": [0]}}, "at character 0 stands 'Ann', not 'Eve'$"),
        ({"answers": {"text": ["Bob"], "answer_start": []}}, "1 answers, but 0 places where they start"),
        ({"answers": {"text": [""], "answer_start": [0]}}, "an answer is a text and the number of a character"),
        ({"answers": {"text": ["Bob"], "answer_start": ["12"]}}, "got 'Bob' and '12'"),
        ({"answers": ["Bob"]}, "line 1: 'answers' holds a list"),
        ({"is_impossible": True}, "is_impossible is true, but there is an answer"),
        ({"answers": None, "is_impossible": False}, "is_impossible is false, but there is no answer"),
        ({"question": " "}, "the question is empty"),
        ({"context": 7}, "line 1: 'context' holds a int"),
        ({"id": "q2"}, "the question 'q2' is there twice"),
    ],
)
def test_what_is_wrong_with_a_question_is_said_in_one_message(tmp_path, changes, message):
    first, second = flat()
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(first | changes)}\n{json.dumps(second)}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_squad(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{}", "a.json has no 'data': it has nothing"),
        ("a.json", '{"data": []}', "a.json holds no question"),
        ("a.json", "[]", "expected an object with keys, found list"),
        (
            "a.json",
            '{"data": [{"paragraphs": [{"context": "a"}]}]}',
            "article 0, paragraph 0 has no 'qas': it has 'context'",
        ),
        (
            "a.json",
            '{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": 1}]}]}]}',
            "question '1' has no 'question'",
        ),
        ("a.json", '{"data": [3]}', "article 0: expected an object with 'paragraphs', got int"),
        ("a.jsonl", '{"question": "a"}', "line 1 has no 'context': it has 'question'"),
        ("a.jsonl", '{"question', "line 1: not JSON"),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", "\n", "holds no question"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_message(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_squad(tmp_path / name)


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: train_tokenizer_of_kind(kind, TEXTS, 300) for kind in ("wordpiece", "bpe", "characters")}


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "characters"])
def test_the_label_of_a_window_is_the_answers_tokens(tokenizers, kind):
    tokenizer = tokenizers[kind]
    (window,) = span_windows(QUESTION, tokenizer, max_length=200, stride=10)
    ids = tokenizer.encode(QUESTION.question, CONTEXT, add_special_tokens=True)
    assert window.input_ids == ids
    assert window.text(window.start, window.end).strip() == "New York"
    assert window.candidates[0]
    assert sum(window.candidates) == 1 + len(tokenizer.encode(CONTEXT))
    assert all(inside <= kind for inside, kind in zip(window.candidates[1:], window.token_type_ids[1:], strict=True))
    (window,) = span_windows(NONE, tokenizer, max_length=200, stride=10)
    assert (window.start, window.end, window.text(0, 0)) == (0, 0, "")


@given(st.data())
def test_every_word_is_found_whole_in_some_window_and_labelled_in_those_only(tokenizers, data):
    """Any span of words; the stride is longer than it."""
    words = CONTEXT.split(" ")
    begin = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(begin + 1, min(begin + 3, len(words))))
    text = " ".join(words[begin:end])
    start = len(" ".join(words[:begin])) + (begin > 0)
    question = Question("q", "Who?", CONTEXT, (Answer(text, start),))
    kind = data.draw(st.sampled_from(["wordpiece", "bpe"]))
    windows = span_windows(question, tokenizers[kind], max_length=30, stride=12)
    labelled = [window for window in windows if window.end]
    assert labelled
    for window in windows:
        inside = [offset for offset, is_text in zip(window.offsets, window.candidates, strict=True) if is_text][1:]
        holds = inside[0][0] <= start and start + len(text) <= inside[-1][1]
        assert (window in labelled) == holds
    for window in labelled:
        assert window.text(window.start, window.end).strip() == text
    covered = {place for window in windows for begin, end in window.offsets for place in range(begin, end)}
    assert covered >= {place for place, character in enumerate(CONTEXT) if character != " "}


def test_an_answer_inside_a_word_has_the_whole_word(tokenizers):
    question = Question("q", "Who?", CONTEXT, (Answer("ork", 24),))
    (window,) = span_windows(question, tokenizers["wordpiece"], max_length=100, stride=10)
    assert "ork" in window.text(window.start, window.end)


def test_spans_and_settings_that_cannot_be_are_refused(tokenizers):
    tokenizer = tokenizers["wordpiece"]
    (window,) = span_windows(QUESTION, tokenizer, max_length=100, stride=10)
    for start, end in ((1, 1), (window.end, window.start), (0, window.end), (window.start, 10**6)):
        with pytest.raises(ValueError, match="are no span of the text"):
            window.text(start, end)
    with pytest.raises(ValueError, match="leaves room for"):
        span_windows(QUESTION, tokenizer, max_length=12, stride=10)
    hidden = Question("q", "Who?", "Ann \u200d Lee", (Answer("\u200d", 4),))
    with pytest.raises(ValueError, match="question 'q': the tokenizer has no token for its answer"):
        span_windows(hidden, tokenizer, max_length=100, stride=10)

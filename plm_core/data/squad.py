"""Questions about a text whose answers are spans of it, in the format of SQuAD, and spans in tokens.

A file is SQuAD's own JSON, ``{"data": [{"paragraphs": [{"context": ..., "qas": [...]}]}]}`` (Rajpurkar et al. 2016), or
JSON lines, a question a line, ``{"question": ..., "context": ..., "answers": {"text": [...], "answer_start": [...]}}``.
A question without answers, or with ``"is_impossible": true``, has none in the text (Rajpurkar et al. 2018).

A text that is too long is cut into overlapping windows. Where a window does not hold the answer, its label is position
0, the token before the question, as for a question without an answer. Shapes: T tokens of a window.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plm_core.data.tables import read_lines
from plm_core.data.tokenizers import Tokenizer
from plm_core.files import MAX_BYTES, read_json_object

MAX_JSON_BYTES = 4 * MAX_BYTES
"""Largest file in SQuAD's own format; that of version 2 takes 42 MB."""


@dataclass(frozen=True)
class Answer:
    """A span of a text."""

    text: str
    """The answer as it stands there."""
    start: int
    """The character at which it begins, from 0."""

    @property
    def end(self) -> int:
        """The character after its last one."""
        return self.start + len(self.text)


@dataclass(frozen=True)
class Question:
    """A question about a text."""

    id: str
    """Its name, which predictions carry too."""
    question: str
    context: str
    """The text that is asked about."""
    answers: tuple[Answer, ...]
    """Accepted answers, each a span of the text; none for a question that the text does not answer."""


def read_squad(path: str | Path) -> list[Question]:
    """Read the questions of a file.

    Args:
        path: a ``.json`` file in SQuAD's own format, or a ``.jsonl`` file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is empty, damaged, not UTF-8 or in mixed encodings; a question without one of its
            parts, or given twice; an answer beyond its text, or one that does not stand where it should. The question
            is named.
    """
    path = Path(path)
    if path.suffix == ".json":
        found = list(_nested(read_json_object(path, "SQuAD file", max_bytes=MAX_JSON_BYTES), path))
    else:
        found = list(_flat(path))
    if not found:
        raise ValueError(f"{path} holds no question")
    seen: set[str] = set()
    for question in found:
        if question.id in seen:
            raise ValueError(f"{path}: the question {question.id!r} is there twice")
        seen.add(question.id)
    return found


def _nested(values: dict[str, Any], path: Path) -> Iterator[Question]:
    for number, article in enumerate(_get(values, "data", list, str(path))):
        where = f"{path}, article {number}"
        for place, paragraph in enumerate(_get(article, "paragraphs", list, where)):
            here = f"{where}, paragraph {place}"
            context = _get(paragraph, "context", str, here)
            for values_of_question in _get(paragraph, "qas", list, here):
                name = str(_get(values_of_question, "id", (str, int), here))
                inside = f"{path}, question {name!r}"
                given = _optional(values_of_question, "answers", list, inside, [])
                answers = [
                    (_get(answer, "text", str, inside), _get(answer, "answer_start", int, inside)) for answer in given
                ]
                yield _question(name, values_of_question, context, answers, inside)


def _flat(path: Path) -> Iterator[Question]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not JSON: {error}") from error
        context = _get(values, "context", str, where)
        given = _optional(values, "answers", dict, where, {"text": [], "answer_start": []})
        texts, starts = _get(given, "text", list, where), _get(given, "answer_start", list, where)
        if len(texts) != len(starts):
            raise ValueError(f"{where}: {len(texts)} answers, but {len(starts)} places where they start")
        name = str(_optional(values, "id", (str, int), where, number))
        yield _question(name, values, context, list(zip(texts, starts, strict=True)), where)


def _question(name: str, values: Any, context: str, answers: list[tuple[Any, Any]], where: str) -> Question:
    """The question with checked answers."""
    impossible = _optional(values, "is_impossible", bool, where, not answers)
    if impossible and answers:
        raise ValueError(f"{where}: is_impossible is true, but there is an answer")
    if not impossible and not answers:
        raise ValueError(f"{where}: is_impossible is false, but there is no answer")
    for text, start in answers:
        if not isinstance(text, str) or type(start) is not int or not text.strip():
            raise ValueError(f"{where}: an answer is a text and the number of a character, got {text!r} and {start!r}")
        if start < 0 or start + len(text) > len(context):
            raise ValueError(
                f"{where}: the answer {_shown(text)} from character {start} to {start + len(text)} goes beyond its "
                f"text of {len(context)} characters"
            )
        there = context[start : start + len(text)]
        if there != text:
            at = context.find(text)
            hint = f"; it is found at {at}" if at >= 0 else ""
            raise ValueError(f"{where}: at character {start} stands {_shown(there)}, not {_shown(text)}{hint}")
    question = _get(values, "question", str, where)
    if not question.strip() or not context.strip():
        raise ValueError(f"{where}: the {'context' if question.strip() else 'question'} is empty")
    return Question(name, question, context, tuple(Answer(text, start) for text, start in answers))


def _get(values: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected an object with {name!r}, got {type(values).__name__}")
    if name not in values:
        raise ValueError(f"{where} has no {name!r}: it has {', '.join(map(repr, values)) or 'nothing'}")
    if not isinstance(values[name], kind) or (isinstance(values[name], bool) and kind is not bool):
        raise ValueError(f"{where}: {name!r} holds a {type(values[name]).__name__}")
    return values[name]


def _optional(values: Any, name: str, kind: type | tuple[type, ...], where: str, default: Any) -> Any:
    if isinstance(values, dict) and values.get(name) is None:
        return default
    return _get(values, name, kind, where)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


@dataclass(frozen=True)
class SpanWindow:
    """A question and a part of its text, in tokens."""

    question: Question
    input_ids: list[int]
    """Token ids with special tokens, (T,)."""
    token_type_ids: list[int]
    """0 for the question, 1 for the text, as the tokenizer counts them, (T,)."""
    candidates: list[bool]
    """Where an answer may begin or end: the tokens of the text, and position 0 for none, (T,)."""
    offsets: list[tuple[int, int]]
    """From and to which character of the whole text each of its tokens goes, (T,); (0, 0) for other tokens."""
    start: int
    """The first token of the first answer; 0 if the window does not hold all of it."""
    end: int
    """The last token of the answer."""

    def text(self, start: int, end: int) -> str:
        """The part of the text from one token to another; empty for position 0.

        Raises:
            ValueError: tokens that are not of the text, or in the wrong order.
        """
        if start == end == 0:
            return ""
        if not 0 < start <= end < len(self.input_ids) or not (self.candidates[start] and self.candidates[end]):
            raise ValueError(f"tokens {start} to {end} are no span of the text")
        return self.question.context[self.offsets[start][0] : self.offsets[end][1]]


def span_windows(question: Question, tokenizer: Tokenizer, *, max_length: int, stride: int) -> list[SpanWindow]:
    """Tokenise a question with its text, cut into windows if need be, and find the tokens of the first answer.

    An answer that begins or ends inside a token has the whole token.

    Args:
        question: the question.
        tokenizer: the model's.
        max_length: tokens of a window, with question and special ones.
        stride: tokens by which neighbouring windows overlap; longer than the answers, so that each is whole somewhere.

    Raises:
        ValueError: a question that leaves no room for the text, or an answer of which the tokenizer leaves nothing.
    """
    windows = [
        _window(question, encoding)
        for encoding in tokenizer.windows(question.question, question.context, max_length=max_length, stride=stride)
    ]
    if question.answers:
        answer = question.answers[0]
        tokens = [offset for window in windows for offset in window.offsets]
        if not any(begin < answer.end and answer.start < end for begin, end in tokens):
            raise ValueError(f"question {question.id!r}: the tokenizer has no token for its answer {answer.text!r}")
    return windows


def _window(question: Question, encoding: Any) -> SpanWindow:
    is_text = [part == 1 for part in encoding.sequence_ids]
    if is_text and is_text[0]:
        raise ValueError("the tokenizer puts the text first: position 0 must stand for no answer")
    offsets = [tuple(pair) if inside else (0, 0) for pair, inside in zip(encoding.offsets, is_text, strict=True)]
    start = end = 0
    if question.answers:
        answer = question.answers[0]
        text = [place for place, inside in enumerate(is_text) if inside]
        covered = [p for p in text if offsets[p][0] < answer.end and answer.start < offsets[p][1]]
        first, last = (
            answer.start + len(answer.text) - len(answer.text.lstrip()),
            answer.start + len(answer.text.rstrip()),
        )
        whole = covered and offsets[text[0]][0] <= first and last <= offsets[text[-1]][1]
        if whole:
            start, end = covered[0], covered[-1]
    candidates = [place == 0 or inside for place, inside in enumerate(is_text)]
    return SpanWindow(question, list(encoding.ids), list(encoding.type_ids), candidates, offsets, start, end)

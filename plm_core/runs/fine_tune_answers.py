"""Extraction of answers as a task of fine-tuning: questions about texts whose answers are spans of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch
from plm_core.data.label_names import LabelNames
from plm_core.data.labelled_rows import span_row
from plm_core.data.squad import Question, SpanWindow, read_squad, span_windows
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.answers import answer_scores, exact_match
from plm_core.evaluation.bag_of_words import words_of
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.models.heads import SpanExtractor
from plm_core.objectives.base import Objective
from plm_core.objectives.spans import SpanExtraction, best_spans
from plm_core.runs.fine_tune_config import FineTuneConfig
from plm_core.runs.fine_tune_tasks import Predictions, Split, outputs

NAMES = LabelNames(("answer", "no answer"))
SENTENCE = re.compile(r"[^.!?。！？]+[.!?。！？]*")


class AnswerTask:
    """Extraction of answers from texts; a long text is read in windows, and the best span of all windows is taken.

    Args:
        config: the run.
        tokenizer: the pretrained model's.
    """

    def __init__(self, config: FineTuneConfig, tokenizer: Tokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.names, self.has_classes = NAMES, False
        self.objective: Objective = SpanExtraction()

    def read(self, path: Path) -> tuple[list[Any], list[str]]:
        """The questions of a file; errors as for :func:`~plm_core.data.squad.read_squad`."""
        found = read_squad(path)
        if not self.config.no_answers:
            for question in found:
                if not question.answers:
                    raise ValueError(f"{path}: the question {question.id!r} has no answer, but no_answers is false")
        return list(found), []

    def learn_names(self, texts: Sequence[Any], labels: Sequence[str]) -> None:
        """There are no classes to learn; refuse training questions of which none has an answer.

        Raises:
            ValueError: no question has an answer.
        """
        if not any(question.answers for question in texts):
            raise ValueError(
                f"{self.config.train_file}: no question has an answer, and nothing can be learned from that"
            )

    def split(self, name: str, texts: list[Any], labels: list[str]) -> Split:
        """Questions as rows, one for each window."""
        windows = [
            span_windows(each, self.tokenizer, max_length=self.config.max_length, stride=self.config.stride)
            for each in texts
        ]
        cut = sum(len(each) > 1 for each in windows)
        flat = [window for each in windows for window in each]
        return Split(name, texts, labels, [span_row(each) for each in flat], cut, flat)

    def make_model(self, source: Bert | Gpt) -> nn.Module:
        """The head on a copy of the pretrained trunk."""
        return SpanExtractor.from_pretrained(source)

    def predict(self, model: nn.Module, split: Split, batches: Iterable[Batch]) -> Predictions:
        """The best answer to each question, the empty text for none, and the probability of its span in its window."""
        best: dict[str, tuple[float, str, float]] = {}
        null: dict[str, tuple[float, float]] = {}
        place = 0
        for logits, batch in outputs(model, self.objective, batches):
            candidates = batch["candidates"].clone()
            candidates[:, 0] = False
            spans = best_spans(
                logits, max_length=self.config.longest_answer, candidates=candidates.to(logits.start.device)
            )
            starts, ends = logits.start.log_softmax(dim=1), logits.end.log_softmax(dim=1)
            sure = (_at(starts, spans.start) + _at(ends, spans.end)).exp().tolist()
            nothing = (starts[:, 0] + ends[:, 0]).exp().tolist()
            columns = (spans.start.tolist(), spans.end.tolist(), spans.score.tolist(), spans.null_score.tolist())
            for row, (start, end, score, null_score) in enumerate(zip(*columns, strict=True)):
                window: SpanWindow = split.windows[place + row]
                name = window.question.id
                if name not in best or score > best[name][0]:
                    best[name] = score, window.text(start, end).strip(), sure[row]
                if name not in null or null_score < null[name][0]:
                    null[name] = null_score, nothing[row]
            place += len(starts)
        answers, confidence = [], []
        for question in split.texts:
            (score, text, probability), (null_score, no_answer) = best[question.id], null[question.id]
            leaves_out = self.config.no_answers and null_score > score
            answers.append("" if leaves_out else text)
            confidence.append(no_answer if leaves_out else probability)
        return Predictions(answers, torch.tensor(confidence))

    def true(self, split: Split) -> list[str]:
        """The first accepted answer to each question, the empty text for none."""
        return [question.answers[0].text if question.answers else "" for question in split.texts]

    def right(self, split: Split, predicted: Sequence[str]) -> list[bool]:
        """Whether each answer equals an accepted one, as SQuAD compares them."""
        return [
            any(exact_match(answer, true) for true in _accepted(question))
            for question, answer in zip(split.texts, predicted, strict=True)
        ]

    def scores(self, split: Split, predicted: Sequence[str]) -> dict[str, float]:
        """The share of exact matches, and the mean F1 of words."""
        scores = answer_scores(list(predicted), [_accepted(question) for question in split.texts])
        return {"accuracy": scores.exact, "f1": scores.f1}

    def baselines(self, train: Split, valid: Split, split: Split) -> dict[str, dict[str, float]]:
        """The scores of leaving every question unanswered, and of the sentence with the most words of the question."""
        return {
            "no answer": self.scores(split, [""] * len(split.texts)),
            "nearest sentence": self.scores(split, [nearest_sentence(question) for question in split.texts]),
        }

    def remarks(self, train: Split) -> list[str]:
        """What is worth knowing about the training questions."""
        none = sum(not question.answers for question in train.texts)
        lost = {window.question.id for window in train.windows if window.end} if train.windows else set()
        whole = sum(bool(question.answers) and question.id in lost for question in train.texts)
        lines = [f"without an answer: {none / len(train.texts):.1%}"]
        if whole < len(train.texts) - none:
            lines.append(f"answers that no window holds whole: {len(train.texts) - none - whole} (raise stride)")
        return lines

    def shown(self, split: Split, number: int) -> str:
        """The question of a prediction, for the list of errors."""
        return split.texts[number].question


def nearest_sentence(question: Question) -> str:
    """The sentence of the text that shares the most different words with the question, the first of equals."""
    asked = set(words_of(question.question))
    sentences = SENTENCE.findall(question.context) or [question.context]
    return max(sentences, key=lambda sentence: len(asked & set(words_of(sentence)))).strip()


def _accepted(question: Question) -> list[str]:
    return [answer.text for answer in question.answers] or [""]


def _at(values_BT: Tensor, places_B: Tensor) -> Tensor:
    return values_BT.gather(1, places_B[:, None])[:, 0]

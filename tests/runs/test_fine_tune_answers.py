"""Extraction of answers from files to a report: it learns, reads long texts in windows, and opens again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plm_core.data.batch import Batch
from plm_core.data.labelled_rows import LabelledBatches
from plm_core.data.squad import Answer, Question
from plm_core.models.heads import SpanLogits
from plm_core.runs.fine_tune import FineTuned, fine_tune
from plm_core.runs.fine_tune_answers import AnswerTask, nearest_sentence
from plm_core.runs.fine_tune_config import FineTuneConfig
from plm_core.runs.open import Run
from plm_core.runs.predict import predict_file
from tests.runs.test_fine_tune import PLACES, SENTENCES, train_source


@pytest.fixture(scope="session")
def source(once_per_run: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    return once_per_run("tune-answers", lambda folder: train_source(folder, "masked_lm")) / "run"


@pytest.fixture
def make(source, tmp_path) -> Callable[..., FineTuneConfig]:
    """Questions of one word: "sees" asks for the place, and "hates" has no answer."""

    def written(name: str, sentences: list[str]) -> Path:
        lines = []
        for number, text in enumerate(sentences):
            place = next(word for word in text.split() if word in PLACES)
            for question in ("sees", "hates"):
                found = question == "sees"
                answers = {"text": [place] * found, "answer_start": [text.index(place)] * found}
                row = {"id": f"{number} {question}", "question": question, "context": text, "answers": answers}
                lines.append(json.dumps(row))
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        return tmp_path / name

    def made(**changes) -> FineTuneConfig:
        values = {
            "task": "answers",
            "init_from": str(source),
            "train_file": written("train.jsonl", SENTENCES[::2]),
            "test_file": written("test.jsonl", SENTENCES[1::2]),
            "output": tmp_path / "out",
            "max_length": 12,
            "stride": 3,
            "epochs": 8,
            "learning_rate": 0.02,
        }
        return FineTuneConfig.from_dict(values | changes)

    return made


def test_a_model_learns_to_answer_and_when_not_to(make, tmp_path):
    config = make()
    report = fine_tune(config, quiet=True)
    assert report.scores["accuracy"] > 0.95
    assert report.baselines["no answer"]["accuracy"] == 0.5
    assert report.scores["f1"] > report.baselines["nearest sentence"]["f1"]
    assert report.per_class == {}
    assert not (config.output / "confusion.png").exists()
    assert "without an answer: 50.0%" in report.remarks
    opened = FineTuned.open(config.output)
    split = opened.task.split("test", *opened.task.read(config.test_file))
    batches = LabelledBatches(split.rows, batch_size=5, pad_id=opened.task.tokenizer.pad_id, seed=3).in_order()
    found = opened.task.predict(opened.model, split, batches)
    assert opened.task.scores(split, found.labels) == report.scores
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()

    rows = [{"id": "a", "question": "sees", "context": "kim likes oslo"}, {"question": "hates", "context": "kim"}]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    header, first, second = predict_file(config.output, tmp_path / "new.jsonl").splitlines()
    assert header == "answer\tprobability\tid\tquestion"
    assert (first.split("\t")[0], first.split("\t")[2:]) == ("oslo", ["a", "sees"])
    assert second.split("\t")[0] == ""


class Planted(torch.nn.Module):
    """Gives the highest logits to one token id, and a logit of its own to position 0."""

    def __init__(self, wanted: int, null: float) -> None:
        super().__init__()
        self.wanted, self.null = wanted, torch.nn.Parameter(torch.tensor(null))

    def forward(self, input_ids: torch.Tensor, *, candidates: torch.Tensor, **inputs: torch.Tensor) -> SpanLogits:
        logits = (input_ids == self.wanted) * 5.0
        logits[:, 0] = self.null
        logits = logits.masked_fill(~candidates, torch.finfo(torch.float32).min)
        return SpanLogits(logits, logits)


@pytest.mark.parametrize(
    ("null", "no_answers", "expected"), [(-1.0, True, "oslo"), (6.0, True, ""), (6.0, False, "oslo")]
)
def test_the_best_span_of_all_windows_is_the_answer(make, source, null, no_answers, expected):
    config = make(no_answers=no_answers)
    task = AnswerTask(config, Run.open(source).tokenizer)
    text = "ann likes rome and bob sees york and kim likes lee and bob hates oslo and ann"
    question = Question("q", "sees", text, (Answer("oslo", text.index("oslo")),))
    other = Question("r", "hates", "kim likes oslo", (Answer("oslo", 10),))
    split = task.split("test", [question, other], [])
    assert split.truncated == 1
    assert len(split.rows) > 3
    assert sum(window.end > 0 for window in split.windows if window.question.id == "q") >= 1
    batches: list[Batch] = list(LabelledBatches(split.rows, batch_size=2, pad_id=0, seed=0).in_order())
    found = task.predict(Planted(task.tokenizer.encode("oslo")[0], null), split, batches)
    assert found.labels == [expected, expected]


def test_the_nearest_sentence_shares_most_words_with_the_question():
    text = "Ann lives in Rome. Bob likes a red car! Lee sleeps"
    assert nearest_sentence(Question("1", "Who likes the car?", text, ())) == "Bob likes a red car!"
    assert nearest_sentence(Question("2", "Why?", "...", ())) == "..."


def test_questions_that_do_not_fit_are_refused_before_anything_is_written(make, tmp_path):
    config = make(no_answers=False)
    with pytest.raises(ValueError, match="the question '0 hates' has no answer, but no_answers is false"):
        fine_tune(config, quiet=True)
    (tmp_path / "none.jsonl").write_text('{"question": "sees", "context": "kim"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"none\.jsonl: no question has an answer"):
        fine_tune(make(train_file=tmp_path / "none.jsonl"), quiet=True)
    with pytest.raises(ValueError, match="leaves room for 3 tokens of context"):
        fine_tune(make(max_length=7), quiet=True)
    assert not config.output.exists()

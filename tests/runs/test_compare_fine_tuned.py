"""``plm benchmark`` on fine-tuned models: scores that are those of the report, and what cannot be compared."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from plm_core.cli import main
from plm_core.evaluation.benchmark import file_bytes
from plm_core.runs.compare_fine_tuned import compare_fine_tuned
from plm_core.runs.fine_tune import FineTuned, fine_tune
from plm_core.runs.fine_tune_config import FineTuneConfig
from plm_core.runs.fine_tune_report import FineTuneReport
from tests import forked
from tests.runs.test_fine_tune import NAMES, PLACES, SENTENCES, train_source

SMALL = {"rounds": 2, "threads": 1, "memory": False}


def write_examples(folder: Path) -> None:
    """Texts whose class is decided by their verb, and the same sentences with tags."""
    tags = {**dict.fromkeys(NAMES, "B-PER"), **dict.fromkeys(PLACES, "B-LOC")}
    for name, chosen in (("train", SENTENCES[::2]), ("test", SENTENCES[1::2])):
        rows = [{"text": text, "label": "good" if "likes" in text else "bad"} for text in chosen]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        lines = ["".join(f"{word} {tags.get(word, 'O')}\n" for word in text.split()) for text in chosen]
        (folder / f"{name}.conll").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def work(once_per_run: Callable[[str, Callable[[Path], object]], Path], tmp_path_factory) -> SimpleNamespace:
    """Four fine-tuned models with their reports, and their files; not to be changed."""
    source = once_per_run("tune-masked_lm", lambda folder: train_source(folder, "masked_lm")) / "run"
    folder = tmp_path_factory.mktemp("tuned")
    write_examples(folder)
    kinds = {"full": {}, "lora": {"method": "lora"}, "seed": {"seed": 5, "epochs": 1}, "tags": {"task": "tags"}}
    reports: dict[str, FineTuneReport] = {}
    for name, changes in kinds.items():
        ending = "conll" if name == "tags" else "jsonl"
        values = {
            "task": "texts",
            "init_from": str(source),
            "train_file": folder / f"train.{ending}",
            "test_file": folder / f"test.{ending}",
            "output": folder / name,
            "max_length": 16,
            "epochs": 4,
            "learning_rate": 0.02,
        }
        reports[name] = fine_tune(FineTuneConfig.from_dict(values | changes), quiet=True)
    return SimpleNamespace(folder=folder, reports=reports, source=source)


def test_classifiers_are_scored_on_a_file_as_their_reports_score_them(work, monkeypatch, capsys):
    monkeypatch.setattr("plm_core.evaluation.memory.subprocess", SimpleNamespace(run=forked.instead_of_subprocess))
    paths = [str(work.folder / name) for name in ("full", "lora", "seed")]
    options = ["--examples", str(work.folder / "test.jsonl"), "--rounds", "2", "--threads", "1"]
    assert main(["benchmark", *paths, *options, "--plot", str(work.folder / "models.png")]) == 0
    lines = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    for name, line in zip(("full", "lora", "seed"), lines[1:], strict=False):
        row = dict(zip(lines[0], line, strict=True))
        assert row["model"] == name
        assert float(row["accuracy"]) == pytest.approx(work.reports[name].scores["accuracy"], abs=6e-4)
        assert float(row["f1"]) == pytest.approx(work.reports[name].scores["f1"], abs=6e-4)
        assert float(row["peak MiB"]) >= 0
    assert (work.folder / "models.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["full", "tags"])
def test_the_validation_part_is_that_of_the_run_and_the_loss_is_its_mean(work, name):
    opened = FineTuned.open(work.folder / name)
    (row,) = compare_fine_tuned([work.folder / name], **SMALL)
    logged = [json.loads(line) for line in (work.folder / name / "metrics.jsonl").read_text().splitlines()]
    scores = [{key: entry[f"valid/{key}"] for key in row.quality} for entry in logged if "valid/f1" in entry]
    best = max(scores, key=lambda each: each["f1"])  # the first of equals is what the run keeps
    assert dict(row.quality) == pytest.approx(best, abs=1e-5)
    assert row.parameters == sum(parameter.numel() for parameter in opened.model.parameters())
    assert row.bytes >= 4 * row.parameters
    assert row.bytes < file_bytes(work.folder / name)
    assert not any(module.training for module in opened.model.modules())


def test_the_loss_is_that_of_the_true_classes(work):
    opened = FineTuned.open(work.folder / "full")
    (row,) = compare_fine_tuned([work.folder / "full"], examples=work.folder / "test.jsonl", **SMALL)
    split = opened.task.split("test", *opened.task.read(work.folder / "test.jsonl"))
    total = 0.0
    with torch.no_grad():
        for example in split.rows:
            log_p = opened.model(torch.tensor([example["input_ids"]])).log_softmax(-1)
            total -= float(log_p[0, example["labels"]])
    assert row.quality["loss"] == pytest.approx(total / len(split.rows), rel=1e-4)
    assert math.isfinite(row.throughput)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("full", "seed"), [], "has another validation part than full"),
        (("full", "tags"), [], "tags is fine-tuned for tags, full for texts"),
        (("full", "source"), [], "what differs in kind cannot be compared"),
        (("source",), ["--examples", "test.jsonl"], "--examples is for fine-tuned models"),
        (("full",), ["--examples", "none.jsonl"], "no text file at"),
        (("full",), ["--examples", "bad.jsonl"], "unknown label 'fine'"),
        (("full", "full"), [], "these need different ones"),
    ],
)
def test_what_cannot_be_compared_is_answered_in_one_line(work, capsys, names, options, message):
    (work.folder / "bad.jsonl").write_text(json.dumps({"text": "ann likes rome", "label": "fine"}), encoding="utf-8")
    paths = [str(work.source if name == "source" else work.folder / name) for name in names]
    options = [option if option.startswith("--") else str(work.folder / option) for option in options]
    assert main(["benchmark", *paths, *options, "--rounds", "2", "--no-memory"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("plm: ")
    assert error.count("\n") == 1
    assert message in error

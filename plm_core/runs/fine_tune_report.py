"""The result of a fine-tuning run: scores beside the baselines, calibration, and the worst errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plm_core.evaluation.calibration import Reliability, ece_by_chance, reliability
from plm_core.evaluation.classification import Confusion, confusion
from plm_core.ownership import replace_file
from plm_core.runs.fine_tune_answers import AnswerTask
from plm_core.runs.fine_tune_config import FineTuneConfig
from plm_core.runs.fine_tune_tasks import Predictions, Split, TagTask, TextTask, content_key
from plm_core.training.freezing import count_parameters
from plm_core.training.trainer import Trainer

REPORT_FILE = "report.json"
CONFUSION_FILE = "confusion.png"
CALIBRATION_FILE = "calibration.png"
NONE = "no answer"
WORST = 10
"""Errors that the report shows."""

AnyTask = TextTask | TagTask | AnswerTask


@dataclass(frozen=True)
class WrongExample:
    """An example whose class was not predicted."""

    example: str
    true: str
    predicted: str
    confidence: float
    """The probability of what was predicted."""


@dataclass(frozen=True)
class FineTuneReport:
    """The result of a run."""

    method: str
    trained_parameters: int
    parameters: int
    """All of the model's."""
    steps: int
    best_step: int
    """The step after which the chosen metric was best on the validation examples."""
    metric: str
    examples: dict[str, int]
    """Number of examples of each part."""
    truncated: dict[str, int]
    """How many of them were cut."""
    remarks: tuple[str, ...]
    """What is worth knowing about the training examples."""
    scored_on: str
    """The source of the examples that the scores are of."""
    scores: dict[str, float]
    """Accuracy and F1 of the model."""
    baselines: dict[str, dict[str, float]]
    """The same of each baseline, on the same examples."""
    calibration_error: float
    """Expected calibration error of the predicted class's probability."""
    calibration_by_chance: float
    """What that error would be on average if the probabilities were right."""
    per_class: dict[str, dict[str, float]]
    """Precision, recall, F1 and number of examples of each class; empty for answers."""
    worst: tuple[WrongExample, ...]
    """The errors that the model was most certain of."""

    def lines(self) -> list[str]:
        """The report as text."""
        share = self.trained_parameters / self.parameters
        lines = [
            f"{self.method}: {self.trained_parameters:,} of {self.parameters:,} parameters trained ({share:.2%}), best "
            f"{self.metric} of {self.steps} steps after step {self.best_step}",
            f"on {self.scored_on}:",
        ]
        rows = {"model": self.scores, **self.baselines}
        width = max(map(len, rows))
        lines += [
            f"  {name:<{width}}  " + "  ".join(f"{key} {value:.1%}" for key, value in scores.items())
            for name, scores in rows.items()
        ]
        lines.append(
            f"calibration error {self.calibration_error:.1%} "
            f"({self.calibration_by_chance:.1%} if the probabilities were right)"
        )
        if self.worst:
            lines.append("errors the model was most certain of:")
            lines += [
                f"  {error.true or NONE} taken for {error.predicted or NONE} ({error.confidence:.0%}): "
                f"{_short(error.example)}"
                for error in self.worst[:5]
            ]
        return lines


def lines_before_training(task: AnyTask, splits: tuple[Split, Split, Split]) -> list[str]:
    """What is worth knowing about the examples before a model is trained on them, as text."""
    train, _, test = splits
    parts = named_parts(splits)
    lines = ["examples: " + ", ".join(f"{name} {len(split.texts):,}" for name, split in parts.items())]
    if any(split.truncated for split in parts.values()):
        what = "longer than max_length" + ("" if task.has_classes else ", read in windows")
        lines.append(f"{what}: " + ", ".join(f"{name} {split.truncated:,}" for name, split in parts.items()))
    seen = {content_key(text) for text in train.texts}
    known = sum(content_key(text) in seen for text in test.texts)
    if known:
        lines.append(f"{known:,} of the examples that are scored at the end are among the training examples too")
    return lines + task.remarks(train)


def named_parts(splits: tuple[Split, Split, Split]) -> dict[str, Split]:
    """The parts by name; without a test part if the validation examples serve as one."""
    train, valid, test = splits
    return {"training": train, "validation": valid} | ({} if test is valid else {"test": test})


def make_report(
    config: FineTuneConfig,
    task: AnyTask,
    model: nn.Module,
    trainer: Trainer,
    splits: tuple[Split, Split, Split],
    predicted: Predictions,
) -> FineTuneReport:
    """Score predictions on the last split, and write the report and its figures into the run's folder."""
    train, valid, test = splits
    parts = named_parts(splits)
    true, names = task.true(test), task.names.names
    matrix = confusion(true, predicted.labels, labels=names) if task.has_classes else None
    confidence, right = predicted.confidence.double().clamp(0, 1), task.right(test, predicted.labels)
    diagram = reliability(confidence, torch.tensor(right))
    counts = count_parameters(model)
    report = FineTuneReport(
        config.method,
        counts.trained,
        counts.total,
        trainer.progress.step,
        trainer.progress.best_step,
        config.metric,
        {name: len(split.texts) for name, split in parts.items()},
        {name: split.truncated for name, split in parts.items()},
        tuple(task.remarks(train)),
        test.name,
        task.scores(test, predicted.labels),
        task.baselines(train, valid, test),
        diagram.ece,
        ece_by_chance(confidence),
        {} if matrix is None else {str(name): asdict(scores) for name, scores in matrix.per_class().items()},
        worst_errors(task, test, right, predicted),
    )
    values = {"config": config.to_dict(), **asdict(report)}
    replace_file(config.output / REPORT_FILE, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
    if matrix is not None:
        plot_confusion(matrix, config.output / CONFUSION_FILE)
    plot_calibration(diagram, config.output / CALIBRATION_FILE)
    return report


def worst_errors(
    task: AnyTask, split: Split, right: Sequence[bool], predicted: Predictions
) -> tuple[WrongExample, ...]:
    """The wrong predictions with the highest probabilities."""
    true, confidence = task.true(split), predicted.confidence.tolist()
    wrong = [n for n, is_right in enumerate(right) if not is_right]
    chosen = sorted(wrong, key=lambda n: -confidence[n])[:WORST]
    return tuple(
        WrongExample(task.shown(split, n), true[n], predicted.labels[n], round(confidence[n], 4)) for n in chosen
    )


def plot_confusion(matrix: Confusion, path: Path) -> Any:
    """Plot a confusion matrix, each row in shares of its true class, with the counts in its cells if they have room.

    Returns:
        The matplotlib figure.
    """
    import matplotlib.pyplot as plt

    counts = matrix.counts_CC
    size = len(matrix.labels)
    figure, axes = plt.subplots(figsize=(2.5 + 0.45 * min(size, 30), 2 + 0.45 * min(size, 30)), layout="constrained")
    image = axes.imshow(counts / counts.sum(axis=1, keepdims=True).clip(min=1), vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(size), [str(label) for label in matrix.labels], rotation=90)
    axes.set_yticks(range(size), [str(label) for label in matrix.labels])
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.grid(False)
    if size <= 15:
        for row in range(size):
            for column in range(size):
                dark = counts[row, column] > counts[row].sum() / 2
                axes.text(
                    column, row, str(counts[row, column]), ha="center", va="center", color="white" if dark else "black"
                )
    figure.colorbar(image, ax=axes, label="share of the true class")
    figure.savefig(path)
    plt.close(figure)
    return figure


def plot_calibration(diagram: Reliability, path: Path) -> Any:
    """Plot how often predictions are right against the probability that the model gives them.

    Returns:
        The matplotlib figure.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(layout="constrained")
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", label="perfect calibration")
    axes.plot(diagram.confidence_K, diagram.accuracy_K, marker="o", label="model")
    for confidence, accuracy, count in zip(*_lists(diagram), strict=True):
        axes.annotate(f"{count}", (confidence, accuracy), textcoords="offset points", xytext=(4, -10))
    axes.set_xlabel("probability of the predicted class (numbers: examples of the bin)")
    axes.set_ylabel("share that is right")
    axes.legend()
    figure.savefig(path)
    plt.close(figure)
    return figure


def _lists(diagram: Reliability) -> tuple[list[float], list[float], list[int]]:
    return diagram.confidence_K.tolist(), diagram.accuracy_K.tolist(), diagram.counts_K.tolist()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:97]}..."

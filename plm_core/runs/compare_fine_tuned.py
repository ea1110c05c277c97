"""Compare fine-tuned models: their scores on labelled examples, the size of their weights, and their speed on texts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plm_core.compression.saved import WEIGHTS_FILE
from plm_core.data.labelled_rows import LabelledBatches, Row
from plm_core.evaluation import benchmark
from plm_core.evaluation.benchmark import Candidate, fixed_threads, measure
from plm_core.evaluation.validation import validate
from plm_core.runs.fine_tune import AnyTask, FineTuned, read_validation
from plm_core.runs.fine_tune_config import FineTuneConfig
from plm_core.runs.fine_tune_tasks import Split
from plm_core.runs.folder import FINE_TUNED_FILE, is_run
from plm_core.runtime import check_threads
from plm_core.weights import save_weights


def is_fine_tuned(folder: Path) -> bool:
    """Whether a folder is the output of ``plm fine-tune``."""
    return is_run(folder) and (folder / FINE_TUNED_FILE).is_file()


def compare_fine_tuned(
    folders: Sequence[Path],
    *,
    examples: Path | None = None,
    batch_size: int = 32,
    rounds: int = 20,
    threads: int | None = None,
    memory: bool = True,
) -> list[benchmark.Row]:
    """Measure fine-tuned models of one task against each other, in turns.

    All are scored on the same examples, each with its own tokenizer. Without ``examples`` these are the ones by which
    the best weights of the runs were chosen, so that the scores are a little too good.

    Args:
        folders: output folders of ``plm fine-tune``. Names in the table are theirs; the first is the reference.
        examples: a file of labelled examples, as the runs were trained on; None for their validation part.
        batch_size: rows of the batch for throughput and memory, spread evenly over the examples. Latency is that of the
            row of median length among them.
        rounds: counted calls of each model.
        threads: number of threads; torch's by default.
        memory: whether to measure memory, which starts a process for each model.

    Returns:
        A row for each folder. Quality: ``accuracy`` and ``f1`` as the report of ``plm fine-tune`` has them, and
        ``loss``, the mean in nats.

    Raises:
        FileNotFoundError: a folder that is no such run, or no file of examples.
        ValueError: runs with different tasks or classes, or with different validation parts and no ``examples``; labels
            that the runs do not know.
    """
    runs = [FineTuned.open(folder) for folder in folders]
    first = runs[0]
    for run in runs:
        require_same_task(run, first)
        if examples is None and validation_of(run.config) != validation_of(first.config):
            raise ValueError(
                f"{run.folder.name} has another validation part than {first.folder.name}, and may have been trained on "
                "its examples: name a file that no run has seen (--examples)"
            )
    found = (
        read_validation(first.config, first.task)
        if examples is None
        else first.task.split(str(examples), *first.task.read(examples))
    )
    threads = check_threads(threads) or torch.get_num_threads()
    with tempfile.TemporaryDirectory() as scratch, fixed_threads(threads):
        candidates = {}
        for number, run in enumerate(runs):
            split = found if run is first else run.task.split(found.name, found.texts, found.labels)
            folder = Path(scratch) / str(number)
            folder.mkdir()
            save_weights(run.model, folder / WEIGHTS_FILE)  # a checkpoint holds more than is deployed
            candidates[run.folder.name] = candidate(run, split, folder, batch_size)
        return measure(candidates, rounds=rounds, threads=threads, memory=memory)


def require_same_task(run: FineTuned, first: FineTuned) -> None:
    """Refuse a run of another task than the first one, or with other classes.

    Raises:
        ValueError: they differ.
    """
    if run.config.task != first.config.task:
        raise ValueError(
            f"{run.folder.name} is fine-tuned for {run.config.task}, {first.folder.name} for {first.config.task}: what "
            "differs in kind cannot be compared"
        )
    if set(run.task.names.names) != set(first.task.names.names):
        raise ValueError(f"{run.folder.name} has other classes than {first.folder.name}: their scores mean nothing")


def validation_of(config: FineTuneConfig) -> tuple[object, ...]:
    """The fields of the configuration that determine the validation examples."""
    if config.validation_file is not None:
        return (config.validation_file,)
    return (config.train_file, config.seed)


def candidate(run: FineTuned, split: Split, file: Path, batch_size: int) -> Candidate:
    """A model, with labelled examples for its quality and some of them for its speed."""
    batches = labelled_batches(run, split.rows)
    count = min(batch_size, len(split.rows))
    numbers = [place * len(split.rows) // count for place in range(count)]
    middle = sorted(numbers, key=lambda number: len(tokens(split.rows[number])))[count // 2]
    one, many = (dict(run.task.objective.inputs(batches.collate(chosen))) for chosen in ([middle], numbers))
    return Candidate(run.model, file, one, many, partial(quality, task=run.task, split=split, batches=batches))


def labelled_batches(run: FineTuned, rows: list[Row]) -> LabelledBatches:
    """Rows in batches of the run's size."""
    config, pad_id = run.config, run.task.tokenizer.pad_id
    return LabelledBatches(rows, batch_size=config.batch_size, pad_id=pad_id, seed=config.seed)


def tokens(row: Row) -> Any:
    """The token ids of a row."""
    return row["input_ids"]


def quality(model: nn.Module, *, task: AnyTask, split: Split, batches: LabelledBatches) -> Mapping[str, float]:
    """Accuracy, F1 and mean loss in nats of a model on labelled examples."""
    scores = task.scores(split, task.predict(model, split, batches.in_order()).labels)
    return {**scores, "loss": validate(model, task.objective, batches.in_order())["loss"]}

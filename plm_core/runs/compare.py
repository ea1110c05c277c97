"""Compare models: their quality on the runs' own text, the size of their files, and their speed."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from torch import nn

from plm_core.compression.onnx_graphs import GptGraph
from plm_core.compression.onnx_model import OnnxModel, file_numbers
from plm_core.compression.saved import save_compressed
from plm_core.data.batch import Batch
from plm_core.data.labels import IGNORE
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.benchmark import Candidate, Row, fixed_threads, measure
from plm_core.evaluation.validation import validate
from plm_core.runs.batches import Sources
from plm_core.runs.compare_fine_tuned import compare_fine_tuned, is_fine_tuned
from plm_core.runs.config import RunConfig
from plm_core.runs.open import Run
from plm_core.runtime import check_threads

LARGE_BATCH = 32
ONNX = ".onnx"


def compare_models(
    models: Sequence[Path],
    *,
    examples: Path | None = None,
    rounds: int = 20,
    threads: int | None = None,
    memory: bool = True,
) -> list[Row]:
    """Measure runs and their exported files against each other, in turns.

    A causal model is timed on the logits of full rows, a masked one on the states of all tokens, as its word head runs
    on masked tokens alone. Fine-tuned models are scored on labelled examples:
    :func:`~plm_core.runs.compare_fine_tuned.compare_fine_tuned`.

    Args:
        models: output folders of ``plm train`` and ``plm compress``, and ``.onnx`` files of ``plm export``. At least
            one folder: the first gives the text and the tokenizer for the files. Names in the table are theirs. Or
            output folders of ``plm fine-tune`` alone.
        examples: for fine-tuned models a file of labelled examples; None for the validation part of the first.
        rounds: counted calls of each model.
        threads: number of threads of every engine; torch's by default.
        memory: whether to measure memory, which starts a process for each model.

    Raises:
        FileNotFoundError: a folder that is no run, or no such file.
        ValueError: no run, two of one name, runs with different objectives or texts, a file of another model, or
            fine-tuned models beside others.
    """
    folders = [path for path in models if path.suffix != ONNX]
    if not folders:
        raise ValueError("name at least one run: an ONNX file holds neither text nor tokenizer to measure it with")
    if len({path.name for path in models}) < len(models):
        raise ValueError(f"the table shows names, so these need different ones: {', '.join(map(str, models))}")
    tuned = [path for path in models if is_fine_tuned(path)]
    if tuned and len(tuned) < len(models):
        other = next(path for path in models if path not in tuned)
        raise ValueError(
            f"{tuned[0]} is fine-tuned on labelled examples, {other} is not: what differs in kind cannot be compared"
        )
    if tuned:
        return compare_fine_tuned(
            tuned, examples=examples, batch_size=LARGE_BATCH, rounds=rounds, threads=threads, memory=memory
        )
    if examples is not None:
        raise ValueError("--examples is for fine-tuned models: other runs are measured on their validation text")
    runs = [Run.open(folder) for folder in folders]
    first = runs[0]
    for run in runs:
        if text_of(run.config) != text_of(first.config):
            raise ValueError(
                f"{run.folder.name} has another objective or corpus: what differs in kind cannot be compared"
            )
    threads = check_threads(threads) or torch.get_num_threads()
    files = {path: open_file(path, first, threads) for path in models if path.suffix == ONNX}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack, fixed_threads(threads):
        found: dict[Path, Candidate] = {}
        for number, run in enumerate(runs):
            folder = Path(scratch) / str(number)
            save_compressed(run.model, folder)  # a checkpoint holds more than is deployed
            sources = stack.enter_context(run.sources())
            found[run.folder] = candidate(run.model, folder, run, sources)
            if run is first:
                for path, file in files.items():
                    found[path] = candidate(file, path, run, sources, parameters=file_numbers(path))
        ordered = {path.name: found[path] for path in models}
        return measure(ordered, rounds=rounds, threads=threads, memory=memory)


def text_of(config: RunConfig) -> tuple[object, ...]:
    """The fields of the configuration that determine the validation text and the objective."""
    return (config.objective, config.corpus, config.documents, config.max_documents, config.validation)


def open_file(path: Path, run: Run, threads: int) -> OnnxModel:
    """An exported file that fits a run's objective and tokenizer.

    Raises:
        ValueError: one that does not.
    """
    model = OnnxModel(path, threads=threads)
    if (model.kind is GptGraph) == run.config.is_masked or model.vocab_size != run.tokenizer.vocab_size:
        raise ValueError(
            f"{path} is a {model.kind.__name__} with {model.vocab_size} tokens; the first run needs a model for "
            f"{run.config.objective} with {run.tokenizer.vocab_size}: compare a file with the run it was exported from"
        )
    return model


def candidate(model: nn.Module, file: Path, run: Run, sources: Sources, *, parameters: int | None = None) -> Candidate:
    """A model, with a run's validation text for its quality and random ids for its speed."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, run.tokenizer.vocab_size, (LARGE_BATCH, run.config.context), generator=generator)
    measured: Callable[[nn.Module], Mapping[str, float]] = partial(quality, sources=sources, tokenizer=run.tokenizer)
    return Candidate(model, file, {"input_ids": ids[:1]}, {"input_ids": ids}, measured, parameters)


def quality(model: nn.Module, *, sources: Sources, tokenizer: Tokenizer) -> dict[str, float]:
    """Bits per character and accuracy of a causal model; the accuracies and the loss in nats of a masked one."""
    found = validate(model, sources.objective, sources.valid)
    accuracies = {name: value for name, value in found.items() if name.endswith("/accuracy")}
    if "causal_lm/loss" not in found:
        return accuracies | {"loss": found["loss"]}
    bits = found["causal_lm/loss"] * found["causal_lm/count"] / math.log(2)
    return {"bits per character": bits / characters(sources.valid, tokenizer)} | accuracies


def characters(batches: Sequence[Batch], tokenizer: Tokenizer) -> int:
    """How many characters the predicted tokens of causal batches stand for; the end of a document counts as one."""
    total = 0
    for batch in batches:
        for row in batch["labels"].tolist():
            document: list[int] = []
            for token in row:
                if token == tokenizer.eos_id:
                    total += len(tokenizer.decode(document)) + 1
                    document = []
                elif token != IGNORE:
                    document.append(token)
            total += len(tokenizer.decode(document)) if document else 0
    return total

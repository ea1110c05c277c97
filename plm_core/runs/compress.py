"""Compress a trained run: one method after the other, into a folder that opens like the run itself."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plm_core.compression.saved import STRUCTURE_FILE, WEIGHTS_FILE, save_compressed
from plm_core.compression.structure import stored_bytes
from plm_core.evaluation.validation import validate
from plm_core.ownership import file_sha256, flush, marker
from plm_core.runs.batches import Sources
from plm_core.runs.compression_steps import METHODS, Workbench, parse_method
from plm_core.runs.folder import KIND, MARKER, run_files
from plm_core.runs.open import Model, Run


@dataclass(frozen=True)
class Stage:
    """A model after a step."""

    name: str
    bytes: int
    """Size of all parameters and buffers."""
    quality: Mapping[str, float]
    """Validation metrics of the run's objective."""

    def line(self, before: Stage) -> str:
        """One line of text, relative to the uncompressed model."""
        loss, share = self.quality["loss"], self.bytes / before.bytes
        return f"{self.name:<40} {self.bytes:>12,} bytes ({share:.0%})  validation loss {loss:.4f}"


def compress_run(folder: Path, output: Path, methods: Sequence[str], *, quiet: bool = False) -> list[Stage]:
    """Compress the best weights of a run and write the result.

    Args:
        folder: the output folder of ``plm train`` or of this function.
        output: the folder to make: configuration, tokenizer, structure and weights. It appears whole or not at all.
        methods: what to do, in this order, as :func:`~plm_core.runs.compression_steps.parse_method` reads it.
        quiet: show no progress bars.

    Returns:
        The model before the first step and after each one, with its validation metrics. What is estimated on text is
        estimated on training text.

    Raises:
        FileNotFoundError: no such run.
        FileExistsError: the output folder exists already.
        ValueError: no method, an unknown one, or one that does not fit the model.
    """
    if not methods:
        raise ValueError(f"nothing to do: name at least one --method, of {', '.join(METHODS)}")
    steps = [parse_method(text) for text in methods]
    require_free(output)
    run = Run.open(folder)
    model, config = run.model, run.config
    with run.sources() as sources:
        bench = Workbench(sources, quiet)
        stages = [stage("as trained", model, sources)]
        for text, step in zip(methods, steps, strict=True):
            model, config = step.apply(model, config, bench)
            stages.append(stage(text, model, sources))
    save_run(Run(output, config, run.tokenizer, model), output)
    return stages


def stage(name: str, model: Model, sources: Sources) -> Stage:
    """Measure a model."""
    return Stage(name, stored_bytes(model), validate(model, sources.objective, sources.valid))


def require_free(output: Path) -> None:
    """Refuse an output folder that is anything but absent or empty.

    Raises:
        FileExistsError: something is there.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise FileExistsError(f"{output} exists and is no folder: choose another name")
    if output.is_dir() and any(output.iterdir()):
        raise FileExistsError(f"{output} is not empty: choose another folder")


def save_run(run: Run, output: Path) -> None:
    """Write a compressed run into a folder, which appears when it is complete.

    Raises:
        FileExistsError: something is in its place.
        OSError: it could not be written, for example to a full disk; nothing stays.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        draft = Path(scratch) / output.name
        save_compressed(run.model, draft)
        for name, content in run_files(run.config, run.tokenizer).items():
            (draft / name).write_bytes(content)
        hashes = {path.name: file_sha256(path) for path in sorted(draft.iterdir())}
        assert {STRUCTURE_FILE, WEIGHTS_FILE} <= hashes.keys()
        (draft / MARKER).write_bytes(marker(KIND, hashes))
        for path in draft.iterdir():
            flush(path)
        require_free(output)
        draft.rename(output)
        flush(output.parent)

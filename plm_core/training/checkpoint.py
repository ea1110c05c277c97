"""Checkpoints: directories that are complete or not there, and that execute nothing when loaded.

A checkpoint holds the weights (safetensors, ties stripped), the rest of the run's state (loadable with
``weights_only=True``) and a manifest with the SHA-256 of every file, written last. It is built beside its final place,
flushed to the disk and renamed, so a kill at any instant leaves either the old state or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from plm_core.weights import load_weights, save_weights

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
STATE = "state.pt"
LAST = "step-"
BEST = "best-"


class DamagedCheckpointError(ValueError):
    """A checkpoint that is incomplete or whose content does not match its manifest."""


def save_checkpoint(path: Path, model: nn.Module, state: dict[str, Any]) -> None:
    """Write a checkpoint directory; one of the same name is left as it is, for it is complete.

    Args:
        path: the directory to make.
        model: its weights are stored; ties that the model declares by ``tied_weights()`` are stored once.
        state: whatever ``torch.load(weights_only=True)`` can read: tensors, numbers, strings, lists and dicts of them.
    """
    if path.exists():
        return
    temporary = begin_checkpoint(path)
    save_weights(model, temporary / WEIGHTS)
    torch.save(state, temporary / STATE)
    finish_checkpoint(temporary, path)


def begin_checkpoint(path: Path) -> Path:
    """Make an empty directory beside a checkpoint's final place, to build it in."""
    temporary = path.with_name(path.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def finish_checkpoint(temporary: Path, path: Path) -> None:
    """Write the manifest of everything in a directory, flush it to the disk and move it to the checkpoint's place."""
    files = sorted(file for file in temporary.rglob("*") if file.is_file())
    manifest = {file.relative_to(temporary).as_posix(): file_sha256(file) for file in files}
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for file in (*files, temporary / MANIFEST):
        flush(file)
    for folder in {file.parent for file in files} | {temporary}:
        flush(folder)
    temporary.rename(path)
    flush(path.parent)


def load_checkpoint(path: Path, model: nn.Module) -> dict[str, Any]:
    """Verify a checkpoint, load its weights into the model and return the rest of its state.

    Raises:
        DamagedCheckpointError: a file is missing or differs from the manifest.
        ValueError: the weights are those of another model.
    """
    verify(path)
    load_weights(model, path / WEIGHTS)
    return torch.load(path / STATE, map_location="cpu", weights_only=True)


def verify(path: Path) -> None:
    """Compare a checkpoint with its manifest.

    Raises:
        DamagedCheckpointError: names what is missing or different.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name in sorted({WEIGHTS, STATE, *manifest}):
            if file_sha256(path / name) != manifest[name]:
                raise DamagedCheckpointError(f"{path / name} is damaged: its content does not match the manifest")
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DamagedCheckpointError):
            raise
        raise DamagedCheckpointError(f"{path} is incomplete: {error}") from error


def newest_checkpoint(folder: Path, kind: str = LAST) -> tuple[Path | None, list[str]]:
    """Find the newest complete checkpoint of a run.

    Args:
        folder: the run's output folder.
        kind: :data:`LAST` or :data:`BEST`.

    Returns:
        Its path, or None if there is none, and a message for each newer one that was damaged and passed over.
    """
    problems = []
    for path in sorted(complete(folder, kind), reverse=True):
        try:
            verify(path)
        except DamagedCheckpointError as error:
            problems.append(f"passed over: {error}")
            continue
        return path, problems
    return None, problems


def checkpoint_folder(folder: Path, step: int, kind: str = LAST) -> Path:
    """The directory of a step's checkpoint; names sort as steps do."""
    return folder / f"{kind}{step:09d}"


def complete(folder: Path, kind: str) -> list[Path]:
    """The checkpoints whose writing was finished, oldest first."""
    return sorted(path for path in folder.glob(f"{kind}*") if path.is_dir() and path.suffix != ".tmp")


def keep_newest(folder: Path, count: int, kind: str = LAST) -> None:
    """Delete all but the newest checkpoints of a kind, and what a killed save left behind."""
    for path in [*complete(folder, kind)[:-count], *folder.glob(f"{kind}*.tmp")]:
        shutil.rmtree(path, ignore_errors=True)


def random_state() -> dict[str, Any]:
    """The state of every random generator, as values that ``weights_only`` loading accepts."""
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Ask the operating system to write a file or directory to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Checkpoints: directories that are complete or not there, and that execute nothing when loaded.

A checkpoint holds the weights (safetensors, ties stripped), the rest of the run's state (loadable with
``weights_only=True``) and a manifest with the SHA-256 of every file, written last. It is built beside its final place,
flushed to the disk and renamed, so a kill at any instant leaves either the old state or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from plm_core.objectives.base import Batch
from plm_core.weights import load_weights, save_weights

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
STATE = "state.pt"
LAST = "step-"
BEST = "best-"


class DamagedCheckpointError(ValueError):
    """A checkpoint that is incomplete or whose content does not match its manifest."""


def save_checkpoint(path: Path, model: nn.Module, state: dict[str, Any]) -> None:
    """Write a checkpoint directory; one of the same name that is complete is left as it is.

    Args:
        path: the directory to make.
        model: its weights are stored; ties that the model declares by ``tied_weights()`` are stored once.
        state: whatever ``torch.load(weights_only=True)`` can read: tensors, numbers, strings, lists and dicts of them.

    Raises:
        OSError: it could not be written, for example to a full disk; earlier checkpoints are as they were.
    """
    if exists_complete(path):
        return
    with writing(path):
        temporary = begin_checkpoint(path)
        save_weights(model, temporary / WEIGHTS)
        save_state(state, temporary / STATE)
        finish_checkpoint(temporary, path)


def exists_complete(path: Path) -> bool:
    """Whether there is a complete checkpoint of that name; a damaged one is deleted to make place for another."""
    try:
        verify(path)
    except DamagedCheckpointError:
        delete(path)
        return False
    return True


def begin_checkpoint(path: Path) -> Path:
    """Make an empty directory beside a checkpoint's final place, to build it in."""
    temporary = path.with_name(path.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write a checkpoint into one message, and give back the space of what was written."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)
        reason = " ".join(str(error).split())
        free = shutil.disk_usage(path.parent).free / 2**20 if path.parent.is_dir() else 0.0
        raise OSError(
            f"could not save {path}: {reason}; {free:,.0f} MiB are free there. Earlier checkpoints are as they were: "
            "make room, then continue from the newest one"
        ) from error


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write plain values and tensors to a file."""
    with path.open("wb") as file:  # through Python, so that a full disk is reported as what it is
        torch.save(state, file)


def load_state(path: Path) -> dict[str, Any]:
    """Read a file of :func:`save_state`; nothing in it is executed.

    Raises:
        ValueError: the file holds something other than plain values and tensors.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was not loaded: it holds more than plain values and tensors, which could execute code. It was not "
            "written by this library, or was changed since"
        ) from error


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
    return load_state(path / STATE)


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
    """The checkpoints whose writing was finished, oldest first; some may be damaged since."""
    return sorted(path for path in folder.glob(f"{kind}*") if path.is_dir() and path.suffix != ".tmp")


def begin_run(folder: Path, step: int) -> None:
    """Make the folder of a run, and make sure that a new run does not mix with another one's checkpoints.

    The best weights of an attempt that ended before its first save are deleted: nothing else is left of it.

    Args:
        folder: the run's output folder.
        step: where the run continues; 0 for a new one.

    Raises:
        FileExistsError: a new run, and the folder holds one that can be continued.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if step:
        return
    if complete(folder, LAST):
        raise FileExistsError(f"{folder} already holds a run: resume it, or choose another folder for a new one")
    for path in complete(folder, BEST):
        delete(path)


def keep_newest(folder: Path, count: int, kind: str = LAST) -> None:
    """Delete all but the newest checkpoints of a kind, and what a killed save left behind."""
    for path in complete(folder, kind)[:-count]:
        delete(path)
    for path in folder.glob(f"{kind}*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def delete(path: Path) -> None:
    """Delete a checkpoint; it loses its name first, so that a kill in between leaves no half of one."""
    if path.exists():
        doomed = path.with_name(path.name + ".old.tmp")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def batch_digest(batch: Batch) -> str:
    """A SHA-256 of a batch's names and values, by which data are known again."""
    digest = hashlib.sha256()
    for name in sorted(batch):
        value = batch[name].detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {value.dtype} {tuple(batch[name].shape)}".encode())
        digest.update(value.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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

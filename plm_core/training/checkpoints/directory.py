"""Checkpoints as directories that are complete or absent, and that execute nothing when they are loaded.

A checkpoint holds the weights (safetensors, ties stripped), the rest of the run's state (loadable with
``weights_only=True``) and a manifest with the SHA-256 of every file, written last. It is built beside its final place,
flushed to the disk and renamed, so a kill at any instant leaves either the old state or the new one. The manifest also
proves that this program wrote the directory: anything else of the same name is left alone.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from plm_core.ownership import delete_own, file_sha256, flush, marker, read_marker
from plm_core.training.checkpoints.state import load_state, save_state
from plm_core.weights import load_weights, save_weights

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
STATE = "state.pt"
LAST = "step-"
BEST = "best-"
KIND = "checkpoint 1"
UNFINISHED = "unfinished.json"
"""Marks a directory in which a checkpoint is being built."""
UNFINISHED_KIND = "unfinished checkpoint 1"
NAME = re.compile(r"(step-|best-)(\d{9,})(\.old)?(\.tmp)?", re.ASCII)
"""Names of checkpoints and of what a killed save or deletion leaves behind. Files with other names are ignored."""


class DamagedCheckpointError(ValueError):
    """A checkpoint that is incomplete or whose content does not match its manifest."""


def checkpoint_folder(folder: Path, step: int, kind: str = LAST) -> Path:
    """The directory of a step's checkpoint; names sort as steps do."""
    return folder / f"{kind}{step:09d}"


def checkpoint_step(path: Path) -> int:
    """The step of a checkpoint, from its name."""
    return int(path.name.rpartition("-")[2])


def complete(folder: Path, kind: str) -> list[Path]:
    """The checkpoints whose writing was finished, oldest first; some may be damaged since."""
    return sorted(path for path, match in named(folder) if match[1] == kind and not match[4] and not path.is_symlink())


def named(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """The directories in a folder that have a name of a checkpoint, or of a part of one."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if (match := NAME.fullmatch(path.name)) and path.is_dir():
            yield path, match


@contextlib.contextmanager
def new_checkpoint(path: Path) -> Iterator[Path]:
    """Build a checkpoint: yields an empty directory, which takes the checkpoint's place when the block ends.

    Raises:
        OSError: it could not be written, for example to a full disk. What was written is deleted again; earlier
            checkpoints are as they were.
    """
    draft = path.with_name(path.name + ".tmp")
    try:
        make_room(path)
        clear_draft(draft)
        draft.mkdir(parents=True)
        (draft / UNFINISHED).write_bytes(marker(UNFINISHED_KIND, {}))
        yield draft
        finish_checkpoint(draft, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            clear_draft(draft)
        reason = " ".join(str(error).split())
        free = shutil.disk_usage(path.parent).free / 2**20 if path.parent.is_dir() else 0.0
        raise OSError(
            f"could not save {path}: {reason}; {free:,.0f} MiB are free there. Earlier checkpoints are as they were: "
            "make room, then continue from the newest one"
        ) from error


def finish_checkpoint(draft: Path, path: Path) -> None:
    """Write the manifest of everything in a directory, flush it to the disk and move it to the checkpoint's place."""
    files = sorted(file for file in draft.rglob("*") if file.is_file() and file.name not in (UNFINISHED, MANIFEST))
    hashes = {file.relative_to(draft).as_posix(): file_sha256(file) for file in files}
    (draft / MANIFEST).write_bytes(marker(KIND, hashes))
    for file in (*files, draft / MANIFEST):
        flush(file)
    (draft / UNFINISHED).unlink()
    for folder in {file.parent for file in files} | {draft}:
        flush(folder)
    draft.rename(path)
    flush(path.parent)


def make_room(path: Path) -> None:
    """Move whatever has the name of a checkpoint that is to be written out of the way; nothing of it is deleted."""
    number = 0
    while path.exists() or path.is_symlink():
        aside = path.with_name(f"{path.name}.damaged" + (f"-{number}" if number else ""))
        if not (aside.exists() or aside.is_symlink()):
            path.rename(aside)
        number += 1


def clear_draft(draft: Path) -> None:
    """Delete what a killed save or deletion has left under a name that ends in ``.tmp``.

    Raises:
        FileExistsError: it was not left by this program.
    """
    if not (draft.exists() or draft.is_symlink()) or delete_own(draft, MANIFEST, KIND):
        return
    if not draft.is_symlink() and is_unfinished(draft):
        shutil.rmtree(draft)
        return
    raise FileExistsError(f"{draft} is in the way and was not written by this program: move it to another place")


def is_unfinished(draft: Path) -> bool:
    """Whether a directory is marked as a checkpoint under construction, or holds no file at all."""
    try:
        read_marker(draft / UNFINISHED, UNFINISHED_KIND)
    except (OSError, ValueError):
        return draft.is_dir() and all(path.is_dir() and not path.is_symlink() for path in draft.rglob("*"))
    return True


def exists_complete(path: Path) -> bool:
    """Whether there is an undamaged checkpoint of that name."""
    try:
        verify(path)
    except DamagedCheckpointError:
        return False
    return True


def save_checkpoint(path: Path, model: nn.Module, state: dict[str, Any]) -> None:
    """Write a checkpoint directory; one of the same name that is complete is left as it is.

    Args:
        path: the directory to make.
        model: its weights are stored; ties that the model declares by ``tied_weights()`` are stored once.
        state: whatever ``torch.load(weights_only=True)`` can read: tensors, numbers, strings, lists and dicts of them.

    Raises:
        OSError: as :func:`new_checkpoint`.
    """
    if not exists_complete(path):
        with new_checkpoint(path) as draft:
            save_weights(model, draft / WEIGHTS)
            save_state(state, draft / STATE)


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
        files = read_marker(path / MANIFEST, KIND)["files"]
        for name in sorted({WEIGHTS, STATE, *files}):
            if (path / name).is_symlink() or file_sha256(path / name) != files[name]:
                raise DamagedCheckpointError(f"{path / name} is damaged: its content does not match the manifest")
    except DamagedCheckpointError:
        raise
    except (OSError, ValueError, KeyError) as error:
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


def check_run_folder(folder: Path, *, new: bool) -> None:
    """Refuse a folder in which a run could not save its checkpoints without harm to other files.

    Args:
        folder: the run's output folder, which need not exist yet.
        new: whether a run begins there; else one is resumed.

    Raises:
        FileExistsError: a new run, and the folder holds one that can be continued, or holds something under the name of
            a checkpoint that this program did not write.
    """
    if not new:
        return
    if [path for path in complete(folder, LAST) if exists_complete(path)]:
        raise FileExistsError(f"{folder} already holds a run: resume it, or choose another folder for a new one")
    for path, match in named(folder):
        ours = is_unfinished(path) if match[4] else False
        if not ours and (path.is_symlink() or not exists_complete(path)):
            raise FileExistsError(
                f"{path} has the name of a checkpoint, but is damaged or was not written by this program: move it to "
                "another place, or choose another output folder"
            )


def begin_run(folder: Path, step: int) -> None:
    """Make the folder of a run, and make sure that a new run does not mix with another one's checkpoints.

    The best weights of an attempt that ended before its first save are deleted: nothing else is left of it.

    Args:
        folder: the run's output folder.
        step: where the run continues; 0 for a new one.

    Raises:
        FileExistsError: as :func:`check_run_folder`.
    """
    check_run_folder(folder, new=not step)
    folder.mkdir(parents=True, exist_ok=True)
    if not step:
        for path in complete(folder, BEST):
            delete(path)


def keep_newest(folder: Path, count: int, kind: str = LAST) -> None:
    """Delete all but the newest checkpoints of a kind, and what a killed save left behind; nothing that is not ours."""
    for path in complete(folder, kind)[:-count]:
        delete(path)
    for path, match in list(named(folder)):
        if match[1] == kind and match[4]:
            with contextlib.suppress(FileExistsError):
                clear_draft(path)


def delete(path: Path) -> None:
    """Delete a checkpoint that is as this program wrote it; any other is left alone.

    It loses its name first, so that a kill in between leaves no half of one.
    """
    doomed = path.with_name(path.name + ".old.tmp")
    with contextlib.suppress(FileExistsError):
        clear_draft(doomed)
        delete_own(path, MANIFEST, KIND, under=doomed)

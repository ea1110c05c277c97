"""The folder of a run: which files in it are the program's, whether they are as written, and who is using it.

``run.json`` lists the SHA-256 of the configuration, the tokenizer and, in a compressed run, the model. It is written
before the files that it lists, so that whatever a killed start has left can be recognised. Checkpoints carry a manifest
of their own (:mod:`plm_core.training.checkpoints.directory`), token files their metadata.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from plm_core.compression.saved import STRUCTURE_FILE
from plm_core.data.tokenizers import Tokenizer
from plm_core.ownership import file_sha256, marker, read_marker, refuse_link, replace_file, sha256
from plm_core.runs.batches import TRAIN, VALID
from plm_core.runs.config import RunConfig
from plm_core.training.checkpoints.directory import LAST, check_run_folder, complete
from plm_core.training.logs import METRICS_FILE, SPEED_FILE

MARKER = "run.json"
KIND = "run 1"
CONFIG_FILE = "config.yaml"
FINE_TUNED_FILE = "fine_tune.yaml"
"""The configuration of a fine-tuned model, in its folder."""
CURVE_FILE = "learning_curve.png"
LOCK_FILE = "in_use.lock"
TOKEN_FILES = (TRAIN, VALID)
WRITTEN_IN_TRAINING = (METRICS_FILE, SPEED_FILE, CURVE_FILE, "tensorboard", *TOKEN_FILES)
"""What training writes besides checkpoints and the files that the marker lists."""


def run_files(config: RunConfig, tokenizer: Tokenizer) -> dict[str, bytes]:
    """What every run's folder holds, by file name: the configuration and the files of the tokenizer."""
    return {CONFIG_FILE: config.to_yaml().encode(), **tokenizer_files(tokenizer)}


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """The files of a tokenizer, by file name."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save(scratch)
        return {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())}


def is_run(folder: Path) -> bool:
    """Whether a folder carries the marker of a run."""
    return (folder / MARKER).is_file()


def require_run(folder: Path) -> dict[str, list[str]]:
    """Read the marker of a run.

    Returns:
        For every file that it lists the hashes that the file may have: one, or two while one version replaces another.

    Raises:
        FileNotFoundError: the folder is not the output of a run.
        ValueError: the marker is damaged.
    """
    if not is_run(folder):
        raise FileNotFoundError(
            f"{folder} is not the output folder of `plm train` or `plm compress`: no {MARKER} in it"
        )
    values = read_marker(folder / MARKER, KIND)
    replaced = values.get("replaced", {})
    if not isinstance(replaced, dict):
        raise ValueError(f"{folder / MARKER} is damaged: 'replaced' must be an object")
    return {name: [hash_, *([replaced[name]] if name in replaced else [])] for name, hash_ in values["files"].items()}


def check_run_files(folder: Path) -> list[str]:
    """Compare configuration, tokenizer and model files of a run with their hashes.

    Returns:
        The names of the files.

    Raises:
        FileNotFoundError: the folder is not the output of a run, or one of its files is missing.
        ValueError: a file was changed since it was written.
    """
    files = require_run(folder)
    for name, hashes in files.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {MARKER} lists it as a part of the run. Restore it")
        if file_sha256(path) not in hashes:
            raise ValueError(
                f"{path} was changed since it was written: its SHA-256 is not the one in {MARKER}. Restore it; for "
                "other settings start a new run"
            )
    return list(files)


def write_run_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files of a run and their marker, which may replace an earlier version of the same files.

    Raises:
        FileExistsError: a file is there that is not the program's own, or a link; nothing was written.
    """
    old = require_run(folder) if is_own_marker(folder / MARKER) else {}
    for name in (*contents, MARKER):
        refuse_foreign(folder / name, old.get(name, []))
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {name: sha256(content) for name, content in contents.items()}
    present = {name: file_sha256(folder / name) for name in contents if (folder / name).is_file()}
    replace_file(folder / MARKER, marker(KIND, hashes, replaced=present))
    for name, content in contents.items():
        if present.get(name) != hashes[name]:
            replace_file(folder / name, content)
    replace_file(folder / MARKER, marker(KIND, hashes))


def refuse_foreign(path: Path, hashes: list[str]) -> None:
    """Refuse a path where something stands that the program did not write.

    Args:
        path: where a file is to be written.
        hashes: the SHA-256 that the program's own file may have; a marker itself is recognised by its content.

    Raises:
        FileExistsError: something else is there.
    """
    refuse_link(path)
    if not path.exists() or (path.name == MARKER and path.is_file() and is_own_marker(path)):
        return
    if not path.is_file() or file_sha256(path) not in hashes:
        raise FileExistsError(
            f"{path} is there already and was not written by this program: move it to another place, or choose another "
            "output folder (output=...)"
        )


def is_own_marker(path: Path) -> bool:
    """Whether a file is the marker of a run."""
    try:
        read_marker(path, KIND)
    except (OSError, ValueError):
        return False
    return True


def check_new_run(folder: Path) -> None:
    """Refuse a folder that a new run cannot use without harm to what is there; nothing is changed.

    Args:
        folder: the output folder, which need not exist.

    Raises:
        FileExistsError: it holds a run, or something of the user's under a name that the run needs.
        NotADirectoryError: it is a file.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder: choose another output folder (output=...)")
    old = require_run(folder) if is_own_marker(folder / MARKER) else {}
    if old and complete(folder, LAST):
        raise FileExistsError(
            f"{folder} already holds a run: continue it with --resume, or choose another folder (output=...)"
        )
    if STRUCTURE_FILE in old:
        raise FileExistsError(f"{folder} holds a compressed run: choose another folder (output=...)")
    check_run_folder(folder, new=True)
    for name in (CONFIG_FILE, "tokenizer.json", MARKER):
        refuse_foreign(folder / name, old.get(name, []))
    check_written_in_training(folder, new=not old)


def check_written_in_training(folder: Path, *, new: bool) -> None:
    """Refuse links under the names that training writes; for a new run, refuse anything under these names.

    Raises:
        FileExistsError: there is such a thing.
    """
    for path in (folder / name for name in WRITTEN_IN_TRAINING):
        refuse_link(path)
        if new and path.exists():
            raise FileExistsError(
                f"{path} is there already and belongs to no run: move it to another place, or choose another output "
                "folder (output=...)"
            )
    refuse_link(folder / LOCK_FILE)


@contextlib.contextmanager
def only_user(folder: Path) -> Iterator[None]:
    """Hold a lock on a run's folder; the operating system releases it however the process ends.

    The lock is a file. It is deleted at the end of the block unless it was there before, together with folders that
    were made for it and are still empty: a run that is refused leaves nothing behind.

    Raises:
        FileExistsError: another process holds it, or a link is in its place.
    """
    try:
        import fcntl
    except ImportError:  # no advisory locks on this system
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / LOCK_FILE
    refuse_link(lock)
    found = lock.exists()
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not lock.exists() or not os.path.samestat(os.fstat(descriptor), lock.stat()):  # its holder has deleted it
            raise BlockingIOError(errno.EAGAIN, "the lock has changed hands")
    except OSError as error:
        os.close(descriptor)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        raise FileExistsError(f"{folder} is in use by another `plm train`: wait for it, or choose another") from None
    try:
        yield
    finally:
        if not found:
            lock.unlink(missing_ok=True)
        os.close(descriptor)
        with contextlib.suppress(OSError):  # a folder that is not empty stays
            for path in made:
                path.rmdir()

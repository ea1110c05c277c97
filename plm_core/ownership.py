"""Files and folders that a command may replace or delete: only those that it can prove to have written itself.

A folder that this program writes carries a marker, a JSON file with the program's name, the version of the format and
the SHA-256 of every other file in it. A file that the marker does not list, or whose content is another one by now,
belongs to the user, and so does everything behind a symbolic link.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plm_core.files import read_json_object, require_file

PROGRAM = "plm-core"


def marker(kind: str, files: Mapping[str, str], **more: Any) -> bytes:
    """The content of a marker.

    Args:
        kind: what the folder is, with the version of its format: ``"checkpoint 1"``.
        files: the SHA-256 of every other file by its path in the folder, with slashes.
        more: further entries.
    """
    values = {"program": PROGRAM, "kind": kind, "files": dict(files), **more}
    return (json.dumps(values, indent=1) + "\n").encode()


def read_marker(path: Path, kind: str) -> dict[str, Any]:
    """The entries of a marker; those under ``files`` are names with their SHA-256.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, was written by another program or describes another kind of folder.
    """
    refuse_link(path)
    values = read_json_object(path, "marker")
    if values.get("program") != PROGRAM or not isinstance(values.get("kind"), str):
        raise ValueError(f"{path} was not written by {PROGRAM}")
    if values["kind"] != kind:
        raise ValueError(f"{path} describes a {values['kind']!r}, expected a {kind!r}")
    files = values.get("files")
    if not isinstance(files, dict) or not all(is_inside(name) and isinstance(files[name], str) for name in files):
        raise ValueError(f"{path} is damaged: expected file names in the folder with their SHA-256")
    return values


def is_inside(name: str) -> bool:
    """Whether a path with slashes leads to a file within its folder."""
    parts = name.split("/")
    return bool(name) and not Path(name).is_absolute() and not {"", ".", ".."} & set(parts) and "\0" not in name


def refuse_link(path: Path) -> None:
    """Raise FileExistsError if a symbolic link stands where a file or folder should be written or read."""
    if path.is_symlink():
        raise FileExistsError(f"{path} is a symbolic link: nothing is written or deleted through one. Remove it first")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside its place first, flushed to the disk, then renamed.

    Raises:
        FileExistsError: a symbolic link is in the way.
    """
    refuse_link(path)
    draft = path.with_name(f".{path.name}.part")
    refuse_link(draft)
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def own_files(folder: Path, files: Mapping[str, str], marker_name: str) -> list[Path] | None:
    """The files of a folder if all of them are as the marker lists them; some may be missing.

    Args:
        folder: the folder.
        files: what its marker lists.
        marker_name: the name of the marker itself, which may be there as well.

    Returns:
        The files without the marker; None if the folder or anything in it is a symbolic link, is not listed or has
        another content.
    """
    if folder.is_symlink() or not folder.is_dir():
        return None
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            return None
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name == marker_name:
            continue
        if name not in files or file_sha256(path) != files[name]:
            return None
        found.append(path)
    return found


def delete_own(folder: Path, marker_name: str, kind: str, *, under: Path | None = None) -> bool:
    """Delete a folder if its marker proves every file in it to be the program's own; the marker goes last.

    Args:
        folder: the folder.
        marker_name: the name of its marker.
        kind: the kind of folder that the marker must name.
        under: a name that the folder takes before its files are deleted, so that a kill in between leaves no half of
            it under its own.

    Returns:
        Whether it is gone; else nothing was deleted.
    """
    try:
        files = read_marker(folder / marker_name, kind)["files"]
    except (OSError, ValueError):
        return False
    found = own_files(folder, files, marker_name)
    if found is None:
        return False
    if under is not None:
        folder.rename(under)
        found, folder = [under / path.relative_to(folder) for path in found], under
    for path in found:
        path.unlink()
    (folder / marker_name).unlink()
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        inner.rmdir()
    folder.rmdir()
    return True


def sha256(content: bytes) -> str:
    """The SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a pipe or a device, whose content may never end.
    """
    with require_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Ask the operating system to write a file or directory to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Reading what is inside .zip and .gz files, without trusting them."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast


@contextmanager
def open_member(archive: Path, name: str) -> Iterator[BinaryIO]:
    """Open one member of a zip archive for reading, without unpacking anything.

    Args:
        archive: the archive.
        name: the member's name in it.

    Raises:
        ValueError: the archive is damaged or truncated, holds a name that leads out of it, or has no such member.
    """
    with _damage_explained(archive), zipfile.ZipFile(archive) as opened:
        members = safe_members(opened, archive)
        if name not in members:
            raise ValueError(f"{archive} has no member {name!r}: it holds {', '.join(members) or 'nothing'}")
        with opened.open(name) as member:
            yield cast(BinaryIO, member)


@contextmanager
def open_gzip(path: Path) -> Iterator[BinaryIO]:
    """Open a gzip file for reading.

    Raises:
        ValueError: the file is damaged or truncated.
    """
    with _damage_explained(path), gzip.open(path) as opened:
        yield cast(BinaryIO, opened)


def extract_member(archive: Path, name: str, path: Path) -> Path:
    """Unpack one member of a zip archive to a path, whole or not at all; a file that is there already is kept.

    Raises:
        ValueError: as :func:`open_member`.
    """
    if path.is_file():
        return path
    part = path.with_name(path.name + ".part")
    try:
        with open_member(archive, name) as member, open(part, "wb") as target:
            shutil.copyfileobj(member, target, 2**20)
            target.flush()
            os.fsync(target.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def safe_members(opened: zipfile.ZipFile, archive: Path) -> list[str]:
    """The names of an archive's files, after a look at all of them.

    Raises:
        ValueError: a name is absolute, has ``..`` in it or belongs to a link: such an archive was made to write
            outside the folder into which it is unpacked.
    """
    names = []
    for info in opened.infolist():
        original = info.orig_filename.replace("\\", "/")
        path = PurePosixPath(original)
        link = stat.S_ISLNK(info.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or ":" in original.split("/")[0] or link:
            raise ValueError(
                f"{archive} is not safe: its member {info.orig_filename!r} leads out of the archive. "
                f"Nothing was unpacked; get the archive from its owner again"
            )
        if not info.is_dir():
            names.append(info.filename)
    return names


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is damaged or truncated ({error}): delete it and fetch it again") from error

"""Reading what is inside .zip and .gz files, without trusting them."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from plm_core.files import require_file

FREE_BYTES = 64 * 2**20
"""So much of an archive is unpacked whatever its size."""
MAX_RATIO = 200
"""Beyond that, the largest ratio of unpacked to packed bytes. Text reaches 3 to 10, a file made to fill disks 1,000."""

ENCRYPTED = 0x1
"""The bit of a member's flags that marks it as encrypted."""


@contextmanager
def open_member(archive: Path, name: str) -> Iterator[BinaryIO]:
    """Open one member of a zip archive for reading, without unpacking anything.

    Args:
        archive: the archive.
        name: the member's name in it.

    Raises:
        FileNotFoundError: no such archive.
        ValueError: the archive is damaged, truncated, encrypted or packed by a method that is not known here, holds a
            name that leads out of it, or has no such member.
    """
    with _damage_explained(archive), zipfile.ZipFile(require_file(archive, "archive")) as opened:
        members = safe_members(opened, archive)
        if name not in members:
            raise ValueError(f"{archive} has no member {name!r}: it holds {', '.join(members) or 'nothing'}")
        if opened.getinfo(name).flag_bits & ENCRYPTED:
            raise ValueError(f"{archive} is encrypted: unpack it with its password and name the file inside")
        with opened.open(name) as member:
            yield cast(BinaryIO, member)


@contextmanager
def open_only_member(archive: Path) -> Iterator[BinaryIO]:
    """Open a zip archive of one file for reading.

    Raises:
        FileNotFoundError: no such archive.
        ValueError: as :func:`open_member`, an archive of several files or of none, or one that unpacks to far more
            than text does.
    """
    with _damage_explained(archive), zipfile.ZipFile(require_file(archive, "archive")) as opened:
        members = safe_members(opened, archive)
    if len(members) != 1:
        raise ValueError(f"{archive} holds {len(members)} files, expected one: unpack it and name the files you want")
    with open_member(archive, members[0]) as member:
        yield cast(BinaryIO, _Bounded(member, archive))


@contextmanager
def open_gzip(path: Path) -> Iterator[BinaryIO]:
    """Open a gzip file for reading.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or truncated, or unpacks to far more than text does.
    """
    with _damage_explained(path), gzip.open(require_file(path, "archive")) as opened:
        yield cast(BinaryIO, _Bounded(cast(BinaryIO, opened), path))


class _Bounded(io.RawIOBase):
    """A stream of unpacked bytes that ends with an error where it grows beyond what text of its size could be."""

    def __init__(self, stream: BinaryIO, archive: Path) -> None:
        super().__init__()
        self.stream, self.archive, self.seen = stream, archive, 0
        self.limit = FREE_BYTES + MAX_RATIO * archive.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the stream goes.

        Raises:
            ValueError: more bytes came out than the limit.
        """
        content = self.stream.read(len(buffer))
        buffer[: len(content)] = content
        self.seen += len(content)
        if self.seen > self.limit:
            raise ValueError(
                f"{self.archive} unpacks to more than {MAX_RATIO} times its size: text does not, so it is not read on. "
                "If it is yours, unpack it and name the file inside"
            )
        return len(content)


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
    """The names of an archive's files, all of which are checked.

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
    except (zipfile.BadZipFile, zipfile.LargeZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        reason = str(error) or "it ends too early"
        raise ValueError(f"{path} is damaged or truncated ({reason}): delete it and fetch it again") from error
    except (NotImplementedError, struct.error, IndexError, OverflowError) as error:  # of zipfile, for odd headers
        raise ValueError(f"{path} is damaged or packed by an unknown method ({error}): pack it again") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # bz2 raises one without a number, a place before the file EINVAL
            raise
        raise ValueError(f"{path} is damaged or truncated ({error}): delete it and fetch it again") from error

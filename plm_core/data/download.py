"""Fetching a file once: resumable, verified, atomic, with a progress bar. pooch keeps the cache.

A file arrives in ``NAME.part`` beside its place. A cut connection leaves the part there, and the next attempt requests
only the rest. The whole is verified against the registry's SHA-256 before it takes its name, so a file under
its final name is always complete.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pooch
import requests
from tqdm.auto import tqdm

from plm_core.data.registry import Corpus, RemoteFile

CHUNK_BYTES = 2**14
TIMEOUT_SECONDS = 30


def data_folder() -> Path:
    """The folder of all corpora: the environment variable ``PLM_DATA_DIR``, else the system's cache folder."""
    return Path(os.environ.get("PLM_DATA_DIR") or pooch.os_cache("plm-core"))


def fetch_corpus(corpus: Corpus, *, progress: bool = True) -> list[Path]:
    """Fetch every file of a corpus that is not in the cache yet; see :func:`fetch`."""
    return [fetch(file, data_folder() / corpus.name, progress=progress) for file in corpus.files]


def fetch(file: RemoteFile, folder: Path, *, progress: bool = True) -> Path:
    """Return the local copy of a file, downloading it if there is none or if the one there is damaged.

    Args:
        file: name, address, checksum and length.
        folder: where the copy lies or is put.
        progress: show a progress bar.

    Returns:
        The path of a file whose SHA-256 is the expected one.

    Raises:
        ValueError: what the server sent has another checksum.
        ConnectionError: the server cannot be reached or refuses; what arrived is kept for the next attempt.
        PermissionError: the folder cannot be written.
        OSError: the disk is full.
    """
    path = folder / file.name
    with _explain_write_errors(file, folder):
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and pooch.file_hash(str(path)) == file.sha256:
            return path
        pooch.get_logger().setLevel("WARNING")  # the progress bar is enough
        try:
            pooch.retrieve(
                file.url,
                known_hash=f"sha256:{file.sha256}",
                fname=file.name,
                path=folder,
                downloader=_Resuming(file, folder / f"{file.name}.part", progress),
            )
        except requests.RequestException as error:
            part = folder / f"{file.name}.part"
            kept = part.stat().st_size if part.is_file() else 0
            raise ConnectionError(
                f"could not fetch {file.url}: {_reason(error)}. {kept:,} of {file.bytes:,} bytes are here and kept; "
                f"run this again with a network, or put the file at {path} yourself (SHA-256 {file.sha256})"
            ) from error
    return path


class _Resuming:
    """A downloader for pooch that continues a partial file and verifies the whole before handing it over."""

    def __init__(self, file: RemoteFile, part: Path, progress: bool) -> None:
        self.file, self.part, self.progress = file, part, progress

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        before = -1
        while (have := self.part.stat().st_size if self.part.is_file() else 0) < self.file.bytes:
            if have <= before:
                raise requests.ConnectionError(f"the connection ended after {have:,} of {self.file.bytes:,} bytes")
            before = have
            with contextlib.suppress(requests.exceptions.ChunkedEncodingError):  # cut: go on where it ended
                self._receive(url, have)
        found = pooch.file_hash(str(self.part))
        if found != self.file.sha256:
            self.part.unlink()
            raise ValueError(
                f"checksum mismatch: {url} sent SHA-256 {found}, expected {self.file.sha256}. Nothing was kept; "
                f"try again, and if it happens again the file at that address has changed"
            )
        os.replace(self.part, output_file)

    def _receive(self, url: str, have: int) -> None:
        """Append what the server sends after the first ``have`` bytes; start over if it cannot send a range."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS, headers=headers) as response:
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            start = have if resumed else 0
            bar = tqdm(
                total=self.file.bytes, initial=start, desc=self.file.name, unit="B", unit_scale=True,
                disable=not self.progress,
            )  # fmt: skip
            with bar, open(self.part, "ab" if resumed else "wb") as part:
                for chunk in response.iter_content(CHUNK_BYTES):
                    part.write(chunk)
                    bar.update(len(chunk))


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_SECONDS} s"
    if "the connection ended" in str(error):
        return str(error)
    return "no connection to the server (is there a network?)"


@contextlib.contextmanager
def _explain_write_errors(file: RemoteFile, folder: Path) -> Iterator[None]:
    """The error for a cache that cannot be written, with what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(
                errno.ENOSPC,
                f"the disk of {folder} is full: {file.name} needs {file.bytes / 1e6:.1f} MB; "
                f"free some space or set PLM_DATA_DIR to a folder on another disk",
            ) from error
        if isinstance(error, PermissionError | FileExistsError | NotADirectoryError) or error.errno == errno.EROFS:
            raise PermissionError(
                errno.EACCES, f"cannot write to the cache folder {folder}: set PLM_DATA_DIR to a folder of your own"
            ) from error
        raise

"""What the tests of data share: an empty cache folder, a local server, and the real files where they are at hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REAL_FILES = Path(os.environ.get("PLM_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, in force for the test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PLM_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def real_files(cache: Path) -> Path:
    """The data folder filled from the folder of real files."""
    if not REAL_FILES.is_dir():
        pytest.skip(f"needs the corpora's real files in {REAL_FILES} (or where PLM_TEST_DATA points)")
    places = {"wikitext-2": "wikitext-2", "tinyshakespeare": "tinyshakespeare", "multi30k": "multi30k"}
    places |= {"sentence-polarity": "nltk", "conll2002": "nltk", "trec-questions": "nltk"}
    for corpus, place in places.items():
        (cache / corpus).mkdir(parents=True)
        for file in (REAL_FILES / place).iterdir():
            (cache / corpus / file.name).symlink_to(file)
    return cache


class Server:
    """A file server on this machine that can cut connections, ignore ranges and count what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_after: list[int] = []
        """For each coming response, after how many bytes of its body the connection ends."""
        self.supports_ranges = True
        self.requested_ranges: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = server.files.get(self.path.lstrip("/"))
                requested = self.headers.get("Range")
                server.requested_ranges.append(requested)
                if body is None:
                    self.send_error(404)
                    return
                start = 0
                if requested and server.supports_ranges:
                    start = int(requested.removeprefix("bytes=").removesuffix("-"))
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                else:
                    self.send_response(200)
                rest = body[start:]
                self.send_header("Content-Length", str(len(rest)))
                self.end_headers()
                self.wfile.write(rest[: server.cut_after.pop(0)] if server.cut_after else rest)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}/"


@pytest.fixture
def server() -> Iterator[Server]:
    """A running :class:`Server`."""
    running = Server()
    thread = threading.Thread(target=running.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.http.shutdown()
    thread.join()
    running.http.server_close()

"""A file server on this machine for tests of downloads."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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

"""A web server of a test's own, with ranges, entity tags and all the ways in which servers fail."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Web:
    """Serves the files of `root`.

    Attributes:
        cut: after so many bytes of a body the connection is cut, once for each element.
        failing: statuses that are sent, one a request, before anything else.
        ranges: whether parts can be had.
        requests: what was asked for: path, and range or empty.
        pages: every path that is not there has a page, with status 200.
    """

    root: Path
    cut: list[int] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)
    ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    pages: bool = False
    url: str = ""

    def asked(self, path: str) -> list[str]:
        """Ranges of the requests for a path, in order; empty for all of it."""
        return [range_ for one, range_ in self.requests if one == path]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        web = self.web
        web.requests.append((self.path, self.headers.get("Range", "")))
        self.close_connection = True
        if web.failing:
            self.send_error(web.failing.pop(0))
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = web.root / self.path.lstrip("/")
        if path.is_file():
            self._send(path.read_bytes())
        elif web.pages:
            self._answer(200, b"<!DOCTYPE html><title>Not here</title>" + b" " * 1000, {})
        else:
            self.send_error(404)

    def _send(self, data: bytes) -> None:
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        begin, status, headers = 0, 200, {"ETag": tag}
        wanted = self.headers.get("Range", "")
        if self.web.ranges and wanted and self.headers.get("If-Range", tag) == tag:
            begin, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self._answer(status, data[begin:], headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.web.cut and len(body) > self.web.cut[0]:
            self.wfile.write(body[: self.web.cut.pop(0)])
            self.wfile.flush()
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Web]:
    """A server of the files in a directory."""
    web = Web(root)
    handler: Any = type("Handler", (_Handler,), {"web": web})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        web.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()

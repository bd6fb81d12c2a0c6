"""A web server of a test's own, with ranges, entity tags and all the ways in which servers fail."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import ssl
import threading
import time
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
        moved: what is elsewhere: path, and address.
        absent: the status of what is not there.
        shift: parts begin so many bytes after where they should.
        pieces: bytes of a body that are sent at once; after each the server rests for `rest` seconds.
    """

    root: Path
    cut: list[int] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)
    ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    pages: bool = False
    moved: dict[str, str] = field(default_factory=dict)
    absent: int = 404
    shift: int = 0
    pieces: int | None = None
    rest: float = 0.0
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
        if (moved := {"/loop": "/loop", **web.moved}.get(self.path)) is not None:
            self.send_response(302)
            self.send_header("Location", moved)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = web.root / self.path.partition("?")[0].lstrip("/")
        if path.is_file():
            self._send(path.read_bytes())
        elif web.pages:
            self._answer(200, b"<!DOCTYPE html><title>Not here</title>" + b" " * 1000, {})
        else:
            self.send_error(web.absent)

    def _send(self, data: bytes) -> None:
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        begin, status, headers = 0, 200, {"ETag": tag}
        wanted = self.headers.get("Range", "")
        if self.web.ranges and wanted and self.headers.get("If-Range", tag) == tag:
            begin, status = int(wanted.removeprefix("bytes=").rstrip("-")) + self.web.shift, 206
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
            size = self.web.pieces or len(body) or 1
            for begin in range(0, len(body), size):
                self.wfile.write(body[begin : begin + size])
                if self.web.rest:
                    self.wfile.flush()
                    time.sleep(self.web.rest)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(root: Path, certificate: Path | None = None) -> Iterator[Web]:
    """A server of the files in a directory, by https if it has a certificate, which is of `localhost`."""
    web = Web(root)
    handler: Any = type("Handler", (_Handler,), {"web": web})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        web.url = f"{'https://localhost' if certificate else 'http://127.0.0.1'}:{server.server_port}"
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()

"""The server of packages: a program of its own, which runs where the gateway of the machines is.

    python -m ovirtlago.packages.server ADDRESS PORT ROOT

It says one line of JSON, `{"ok": true}` or `{"error": text}`, and serves until its standard input ends, which it does
when whoever started it ends, in whatever way.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import socketserver
import sys
import threading
from functools import partial
from http import HTTPStatus
from typing import IO, Any, Final
from urllib.parse import urlsplit

_IDLE: Final = 60
"""Seconds after which a connection without a request is closed."""

_CHUNK: Final = 1 << 18
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a directory, or parts of them (`Range`), and says nothing about it."""

    protocol_version = "HTTP/1.1"
    server_version = "lago"
    timeout = _IDLE

    def translate_path(self, path: str) -> str:
        """The file of an address; one that is not there for what leads out of the directory, by whatever link."""
        found = os.path.realpath(super().translate_path(path))
        root = os.path.realpath(self.directory)
        return found if found == root or found.startswith(root + os.sep) else os.path.join(root, ".outside", "nothing")

    def send_head(self) -> Any:
        """Send the head of an answer; the file to send after it, at its place, if there is one."""
        self._left: int | None = None
        path = self.translate_path(self.path)
        if os.path.isdir(path) and urlsplit(self.path).path.endswith("/"):
            # Never an index.html, which may be a link that leads out.
            return self.list_directory(path)
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is None or not any(wanted.groups()) or not os.path.isfile(path) or self._changed_since(path):
            return super().send_head()
        try:
            file = open(path, "rb")  # noqa: SIM115 - the caller closes it
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return self._send_part(file, *wanted.groups())

    def _changed_since(self, path: str) -> bool:
        """Whether who asks for a part has the beginning of another file."""
        date = self.headers.get("If-Range")
        return date is not None and date != self.date_time_string(int(os.path.getmtime(path)))

    def _send_part(self, file: IO[bytes], first: str, last: str) -> IO[bytes] | None:
        status = os.fstat(file.fileno())
        size = status.st_size
        # Without a first byte it is the number of bytes at the end.
        begin = int(first) if first else max(0, size - int(last))
        end = min(int(last), size - 1) if first and last else size - 1
        if begin > end:
            file.close()
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self._left = end - begin + 1
        file.seek(begin)
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(file.name))
        self.send_header("Content-Range", f"bytes {begin}-{end}/{size}")
        self.send_header("Content-Length", str(self._left))
        self.send_header("Last-Modified", self.date_time_string(int(status.st_mtime)))
        self.end_headers()
        return file

    def end_headers(self) -> None:
        """Say also that parts can be had."""
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, or the part of it that was asked for."""
        if self._left is None:
            super().copyfile(source, outputfile)
            return
        while self._left and (block := source.read(min(self._left, _CHUNK))):
            outputfile.write(block)
            self._left -= len(block)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server of the directory `root`. Raises OSError if it can't listen there."""

    def __init__(self, address: str, port: int, root: str) -> None:
        super().__init__((address, port), partial(Handler, directory=root))

    def server_bind(self) -> None:
        """Listen, without asking name servers who we are."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def main(address: str, port: str, root: str) -> None:
    """Run the program."""
    try:
        server = Server(address, int(port), root)
    except OSError as error:
        print(json.dumps({"error": error.strerror, "errno": error.errno}), flush=True)
        return
    threading.Thread(target=_end_with_input, daemon=True).start()
    print(json.dumps({"ok": True}), flush=True)
    while True:
        server.handle_request()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""HTTP with machines that the host has no route to: curl is handed connected sockets.

Certificates are verified against the names in addresses, as ever; only where packets go is decided here.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
from collections.abc import Callable
from typing import IO, Final, NamedTuple
from urllib.parse import urlsplit

import pycurl

from lago.errors import LagoError

from ..errors import EngineError

Dial = Callable[[int], socket.socket]
"""Makes a connection to a TCP port of a machine. Raises OSError or LagoError."""

_SCHEMES: Final = ("http", "https")
_STALLED: Final = 60
_ANYWHERE: Final = "127.0.0.1"


class Response(NamedTuple):
    """The answer of a server.

    Attributes:
        code: status of HTTP.
        kind: content type; empty if it says none.
        body: what it sends.
    """

    code: int
    kind: str
    body: bytes


class _Handed:
    """A socket that curl makes a copy of, and that is then closed."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def fileno(self) -> int:
        return self._socket.fileno()

    def __del__(self) -> None:
        self._socket.close()


class Transport:
    """How a machine is reached and trusted.

    Args:
        dial: makes connections to it.
        ca_file: certificates in PEM form that its own must be signed by; None: any will do.
        timeout: seconds that a request may take, or an upload may stand still.
    """

    def __init__(self, dial: Dial, ca_file: str | None, timeout: float = _STALLED) -> None:
        self._dial = dial
        self._ca_file = ca_file
        self._timeout = timeout
        self.failure = ""
        """Why the last connection was not made."""

    def prepare(self, curl: pycurl.Curl, url: str) -> None:
        """Prepare a curl handle to reach the machine under the name that is in the address `url`, and to trust it."""
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise EngineError(f"{url} is no address of a server", hint="only http and https are spoken to machines")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        # Curl wants an address before it asks for a socket.
        curl.setopt(pycurl.RESOLVE, [f"{parts.hostname}:{port}:{_ANYWHERE}"])
        curl.setopt(pycurl.PROXY, "")
        # Curl takes addresses of files as well, and a machine tells us some.
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, lambda _purpose, _address: self._open(port))
        curl.setopt(pycurl.SOCKOPTFUNCTION, lambda _fd, _purpose: pycurl.SOCKOPT_ALREADY_CONNECTED)
        curl.setopt(pycurl.SSL_VERIFYPEER, 0 if self._ca_file is None else 1)
        curl.setopt(pycurl.SSL_VERIFYHOST, 0 if self._ca_file is None else 2)
        if self._ca_file is not None:
            # As text curl takes ASCII alone.
            curl.setopt(pycurl.CAINFO, os.fsencode(self._ca_file))

    def _open(self, port: int) -> _Handed | int:
        try:
            return _Handed(self._dial(port))
        except (OSError, LagoError) as error:
            self.failure = str(error)
            bad: int = pycurl.SOCKET_BAD
            return bad

    def request(self, url: str, form: str | None = None) -> Response:
        """GET an address, or POST a form to it.

        Args:
            url: the address; its host is the machine, by whatever name.
            form: the form, encoded; None for a GET.

        Raises:
            EngineError: the address is none of a server.
            pycurl.error: there is no answer in time, or it can't be trusted.
        """
        body = io.BytesIO()
        with contextlib.closing(pycurl.Curl()) as curl:
            self.prepare(curl, url)
            curl.setopt(pycurl.URL, url)
            curl.setopt(pycurl.TIMEOUT_MS, int(self._timeout * 1000))
            curl.setopt(pycurl.HTTPHEADER, ["Accept: application/json, */*"])
            curl.setopt(pycurl.WRITEFUNCTION, body.write)
            if form is not None:
                curl.setopt(pycurl.COPYPOSTFIELDS, form)
            curl.perform()
            code, kind = curl.getinfo(pycurl.RESPONSE_CODE), curl.getinfo(pycurl.CONTENT_TYPE)
        return Response(code, kind or "", body.getvalue())

    def upload(self, url: str, file: IO[bytes], size: int, on_bytes: Callable[[int], object]) -> Response:
        """PUT a file to an address.

        Args:
            url: the address; its host is the machine, by whatever name.
            file: is read from where it is.
            size: how many bytes of it are sent.
            on_bytes: hears how many bytes have just gone.

        Raises:
            EngineError: the address is none of a server.
            pycurl.error: it broke off or stood still, or the machine can't be trusted.
        """
        body = io.BytesIO()

        def read(number: int) -> bytes:
            data = file.read(number)
            on_bytes(len(data))
            return data

        with contextlib.closing(pycurl.Curl()) as curl:
            self.prepare(curl, url)
            curl.setopt(pycurl.URL, url)
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.INFILESIZE_LARGE, size)
            curl.setopt(pycurl.HTTPHEADER, ["Content-Type: application/octet-stream", "Expect:"])
            curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
            curl.setopt(pycurl.LOW_SPEED_TIME, max(1, int(self._timeout)))
            curl.setopt(pycurl.READFUNCTION, read)
            curl.setopt(pycurl.WRITEFUNCTION, body.write)
            curl.perform()
            code = curl.getinfo(pycurl.RESPONSE_CODE)
        return Response(code, "", body.getvalue())

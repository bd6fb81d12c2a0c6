"""A libvirt that others use too: the system's, or one on another host."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from . import wire
from .reach import reach


class Shared:
    """Any libvirt URI. Guests are reached over the host's own network."""

    shared = True
    memory_dir = None

    def __init__(self, url: str, uuid: str) -> None:
        self._url = url
        self._socket_dir = os.path.join(wire.runtime_base(), uuid[:12])

    @property
    def local(self) -> bool:
        """Whether its machines run on this host."""
        return not urlsplit(self._url).netloc

    @property
    def uri(self) -> str:
        return self._url

    def running(self) -> bool:
        return True

    def ensure(self, nameservers: Sequence[str]) -> None:
        """Nothing to start: it is there, or connecting to it says that it is not."""

    def end(self, grace: float) -> None:  # noqa: ARG002 - only a private one has QEMUs to wait for
        """Not ours to end; only our own sockets go."""
        shutil.rmtree(self._socket_dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self._socket_dir))

    def kill(self, machine: str) -> None:
        """Not ours to end behind libvirt's back."""

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        return reach(address, port, timeout)

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def reached(self, path: str) -> str:
        return path

    def socket_dir(self) -> str:
        os.makedirs(self._socket_dir, mode=0o700, exist_ok=True)
        return self._socket_dir

"""A libvirt that others use too: the system's, or one on another host."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from . import rundir
from .dial import reach
from .protocol import Passed


class Shared:
    """Any libvirt URI. Guests are reached over the host's own network."""

    shared = True
    memory_dir = None
    carriers_dir = None

    def __init__(self, url: str, uuid: str) -> None:
        self._url = url
        self._uuid = uuid

    @property
    def local(self) -> bool:
        """Whether its machines run on this host."""
        return not urlsplit(self._url).netloc

    @property
    def uri(self) -> str:
        return self._url

    @property
    def inner_uri(self) -> str:
        return self._url

    def running(self) -> bool:
        return True

    def lost(self) -> frozenset[str] | None:
        """None: nothing of it is ours to lose."""
        return None

    def refuse_lost(self) -> None:
        """Do nothing: nothing of it is ours to lose."""

    def ensure(self, nameservers: Sequence[str], passed: Callable[[], Sequence[Passed]] = tuple) -> None:
        """Do nothing: it is there, or connecting to it says that it is not."""

    def end(self, grace: float) -> None:  # noqa: ARG002 - only a private one has QEMUs to wait for
        """Remove our own sockets; libvirt itself is not ours to end."""
        rundir.remove(rundir.place(self._uuid), self._uuid)

    def kill(self, machine: str) -> None:
        """Do nothing: machines are not ours to end behind libvirt's back."""

    def process(self, machine: str) -> int | None:
        """None: its machines may be on another host."""

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        return reach(address, port, timeout)

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def give(self, path: str) -> None:
        """Do nothing: it is not for us to say whose it is."""

    def path_from_outside(self, path: str) -> str:
        return path

    def socket_dir(self) -> str:
        path = rundir.place(self._uuid)
        rundir.make(path)
        return path

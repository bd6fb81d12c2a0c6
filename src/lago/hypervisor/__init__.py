"""Where libvirt lives: in namespaces of the prefix's own (`Private`), or anywhere else (`Shared`).

Everything above sees one interface, `Hypervisor`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from ..constants import PRIVATE
from ..paths import Paths

__all__ = ["Hypervisor", "open_hypervisor"]


class Hypervisor(Protocol):
    """A place where libvirt runs and from which guests can be reached."""

    shared: bool
    """Whether other environments are there too, so that subnets must be leased and objects removed one by one."""

    @property
    def local(self) -> bool:
        """Whether its machines run on this host."""

    @property
    def uri(self) -> str:
        """The libvirt connection URI."""

    @property
    def memory_dir(self) -> str | None:
        """Directory in which libvirt keeps the memory of machines, as QEMU sees it; none where it is not ours."""

    def reached(self, path: str) -> str:
        """A path that programs in it see, such that we reach it. Raises HypervisorError when it is not up."""

    def running(self) -> bool:
        """Whether it is up; asking starts nothing."""

    def ensure(self, nameservers: Sequence[str]) -> None:
        """Start it unless it is up. `nameservers` are asked by programs that run in it."""

    def end(self, grace: float) -> None:
        """End it, if it is ours to end, with everything in it; QEMUs get `grace` seconds to finish their writing."""

    def kill(self, machine: str) -> None:
        """End the QEMU of a machine as libvirt names it, without a word to it or to libvirt, if it is ours to end."""

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection to a guest, tried for up to `timeout` seconds. Raises OSError."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` such that it runs where the guests' networks are. Raises HypervisorError when it is not up."""

    def socket_dir(self) -> str:
        """A short directory of this user for sockets that belong to the environment."""


def open_hypervisor(url: str, uuid: str, paths: Paths) -> Hypervisor:
    """The hypervisor of a prefix; nothing is started.

    Args:
        url: `private`, or a libvirt URI.
        uuid: of the prefix.
    """
    if url == PRIVATE:
        from .private import Private

        return Private(uuid, paths)
    from .shared import Shared

    return Shared(url, uuid)

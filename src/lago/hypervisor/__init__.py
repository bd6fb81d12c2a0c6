"""Where libvirt lives: in namespaces of the prefix's own (`Private`), or anywhere else (`Shared`).

Everything above sees one interface, `Hypervisor`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from .. import config
from ..constants import PRIVATE
from ..errors import HypervisorError
from ..paths import Paths
from .protocol import Passed

if TYPE_CHECKING:
    import socket

__all__ = ["Hypervisor", "libvirt_url", "open_hypervisor"]


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
    def inner_uri(self) -> str:
        """The same for programs that `command` runs."""

    @property
    def memory_dir(self) -> str | None:
        """Directory in which libvirt keeps the memory of machines, as QEMU sees it; none where it is not ours."""

    @property
    def carriers_dir(self) -> str | None:
        """Directory for files of ours that machines are to read, as QEMU sees it; none where it is not ours."""

    def path_from_outside(self, path: str) -> str:
        """A path that programs in it see, such that we reach it. Raises HypervisorError when it is not up."""

    def give(self, path: str) -> None:
        """Let what we made where machines have their memory belong to them, as we reach it. Raises OSError."""

    def running(self) -> bool:
        """Whether it is up; asking starts nothing."""

    def lost(self) -> frozenset[str] | None:
        """Names at libvirt of the machines that run, if it lives and can't be asked, since its sockets are gone."""

    def refuse_lost(self) -> None:
        """Raise HypervisorError if it is lost."""

    def ensure(self, nameservers: Sequence[str], passed: Callable[[], Sequence[Passed]] = tuple) -> None:
        """Start it unless it is up.

        Args:
            nameservers: asked by programs that run in it.
            passed: tells what machines are to have of this host; without it they have only what is the prefix's own.
        """

    def end(self, grace: float) -> None:
        """End it, if it is ours to end, with everything in it; QEMUs get `grace` seconds to finish their writing.

        Raises:
            LockTimeout: it did not end; its images are in use.
        """

    def kill(self, machine: str) -> None:
        """End the QEMU of a machine as libvirt names it, without a word to it or to libvirt, if it is ours to end."""

    def process(self, machine: str) -> int | None:
        """Process id, on this host, of the QEMU of a machine as libvirt names it; None if we can't tell."""

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        """Connect to a guest by TCP, tried for up to `timeout` seconds. Raises OSError."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """Command line of `argv` where the guests' networks are. Raises HypervisorError when it is not up."""

    def socket_dir(self) -> str:
        """A short directory of this user for sockets that belong to the environment."""


# A transport and a place, and nothing else: what libvirt's parameters mean differs by driver and release, and among
# them are programs to run (command, netcat) and files to read (keyfile, pkipath, socket). Source: libvirt.org/uri.html
_PLAIN_URI: Final = (
    r"[a-z]+(\+(unix|ssh|tcp|tls|libssh2?))?://([A-Za-z0-9_][\w.-]*@)?([A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\])?(:[0-9]+)?"
    r"(/[\w./-]*)?"
)


def libvirt_url(metadata: Mapping[str, Any], path: str) -> str:
    """Address of the libvirt that a prefix uses.

    Args:
        metadata: of the prefix.
        path: where it stands, for the message.

    Raises:
        HypervisorError: an address that can run programs or read files on this host is not that of the configuration.
    """
    url = metadata.get("libvirt_url", PRIVATE)
    if url != config.get("libvirt_url") and url != PRIVATE and config.get("restrict"):
        raise HypervisorError(
            f"{path} names the libvirt {str(url)[:200]}, and it is restricted",
            hint="leave out --restrict (setting restrict) if you trust the environment, or set libvirt_url to that",
        )
    if url == PRIVATE or url == config.get("libvirt_url") or re.fullmatch(_PLAIN_URI, str(url)):
        return str(url)
    raise HypervisorError(
        f"{path} names a libvirt by more than a host: {str(url)[:200]}",
        details="such an address can run programs and read files here, so it must be that of your configuration",
        hint="if it is what you want, set libvirt_url to it: in lago.conf, as LAGO_LIBVIRT_URL or by --libvirt_url",
    )


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

"""The programs of this host that capture packets, each as command lines."""

from __future__ import annotations

from typing import Final, NamedTuple

from ... import config
from ...errors import HostError
from ...host.programs import package_hint, which

NAMES: Final = ("tcpdump", "dumpcap")
"""The first that is there is taken, if the configuration says nothing else."""


class Program(NamedTuple):
    """A capturing program."""

    name: str

    def capture(self, device: str, filter_: str, snaplen: int) -> list[str]:
        """Command line that writes packets of a device to standard output, as pcap, each at once.

        Args:
            filter_: expression of libpcap, or nothing.
            snaplen: bytes of a packet that are kept.
        """
        if self.name == "dumpcap":
            only = ["-f", filter_] if filter_ else []
            return ["dumpcap", "-q", "-P", "-w", "-", "-s", str(snaplen), "-i", device, *only]
        # As root it would become another user, which may not be there in a user namespace.
        own = ["-Z", "root", "-n", "-U", "--immediate-mode", "-w", "-", "-s", str(snaplen), "-i", device]
        return ["tcpdump", *own, "--", *([filter_] if filter_ else [])]

    def check(self, device: str, filter_: str) -> list[str]:
        """Command line that writes what an expression becomes; nothing, if it is none."""
        if self.name == "dumpcap":
            return ["dumpcap", "-d", "-i", device, "-f", filter_]
        return ["tcpdump", "-d", "-i", device, "--", filter_]


def choose() -> Program:
    """The program that the configuration names, or the first of `NAMES` that is there.

    Raises:
        HostError: it is not installed.
    """
    wanted = config.get("capture_program")
    names = (wanted,) if wanted else NAMES
    for name in names:
        if which(name):
            return Program(name)
    raise HostError(f"packets can't be captured: {' or '.join(names)} is not installed", hint=package_hint(names[0]))

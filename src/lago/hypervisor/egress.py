"""How guests on nat networks of a private hypervisor reach what the host reaches.

A user-mode network stack makes a tap device in the private network namespace and the connections in the host's. Its
addresses are in 100.64.0.0/10 (RFC 6598), which no net of an init file can have.
"""

from __future__ import annotations

from typing import Final

from .. import config
from ..constants import HOST_LOOPBACK
from ..errors import HostError
from ..host.programs import package_hint, which
from .firewall import DEVICE
from .protocol import NETNS_FILE

NAMESERVER: Final = "100.64.77.3"
"""Asks the host's own name servers."""


def argv() -> list[str] | None:
    """The program to run, or none.

    Raises:
        HostError: the one that the config asks for is not installed.
    """
    wanted = config.get("egress")
    if wanted == "none":
        return None
    for program, build in (("slirp4netns", _slirp4netns), ("pasta", _pasta)):
        if wanted in ("auto", program):
            if which(program):
                return build(config.get("egress_host_loopback"))
            if wanted == program:
                raise HostError(f"the program {program} is not installed", hint=package_hint(program))
    return None


def _slirp4netns(host_loopback: bool) -> list[str]:
    closed = [] if host_loopback else ["--disable-host-loopback"]
    return [
        "slirp4netns",
        "--configure",
        "--mtu=65520",
        *closed,
        "--cidr=100.64.77.0/24",
        "--netns-type=path",
        NETNS_FILE,
        DEVICE,
    ]


def _pasta(host_loopback: bool) -> list[str]:
    addresses = ["--address=100.64.77.100", "--netmask=24", f"--gateway={HOST_LOOPBACK}", f"--dns-forward={NAMESERVER}"]
    closed = [] if host_loopback else ["--no-map-gw"]
    ports = ["--tcp-ports=none", "--udp-ports=none", "--tcp-ns=none", "--udp-ns=none"]
    return [
        "pasta",
        "--foreground",
        "--ipv4-only",
        "--quiet",
        "--config-net",
        # It may not enter the namespace as the user that it changes to if left alone.
        "--runas=0:0",
        f"--ns-ifname={DEVICE}",
        *addresses,
        *closed,
        *ports,
        f"--netns={NETNS_FILE}",
    ]

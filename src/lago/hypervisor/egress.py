"""How guests on nat networks of a private hypervisor reach what the host reaches.

A user-mode network stack makes a tap device in the private network namespace and the connections in the host's. Its
addresses are in 100.64.0.0/10 (RFC 6598), which no net of an init file can have.
"""

from __future__ import annotations

from typing import Final

from .. import config
from ..constants import HOST_LOOPBACK
from ..errors import HostError
from ..host.programs import package_hint, run, which
from ..log import LOG
from .firewall import DEVICE
from .protocol import NETNS_FILE

_LINK_LOCAL: Final = "169.254.0.0/16"
"""Where clouds have their metadata services, among others at 169.254.169.254 (RFC 3927)."""

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


def closed() -> list[str]:
    """Networks and addresses that guests do not reach, unless the config says so.

    Connections of guests come from this host itself, so nobody could tell them from its own: services that trust it
    would trust them, and a cloud's metadata service would tell them the credentials of this host.
    """
    return [] if config.get("egress_host") else [_LINK_LOCAL, *own_addresses()]


def own_addresses() -> list[str]:
    """The IPv4 addresses of this host, but for its loopback. Source: the routing table, /proc/net/fib_trie."""
    found: set[str] = set()
    last = ""
    try:
        with open("/proc/net/fib_trie", encoding="ascii") as file:
            for line in file:
                match line.split():
                    case ["|--", address]:
                        last = address
                    case ["/32", "host", "LOCAL"]:
                        found.add(last)
    except FileNotFoundError:
        LOG.warning("/proc/net/fib_trie is not there, so guests may reach this host's own addresses")
    return sorted(address for address in found if not address.startswith("127."))


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


def sandboxed(program: list[str] | None) -> list[str] | None:
    """What `argv` said, such that it gives up the files, rights and system calls that it has no use for.

    Pasta does so by itself; slirp4netns since 0.4, filters of system calls as far as it was built with them.
    """
    if program is None or program[0] != "slirp4netns":
        return program
    seccomp = ["--enable-seccomp"] if "libseccomp" in run([program[0], "--version"], timeout=10).text else []
    return [program[0], "--enable-sandbox", *seccomp, *program[1:]]


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

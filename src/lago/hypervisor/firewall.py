"""Packet filter of a private hypervisor's network namespace.

Here libvirt's own rules, a dozen programs run per network, would only cost time: nobody else is in the namespace.
Guests of one net reach each other over its bridge, nets don't reach each other, and all reach the outside, masqueraded,
but for those of isolated nets.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import Final

DEVICE: Final = "tap0"
"""The way out."""

ISOLATED: Final = "lagi-"
"""How the devices of isolated nets begin, see `lago.topology.resolve.bridge_name`."""

_RULES: Final = f"""\
*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
-A FORWARD -i {ISOLATED}+ -j DROP
{{closed}}-A FORWARD -o {DEVICE} -j ACCEPT
-A FORWARD -i {DEVICE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
-A POSTROUTING -o {DEVICE} -j MASQUERADE
COMMIT
"""

# DHCP clients that read raw packets see checksums that are left to the hardware as wrong. Not every kernel has this.
_FILL_CHECKSUMS: Final = """\
*mangle
-A POSTROUTING -p udp --dport 68 -j CHECKSUM --checksum-fill
COMMIT
"""

# Nothing of IPv6 leaves its net.
_RULES_6: Final = """\
*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
COMMIT
"""

_FORWARDING: Final = "/proc/sys/net/ipv4/ip_forward"
_BRIDGED_PACKETS: Final = (
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
)


def set_up(closed: Iterable[str]) -> None:
    """Install the rules and let packets pass from net to net by them.

    Args:
        closed: addresses and networks outside that guests do not reach.

    Raises:
        OSError: the kernel does not let them pass.
        RuntimeError: the rules can't be installed.
    """
    # Newer libvirt does not for nets whose packets it does not filter.
    with open(_FORWARDING, "w", encoding="ascii") as file:
        file.write("1")
    for path in _BRIDGED_PACKETS:
        with contextlib.suppress(FileNotFoundError), open(path, "w", encoding="ascii") as file:
            file.write("0")
    # A guest that is refused need not wait; not every kernel can tell it.
    if _restore(_rules(closed, "REJECT")) != 0 and _restore(_rules(closed, "DROP")) != 0:
        raise RuntimeError("iptables-restore failed")
    if _restore(_RULES_6, "ip6tables-restore") != 0:
        print("packets of IPv6 are not filtered", file=sys.stderr, flush=True)
    if _restore(_FILL_CHECKSUMS) != 0:
        print("the checksums of DHCP answers are not filled in", file=sys.stderr, flush=True)


def _rules(closed: Iterable[str], what: str) -> str:
    return _RULES.format(closed="".join(f"-A FORWARD -o {DEVICE} -d {one} -j {what}\n" for one in closed))


def _restore(rules: str, program: str = "iptables-restore") -> int:
    path = "/run/.lago-rules"
    with open(path, "w", encoding="ascii") as file:
        file.write(rules)
    try:
        pid = os.posix_spawnp(program, [program, "--noflush", path], os.environ)
    except FileNotFoundError:
        return 127
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

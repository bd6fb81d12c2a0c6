"""The names by which machines and their disks are known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import count, product
from string import ascii_lowercase
from typing import Final


def disk_devices(bus: str) -> Iterator[str]:
    """Yield the devices that disks can be, without end: for the bus `vd` they are vda to vdz, vdaa, vdab and so on."""
    for length in count(1):
        yield from (f"{bus}{''.join(letters)}" for letters in product(ascii_lowercase, repeat=length))


PART: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
"""What stands between the dots of a machine's name; one letter or digit must be among it."""

MOST: Final = 64
"""Characters of a machine's name; Linux has host names of no more (HOST_NAME_MAX)."""


def usable(vm: str) -> bool:
    """Whether a machine can be called so."""
    named = re.fullmatch(rf"{PART}(\.{PART})*", vm) is not None
    return named and len(vm) <= MOST and all(host_name(vm).split("."))


def host_name(vm: str) -> str:
    """The host name of a machine's guest: the nearest to the machine's name that RFC 1123 allows, in its letters."""
    return ".".join(part.replace("_", "-").strip("-") for part in vm.split("."))


def same(name: str) -> str:
    """What is the same text for names of machines that can't be told apart, in DNS or as host names."""
    return host_name(name).lower()


def machine_names(vm: str) -> tuple[str, ...]:
    """The names by which DNS knows a machine: as it is written, and as its guest is called if that is another."""
    return tuple(dict.fromkeys((vm, host_name(vm))))


def nic_names(vm: str, nets: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The names by which DNS knows each nic of a machine, apart from the machine's own, given the nets of its nics."""
    seen: dict[str, int] = {}
    for index, net in enumerate(nets):
        nth = seen[net] = seen.get(net, -1) + 1
        suffixes = (f"eth{index}", *([net] if not nth else []), f"{net}-{nth}")
        yield tuple(f"{name}-{suffix}" for name in machine_names(vm) for suffix in suffixes)


def _digits(sha: str, text: str) -> str:
    # Imported here: it is slow, and most commands need no names.
    import hashlib

    return hashlib.new(sha, text.encode(), usedforsecurity=False).hexdigest()[:10]


def libvirt_domain_name(uuid: str, vm: str) -> str:
    """What libvirt calls a machine of the prefix `uuid`."""
    return f"{uuid[:8]}-{vm}"


def libvirt_net_name(uuid: str, net: str) -> str:
    """What libvirt calls a network of the prefix `uuid`; at most 15 characters."""
    short = net if len(net) <= 10 else _digits("sha1", net)
    return f"{uuid[:4]}-{short}"


def bridge_name(uuid: str, net: str, *, isolated: bool = False) -> str:
    """The bridge device of a network; 15 characters, which is all that Linux allows, other for every prefix and net.

    Those of isolated nets begin otherwise, for packet filter rules.
    """
    return f"{'lagi' if isolated else 'lago'}-{_digits('sha256', f'{uuid}/{net}')}"

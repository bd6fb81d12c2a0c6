"""The names by which machines and their disks are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, product
from string import ascii_lowercase


def disk_devices(bus: str) -> Iterator[str]:
    """Yield the devices that disks can be, without end: for the bus `vd` they are vda to vdz, vdaa, vdab and so on."""
    for length in count(1):
        yield from (f"{bus}{''.join(letters)}" for letters in product(ascii_lowercase, repeat=length))


def nic_names(vm: str, nets: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The names by which DNS knows each nic of a machine, apart from the machine's own, given the nets of its nics."""
    seen: dict[str, int] = {}
    for index, net in enumerate(nets):
        nth = seen[net] = seen.get(net, -1) + 1
        yield (f"{vm}-eth{index}", *([f"{vm}-{net}"] if not nth else []), f"{vm}-{net}-{nth}")

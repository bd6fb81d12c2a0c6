"""The names by which machines are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def nic_names(vm: str, nets: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The names by which DNS knows each nic of a machine, apart from the machine's own, given the nets of its nics."""
    count: dict[str, int] = {}
    for index, net in enumerate(nets):
        nth = count[net] = count.get(net, -1) + 1
        yield (f"{vm}-eth{index}", *([f"{vm}-{net}"] if not nth else []), f"{vm}-{net}-{nth}")

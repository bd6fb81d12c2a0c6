"""Disks of a machine that runs which are slow, or fail.

A slow one is slowed down by libvirt, at the device. What a failing one fails is decided by a node of QEMU's,
`blkdebug`, between the device and all images. It has a name of ours and libvirt doesn't know of it: the new images of
snapshots come below it.
https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

from __future__ import annotations

import errno
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Final, NamedTuple

import libvirt

from ..errors import HypervisorError, VMError
from .connection import refusals
from .machine import Machine
from .migration import ask

_NODE: Final = "lago-fault-"
_NUMBERS: Final = ("0", "1")
"""Ends of the names of nodes: one takes the place of the other when what fails changes, with no gap between."""

READS: Final = ("read",)
WRITES: Final = ("write", "write-zeroes", "discard")
"""QEMU's words for what a guest asks of a disk. Flushes go on: QEMU itself flushes disks when it saves a machine."""


class Condition(NamedTuple):
    """How a disk works.

    Attributes:
        iops: reads and writes that it does in a second at most; 0: without a limit.
        rate: bytes that it reads and writes in a second at most; 0: without a limit.
        fails: numbers of the errors (errno) that it answers with, by `READS` and `WRITES`. With that of a full disk
            QEMU pauses the machine at the next write; when it goes on, it tries again.
    """

    iops: int = 0
    rate: int = 0
    fails: Mapping[str, int] = {}


SOUND: Final = Condition()


def failing(what: Mapping[str, str]) -> dict[str, int]:
    """What fails, by QEMU's words for it, with numbers of errors by their names, such as `EIO`."""
    return {kind: getattr(errno, name) for kind, name in what.items()}


def set_condition(machine: Machine, dev: str, condition: Condition) -> None:
    """Let a disk of a machine that runs work so from now on, whatever it did before.

    Args:
        dev: the disk, as the init file names the device.

    Raises:
        VMError: libvirt is shared with others, and it has no means for that.
        HypervisorError: libvirt or QEMU refuses.
        VMNotRunning: the machine is down.
    """
    if condition.fails:
        check_fails(machine)
    what = f"the disk {dev} of {machine.name()} can't be changed"
    with refusals(what):
        domain = machine.domain()
        root = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's own
        found = next((disk for disk in root.iterfind("devices/disk") if _target(disk) == dev), None)
        if found is None:
            raise HypervisorError(f"{what}: libvirt has no such disk")
        _slow(domain, dev, found, condition)
        alias = found.find("alias")
        if not machine.env.hypervisor.shared and alias is not None:
            _fail(domain, f"/machine/peripheral/{alias.get('name')}", dev, condition.fails)


def check_fails(machine: Machine) -> None:
    """Raise VMError if disks of a machine can't be let fail: libvirt is shared with others, and has no means for it."""
    if machine.env.hypervisor.shared:
        raise VMError(
            f"{machine.name()}: libvirt has no means to let a disk fail, and one that is shared is not gone behind",
            hint="make it with libvirt_url = private, the default; a shared one can make a disk slow",
        )


def waits(machine: Machine) -> bool:
    """Whether a machine stands still as it could not write. Raises HypervisorError."""
    return machine.libvirt_state() == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)


def mend(machine: Machine) -> None:
    """Let all disks of a machine that runs work again as they are. Raises HypervisorError, libvirtError."""
    domain = machine.domain()
    there = _ours(domain)
    root = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's own
    for disk in root.iterfind("devices/disk"):
        dev, alias = _target(disk), disk.find("alias")
        fails = any(node.startswith(_name(dev)) for node in there)
        if alias is not None and (fails or disk.find("iotune") is not None):
            _slow(domain, dev, disk, SOUND)
            _fail(domain, f"/machine/peripheral/{alias.get('name')}", dev, {})


def forget(root: ET.Element) -> None:
    """Rewrite the description of a machine to have sound disks."""
    for disk in root.iterfind("devices/disk"):
        for element in disk.findall("iotune"):
            disk.remove(element)


def _target(disk: ET.Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _slow(domain: libvirt.virDomain, dev: str, disk: ET.Element, condition: Condition) -> None:
    wanted = {"total_iops_sec": condition.iops, "total_bytes_sec": condition.rate}
    now = {name: int(disk.findtext(f"iotune/{name}") or 0) for name in wanted}
    if now != wanted:
        domain.setBlockIoTune(dev, wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _fail(domain: libvirt.virDomain, device: str, dev: str, fails: Mapping[str, int]) -> None:
    top = str(ask(domain, "qom-get", {"path": device, "property": "drive"}))
    ours = [_name(dev) + number for number in _NUMBERS]
    below = _below(domain, top) if top in ours else top
    _remove(domain, {*ours} - {top})
    new = below
    if fails:
        new = next(name for name in ours if name != top)
        rules = [
            {"event": "none", "iotype": kind, "errno": number, "immediately": True} for kind, number in fails.items()
        ]
        ask(domain, "blockdev-add", {"driver": "blkdebug", "node-name": new, "image": below, "inject-error": rules})
    if new != top:
        ask(domain, "qom-set", {"path": device, "property": "drive", "value": new})
        _remove(domain, {*ours} - {new})


def _below(domain: libvirt.virDomain, node: str) -> str:
    """The node that one of ours lies over."""
    graph = ask(domain, "x-debug-query-block-graph", {})
    names = {one["id"]: one.get("name", "") for one in graph["nodes"]}
    return next(str(names[one["child"]]) for one in graph["edges"] if names[one["parent"]] == node)


def _remove(domain: libvirt.virDomain, nodes: set[str]) -> None:
    """Remove those of some nodes that are there; who was killed may have left one."""
    for name in nodes & _ours(domain):
        ask(domain, "blockdev-del", {"node-name": name})


def _ours(domain: libvirt.virDomain) -> set[str]:
    """The nodes with names of ours."""
    found = {str(one["node-name"]) for one in ask(domain, "query-named-block-nodes", {"flat": True})}
    return {name for name in found if name.startswith(_NODE)}


def _name(dev: str) -> str:
    return f"{_NODE}{dev}."

"""Going back to a snapshot in place: the machine's QEMU goes on, with the memory, disks and devices of then.

It is possible where the machine has mapped the memory of that very snapshot: what the kernel knows as the machine's own
pages is what has changed since. They are written back from outside, disks get new images, and what devices held is
loaded from a carrier. Libvirt hears of a reset, and of nothing else. While it is under way QEMU has a node with a name
of ours, so that whoever finds us killed knows that the machine is good for nothing.

QEMU's own words: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

from __future__ import annotations

import errno
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final, NamedTuple

import libvirt

from ..errors import HypervisorError
from ..host.files import replacing
from . import carrier, disk_fault, disk_swap, hardware, mapped, pages, state_file, stream
from . import memory as ram
from .disk_swap import Nodes, Swap
from .jobs import Jobs
from .machine import Machine
from .migration import ask

_MARK: Final = "lago-going-back"
_CARRIER: Final = "lago-carrier"
_LOAD: Final = "lago-load"
_STATES: Final = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED)
_FLAGS: Final = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
_DRIVER: Final = frozenset({"name", "type", "cache", "discard"})
"""What we tell libvirt of a disk, and so know what it tells QEMU."""

_MOST_OWN: Final = 128 << 20
"""Bytes that are written back at most. They are not given back to the host either, and a start is quicker with more."""

_MOST_STATE: Final = 128 << 20
_CHUNK: Final = 1 << 20


class Saved(NamedTuple):
    """A machine in a snapshot, as files of this host.

    Attributes:
        memory: what it had in memory.
        state: its description, and what its devices held.
        below: the image that each disk lay over then, by device.
    """

    memory: str
    state: str
    below: Mapping[str, str]


class Way(NamedTuple):
    """How a machine goes back.

    Attributes:
        process: number of its QEMU on this host.
        parts: the parts of its memory, each with the address that QEMU has it at.
        places: these addresses by the names that the parts have in the state.
        carrier: what its devices held, by the name that QEMU has for it.
        disks: by device.
    """

    machine: Machine
    saved: Saved
    process: int
    parts: tuple[tuple[mapped.Part, int], ...]
    places: Mapping[str, int]
    carrier: str
    disks: Mapping[str, Swap]


def find(machine: Machine, saved: Saved) -> Way:
    """Find out how a machine that runs can go back in place. Nothing is changed.

    Raises:
        HypervisorError: it can't, and why.
        OSError: likewise.
        libvirtError: it can't be asked.
    """
    if not ram.in_files(machine):
        raise HypervisorError("its memory is kept by libvirt")
    domain = machine.domain()
    if domain.state()[0] not in _STATES:
        raise HypervisorError(f"it is {machine.state()}")
    base = mapped.of(machine)
    if not base or not os.path.exists(base.path) or not os.path.samefile(base.path, saved.memory):
        raise HypervisorError("it does not run on the memory of this snapshot")
    if os.stat(saved.state).st_size > _MOST_STATE:
        raise HypervisorError("the snapshot has too much that is not in the memory which it came from")
    live = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's own
    _check_hardware(machine, saved)
    _check_taps(machine, live)
    process, parts = _memory(machine, base)
    places = _places(parts, saved.state)
    disks = _disks(domain, live, saved.below)
    return Way(machine, saved, process, parts, places, _carrier(machine, saved), disks)


def _memory(machine: Machine, base: mapped.Mapped) -> tuple[int, tuple[tuple[mapped.Part, int], ...]]:
    """The process of a machine, and where that has the parts of its memory."""
    process = machine.env.hypervisor.process(machine.libvirt_name())
    if process is None:
        raise HypervisorError("its process can't be found")
    found, changed = [], 0
    for part in base.parts:
        place = pages.mapping(process, part.path)
        if place is None or place.size != part.size:
            raise HypervisorError("the file with the memory of the snapshot is another one now")
        found.append((part, place.address))
        changed += pages.length(pages.private(process, place.address, place.size))
    if changed > _MOST_OWN:
        raise HypervisorError(f"it has changed {changed >> 20} MiB of its memory, so that a start is quicker")
    # Whether it may be written to as well.
    with open(f"/proc/{process}/mem", "r+b", buffering=0):
        return process, tuple(found)


def _places(parts: Iterable[tuple[mapped.Part, int]], state: str) -> dict[str, int]:
    found = {part.name: address for part, address in parts}
    if mapped.NAME in found:
        found[mapped.LIBVIRT_NAME] = found[mapped.NAME]
    with open(state, "rb") as file:
        main = {block.name for block in state_file.read_head(file).blocks if mapped.is_main(block.name)}
    if unknown := main - found.keys():
        raise HypervisorError(f"the snapshot has memory that it has not: {', '.join(unknown)}")
    return found


def _check_hardware(machine: Machine, saved: Saved) -> None:
    with open(saved.state, "rb") as file:
        then = state_file.read_description(file)
    now = ET.fromstring(machine.domain().XMLDesc(_FLAGS))  # noqa: S314 - libvirt's own
    if part := hardware.difference(then, now):
        raise HypervisorError(f"its hardware is not what it was then: {part}")


def _check_taps(machine: Machine, live: ET.Element) -> None:
    """Raise HypervisorError if an interface is not plugged into its net as it was when the machine was started."""
    there = machine.env.hypervisor.path_from_outside("/sys/class/net")
    for interface in live.iterfind("devices/interface"):
        source, target = interface.find("source"), interface.find("target")
        bridge = "" if source is None else source.get("bridge", "")
        tap = "" if target is None else target.get("dev", "")
        try:
            plugged = os.path.basename(os.readlink(f"{there}/{tap}/master")) == bridge
        except FileNotFoundError:
            plugged = False
        if not plugged or not _up(f"{there}/{tap}") or not _up(f"{there}/{bridge}"):
            raise HypervisorError(f"its device {tap} is not plugged into {bridge}, or one of them is down")


def _up(device: str) -> bool:
    with open(f"{device}/flags", encoding="ascii") as file:
        return bool(int(file.read(), 16) & 1)


def _disks(domain: libvirt.virDomain, live: ET.Element, below: Mapping[str, str]) -> dict[str, Swap]:
    nodes, found = Nodes(domain), {}
    for disk in live.iterfind("devices/disk"):
        driver, source, target = disk.find("driver"), disk.find("source"), disk.find("target")
        dev = "" if target is None else target.get("dev", "")
        if dev in below and driver is not None and source is not None:
            if not driver.attrib.keys() <= _DRIVER or driver.get("cache") != "writeback":
                raise HypervisorError(f"the disk {dev} is not as Lago describes one")
            discard = driver.get("discard") == "unmap"
            found[dev] = nodes.swap(source.get("file", ""), below[dev], discard=discard)
    if found.keys() != below.keys():
        raise HypervisorError("its disks are not what they were then")
    return found


def _carrier(machine: Machine, saved: Saved) -> str:
    """Path, as QEMU has it, of the carrier of a state; it is made the first time, in place of that of another state."""
    hypervisor = machine.env.hypervisor
    directory = os.path.join(str(hypervisor.carriers_dir), machine.libvirt_name())
    outside = hypervisor.path_from_outside(directory)
    about = os.stat(saved.state)
    name = f"{about.st_ino}-{about.st_mtime_ns}"
    if not os.path.exists(os.path.join(outside, name)):
        os.makedirs(outside, 0o755, exist_ok=True)
        for other in os.listdir(outside):
            os.unlink(os.path.join(outside, other))
        with replacing(os.path.join(outside, name)) as made:
            _write_carrier(saved.state, made)
            hypervisor.give(made)
    return os.path.join(directory, name)


def _write_carrier(state: str, path: str) -> None:
    with open(state, "rb") as file, carrier.writing(path) as dest:
        head = state_file.read_head(file)
        # The memory itself is left out, and with it the capability for that and the addresses which belong to it.
        blocks = tuple(block for block in head.blocks if not mapped.is_main(block.name))
        writer = stream.Writer(dest, head._replace(blocks=blocks).with_shared())
        for page in stream.pages(file, head):
            if not mapped.is_main(page.block):
                writer.page(page)
        writer.devices(file.read())


def go(way: Way, tops: Mapping[str, str]) -> None:
    """Bring a machine that stands still back; it still does then, and its disks are sound.

    Args:
        tops: new images, by device. The names of those of before are names of them then as well.

    Raises:
        HypervisorError: it can't go on, and has to be ended.
        OSError: likewise.
        libvirtError: likewise.
    """
    domain = way.machine.domain()
    ask(domain, "blockdev-add", {"driver": "null-co", "node-name": _MARK, "size": 512})
    # What lets a disk fail lies over what is replaced.
    disk_fault.mend(way.machine)
    with Jobs(domain) as jobs:
        # Before devices are loaded, which look into it.
        _put_back(way)
        disk_swap.swap(domain, jobs, [(way.disks[dev], tops[dev]) for dev in way.disks])
        _load(domain, jobs, way.carrier)
    # And after it, as that begins with a reset, which writes firmware's part.
    _put_back(way)
    ask(domain, "blockdev-del", {"node-name": _MARK})


def _put_back(way: Way) -> None:
    """Write the memory of then where the machine has pages of its own."""
    for part, address in way.parts:
        own = pages.private(way.process, address, part.size)
        with open(part.path, "rb", buffering=0) as base:
            pages.write(way.process, address, _content(base, own))
    with open(way.saved.state, "rb") as state:
        found = (page for page in stream.pages(state, state_file.read_head(state)) if page.block in way.places)
        pieces = ((way.places[page.block] + page.offset, page.data or pages.ZEROS) for page in found)
        pages.write(way.process, 0, pieces)


def _content(file: BinaryIO, runs: pages.Runs) -> Iterator[tuple[int, memoryview]]:
    """What a file has there, by offset; it is valid until the next is asked for. Raises OSError."""
    buffer = memoryview(bytearray(_CHUNK))
    for begin, end in runs:
        for at in range(begin, end, _CHUNK):
            piece = buffer[: min(_CHUNK, end - at)]
            if os.preadv(file.fileno(), [piece], at) != len(piece):
                raise OSError(errno.EIO, f"{file.name} is too short")
            yield at, piece


def _load(domain: libvirt.virDomain, jobs: Jobs, path: str) -> None:
    image = {"driver": "qcow2", "node-name": _CARRIER, "file": {"driver": "file", "filename": path}}
    ask(domain, "blockdev-add", image)
    arguments = {"job-id": _LOAD, "tag": carrier.TAG, "vmstate": _CARRIER, "devices": [_CARRIER]}
    ask(domain, "snapshot-load", arguments)
    jobs.outcome(_LOAD)
    ask(domain, "blockdev-del", {"node-name": _CARRIER})


def unfinished(domain: libvirt.virDomain) -> bool:
    """Whether a machine is half way, as Lago was killed. Raises libvirtError."""
    return any(node["node-name"] == _MARK for node in ask(domain, "query-named-block-nodes", {"flat": True}))

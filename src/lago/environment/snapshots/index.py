"""The index of a prefix: its snapshots, and of which files the disks of its machines are made.

The disk of a machine is a chain of images: at its end the one that the machine writes to, its *top*; before it layers
that no longer change, each holding what was written between two snapshots. A snapshot names the layer that was the top
of each disk. All of this is one file, `virt/snapshots`, which is replaced as a whole, so that at any instant either
all of a change is there or nothing of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

from ...constants import SNAPSHOT_COMMANDS
from ...errors import LagoError, PrefixError
from ...host import shape, trust
from ...host.files import json_text, write_atomically
from ...host.suggest import near
from ...paths import Paths
from ...topology.model import Disk, Domain, Topology
from ..faults.plain import MEMBERS

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"


class Saved(NamedTuple):
    """A machine in a snapshot.

    Attributes:
        disks: the layer of each of its disks, by the disk's name.
        memory: the file with its memory, if it ran and that was taken; other snapshots may have the same.
        state: the file with its description and what its devices hold, if the one with memory does not have that, and
            with the pages that are other than in there.
        nvram: the file with what its firmware keeps, if it has such.
        whole: why all of its memory was saved, and not only what it changed since another snapshot.
        console: the file with what it had said on its console, if its memory was saved.
    """

    disks: dict[str, str]
    memory: str | None = None
    nvram: str | None = None
    state: str | None = None
    whole: str = ""
    console: str | None = None

    def way(self) -> str:
        """How its memory was saved: `changes` alone, or `all`, and why that; nothing if it was not."""
        if not self.memory:
            return ""
        if self.whole:
            return f"all: {self.whole}"
        stems = {path.partition(".mem")[0].partition(".state")[0] for path in (self.memory, self.state) if path}
        return "all" if len(stems) == 1 else "changes"

    def files(self) -> list[str]:
        """All files."""
        return [path for path in (*self.disks.values(), self.memory, self.nvram, self.state, self.console) if path]


class Snapshot(NamedTuple):
    """A snapshot of all machines at one instant.

    Attributes:
        created: seconds since 1970.
        parent: the snapshot that the machines came from when it was taken.
        pause: seconds for which machines stood still.
        faults: what was broken on purpose then, as JSON has it.
    """

    name: str
    created: float
    vms: dict[str, Saved]
    parent: str | None = None
    description: str = ""
    pause: float = 0.0
    faults: tuple[Mapping[str, Any], ...] = ()


class Layer(NamedTuple):
    """An image that lies over `backing`, an image of the format `format`."""

    backing: str
    format: str


class Index:
    """What the file says. Paths are relative to the prefix, or absolute for images that are not its own.

    Attributes:
        snapshots: by name, oldest first.
        current: the snapshot that the machines come from.
        tops: the top of each disk by machine and disk; those that are not here are as the machine's description says.
        layers: the images that lie over others of ours.
        busy: whether machines are made to stand still just now, or were when Lago was killed.
    """

    def __init__(self) -> None:
        self.snapshots: dict[str, Snapshot] = {}
        self.current: str | None = None
        self.tops: dict[str, dict[str, str]] = {}
        self.layers: dict[str, Layer] = {}
        self.busy = False
        self._serial = 0

    @classmethod
    def load(cls, paths: Paths) -> Index:
        """Read the index of a prefix; an empty one if it has none. Raises PrefixError if it is damaged."""
        index = cls()
        try:
            raw = _READ(shape.parse(trust.read(paths.snapshot_index())))
            index.snapshots = {one.name: one for one in raw["snapshots"]}
            index.current, index.busy, index._serial = raw["current"], raw["busy"], raw["serial"]
            index.tops, index.layers = raw["tops"], raw["layers"]
        except FileNotFoundError:
            return cls()
        except ValueError as error:
            raise PrefixError(
                f"{paths.snapshot_index()} is damaged", details=str(error), hint="restore the file, or lago destroy"
            ) from None
        return index

    def save(self, paths: Paths) -> None:
        """Write it, as a whole."""
        data = {
            "snapshots": [
                {**one._asdict(), "vms": {vm: saved._asdict() for vm, saved in one.vms.items()}}
                for one in self.snapshots.values()
            ],
            "current": self.current,
            "tops": self.tops,
            "layers": self.layers,
            "busy": self.busy,
            "serial": self._serial,
        }
        write_atomically(paths.snapshot_index(), json_text(data))

    def get(self, name: str) -> Snapshot:
        """Snapshot of a name. Raises LagoError."""
        if name not in self.snapshots:
            raise LagoError(f"there is no snapshot {name}", hint=near(name, self.snapshots))
        return self.snapshots[name]

    def check_new(self, name: str, *, replace: bool = False) -> None:
        """Raise LagoError if a new snapshot can't be called so, or if there is one of that name.

        Args:
            replace: it may take the place of that one.
        """
        if not re.fullmatch(_NAME, name):
            raise LagoError(f"{name!r} can't be the name of a snapshot", hint="use letters, digits, and . _ + - inside")
        if name in SNAPSHOT_COMMANDS:
            raise LagoError(
                f"{name} can't be the name of a snapshot, `lago snapshot {name}` means something else",
                hint="choose another name",
            )
        if name in self.snapshots and not replace:
            raise LagoError(f"there is a snapshot {name} already", hint="choose another name, or --replace it")

    def number(self) -> int:
        """Next number, which no file of this prefix has in its name yet."""
        self._serial += 1
        return self._serial

    def remove(self, name: str) -> None:
        """Forget a snapshot; those that came from it come from its parent now. Raises LagoError."""
        gone = self.get(name)
        del self.snapshots[name]
        for child in self.snapshots.values():
            if child.parent == name:
                self.snapshots[child.name] = child._replace(parent=gone.parent)
        if self.current == name:
            self.current = gone.parent

    def chain(self, path: str) -> list[str]:
        """An image and those under it, as far as they are ours."""
        found = [path]
        while found[-1] in self.layers:
            found.append(self.layers[found[-1]].backing)
        return found

    def needed(self, tops: Iterable[str]) -> set[str]:
        """The images that disks and snapshots are made of, and the files with memory.

        Args:
            tops: what the machines write to.
        """
        saved = [vm for one in self.snapshots.values() for vm in one.vms.values()]
        roots = [*tops, *(path for vm in saved for path in vm.files())]
        return {path for root in roots for path in self.chain(root)}


_TEXT: Final = shape.text()
_NAMED: Final = shape.optional(_TEXT)
_SAVED: Final = shape.record(
    {"disks": shape.mapping(_TEXT, _TEXT)},
    {"memory": _NAMED, "nvram": _NAMED, "state": _NAMED, "whole": _TEXT, "console": _NAMED},
)
_FAULTS: Final = shape.listing(shape.record(MEMBERS))
_SNAPSHOT: Final = shape.record(
    {
        "name": _TEXT,
        "created": shape.number,
        "vms": shape.mapping(_TEXT, lambda raw: Saved(**_SAVED(raw))),
    },
    # What a person wrote about it.
    {
        "parent": _NAMED,
        "description": shape.text(".*", "text", shape.MOST),
        "pause": shape.number,
        "faults": lambda raw: tuple(_FAULTS(raw)),
    },
)


def _layer(raw: Any) -> Layer:
    backing, format = [*shape.listing(_TEXT)(raw), "", ""][:2]
    if format not in ("qcow2", "raw"):
        raise ValueError("expected an image and its format")
    return Layer(backing, format)


_READ: Final = shape.record(
    {
        "snapshots": shape.listing(lambda raw: Snapshot(**_SNAPSHOT(raw))),
        "current": _NAMED,
        "tops": shape.mapping(_TEXT, shape.mapping(_TEXT, _TEXT)),
        "layers": shape.mapping(_TEXT, _layer),
        "busy": shape.flag,
        "serial": shape.whole,
    }
)


def parts(paths: Paths, path: str) -> list[str]:
    """The copies of parts of a file with memory that there are, for machines with NUMA cells; paths as in the index."""
    directory, name = os.path.split(path)
    try:
        found = os.listdir(os.path.join(paths.prefix(), directory))
    except FileNotFoundError:
        return []
    return [os.path.join(directory, one) for one in found if one.startswith(f"{name}.") and one != part_of(one)]


def part_of(path: str) -> str:
    """The file with memory that a file is a copy of a part of; the file itself if it is none."""
    whole, _, number = path.rpartition(".")
    return whole if number.isdigit() and whole.endswith(".mem") else path


def sizes(paths: Paths, snapshots: Mapping[str, Snapshot]) -> dict[str, int]:
    """Bytes on disk of the files with memory of snapshots, and of the layers that they froze.

    What several have, be it by links of other names, counts once, for the first that has it.
    """
    counted: set[tuple[int, int]] = set()
    return {name: _size(paths, one, counted) for name, one in snapshots.items()}


def _size(paths: Paths, snapshot: Snapshot, counted: set[tuple[int, int]]) -> int:
    total = 0
    named = [path for vm in snapshot.vms.values() for path in vm.files() if not os.path.isabs(path)]
    copies = [path for vm in snapshot.vms.values() if vm.memory for path in parts(paths, vm.memory)]
    for path in named + copies:
        try:
            found = os.stat(os.path.join(paths.prefix(), path))
        except FileNotFoundError:
            continue
        if (found.st_dev, found.st_ino) not in counted:
            counted.add((found.st_dev, found.st_ino))
            total += found.st_blocks * 512
    return total


def with_tops(topology: Topology, index: Index) -> Topology:
    """The topology with the tops of the index in place of the images that the environment began with."""
    if not index.tops:
        return topology
    domains = {name: domain_with_tops(domain, index) for name, domain in topology.domains.items()}
    return replace(topology, domains=domains)


def domain_with_tops(domain: Domain, index: Index) -> Domain:
    """A machine with the tops of the index."""
    tops = index.tops.get(domain.name, {})
    disks = tuple(
        replace(disk, path=top, format=format_of(index, top, disk)) if (top := tops.get(disk.name)) else disk
        for disk in domain.disks
    )
    return replace(domain, disks=disks)


def format_of(index: Index, path: str, disk: Disk) -> Literal["qcow2", "raw", "iso"]:
    """The format of an image of a disk. It is not looked for in the image, which the guest has written.

    Args:
        disk: as the environment began with it, or with its top.
    """
    if path in index.layers:
        return "qcow2"
    # It is the image that the disk began with. Where there are layers, the disk's own format is that of its top.
    recorded = {layer.format for layer in index.layers.values() if layer.backing == path}
    return "raw" if recorded == {"raw"} else "qcow2" if recorded else disk.format

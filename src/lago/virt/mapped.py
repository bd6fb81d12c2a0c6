"""Memory that is a saved file: QEMU maps it such that what a guest writes is its own, and the file stays as it is.

Libvirt has no words for a file of one's own choice, so QEMU is told by arguments of its own. Libvirt's own memory of
the machine is there too then, but nobody uses it. The cells of a machine with NUMA are libvirt's alone: there it finds
links to our files where it would make its own. What a machine runs on is read from its description and these links.
https://www.qemu.org/docs/master/system/qemu-manpage.html, memory-backend-file
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ..errors import HypervisorError
from ..host.beneath import as_seen_by_others
from . import memory as ram
from .machine import Machine

NAME: Final = "lago.ram"
LIBVIRT_NAME: Final = "pc.ram"
"""What libvirt calls the memory of a machine without NUMA cells."""

_CELL: Final = "ram-node{}"
_QEMU: Final = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_ARGUMENTS: Final = f"{_QEMU}commandline"
_SHORT: Final = 20
"""Characters of a name that libvirt uses in those of directories (virDomainDefGetShortName)."""

_AHEAD: Final = 64
"""Starts of machines that may have come before one since we know the number of the last."""

_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class Part(NamedTuple):
    """A block of a machine's memory, by QEMU's name for it: the file that it has mapped, and its size in bytes."""

    name: str
    path: str
    size: int


class Mapped(NamedTuple):
    """The memory of a machine that has mapped saved files, the parts in their order."""

    parts: tuple[Part, ...]

    @property
    def path(self) -> str:
        """The saved file, of which a machine with several parts has mapped the beginning."""
        return self.parts[0].path

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


def is_main(block: str) -> bool:
    """Whether a block of this name is the machine's memory, or a part of it."""
    return block in (NAME, LIBVIRT_NAME) or block.startswith(_CELL.format(""))


def cells(root: ET.Element) -> list[int]:
    """Bytes of each NUMA cell of a machine that libvirt describes; none if it has no cells."""
    return [int(cell.get("memory", "0")) << 10 for cell in root.iterfind("cpu/numa/cell")]


def describe(root: ET.Element, memory: str | None) -> None:
    """Rewrite a description for a start that waits for what devices hold.

    Args:
        memory: the file that it shall map; without it libvirt has the memory in files of its own.
    """
    for tag in (_ARGUMENTS, "memoryBacking"):
        for element in root.findall(tag):
            root.remove(element)
    words = ["-incoming", "defer"]
    if memory is None or cells(root):
        backing = ET.SubElement(root, "memoryBacking")
        ET.SubElement(backing, "source", type="file")
        ET.SubElement(backing, "access", mode="shared" if memory is None else "private")
    else:
        words = ["-object", json.dumps(_object(memory)), "-machine", f"memory-backend={NAME}", *words]
    arguments = ET.SubElement(root, _ARGUMENTS)
    for word in words:
        ET.SubElement(arguments, f"{_QEMU}arg", value=word)


def _object(memory: str) -> dict[str, object]:
    return {
        "qom-type": "memory-backend-file",
        "id": NAME,
        "mem-path": memory,
        "size": os.stat(memory).st_size,
        "share": False,
        "x-use-canonical-path-for-ramblock-id": False,
    }


@contextlib.contextmanager
def linked(machine: Machine, files: Sequence[str]) -> Iterator[None]:
    """Context manager: a machine is started, and finds these files as the memory of its cells.

    Libvirt numbers machines as it starts them, and makes a directory by that number unless there is one.

    Raises:
        HypervisorError: libvirt made one of its own.
    """
    if not files:
        yield
        return
    below = ram.directory(machine)
    short = machine.libvirt_name()[:_SHORT]
    # Of those with the same beginning one could take what another is to find.
    with _locks[short]:
        first = max(0, *machine.env.libvirt_con.listDomainsID(), _last(below)) + 1
        places = [os.path.join(below, f"{number}-{short}") for number in range(first, first + _AHEAD)]
        used = ""
        try:
            for place in places:
                ram.make_directory(machine, place)
                _link(place, files)
            yield
            number = machine.domain().ID()
            with open(os.path.join(below, _LAST), "w", encoding="ascii", opener=as_seen_by_others) as file:
                file.write(str(number))
            used = os.path.join(below, f"{number}-{short}")
            if _links(used) != list(files):
                raise HypervisorError("libvirt has its memory elsewhere")
        finally:
            for place in places:
                if place != used:
                    shutil.rmtree(place, ignore_errors=True)


_LAST: Final = "last"
"""File with the number of the last machine that was started so."""


def _last(below: str) -> int:
    try:
        with open(os.path.join(below, _LAST), encoding="ascii") as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return 0


def _link(place: str, files: Sequence[str]) -> None:
    for number, file in enumerate(files):
        link = os.path.join(place, _CELL.format(number))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        os.symlink(file, link)


def _links(place: str) -> list[str]:
    names = sorted(os.listdir(place), key=lambda name: (len(name), name)) if os.path.isdir(place) else []
    paths = [os.path.join(place, name) for name in names]
    return [os.readlink(path) for path in paths if os.path.islink(path)]


def of(machine: Machine) -> Mapped | None:
    """What a machine that runs has mapped; None if its memory is of another kind.

    Raises:
        libvirtError: libvirt refuses.
        VMNotRunning: it does not run.
        HypervisorError: nothing runs.
    """
    root = ET.fromstring(machine.domain().XMLDesc())  # noqa: S314 - libvirt's own
    words = [element.get("value", "") for element in root.iterfind(f"{_ARGUMENTS}/{_QEMU}arg")]
    for option, value in pairwise(words):
        if option == "-object" and (found := json.loads(value)).get("id") == NAME and "mem-path" in found:
            return Mapped((Part(NAME, found["mem-path"], found["size"]),))
    if not (sizes := cells(root)) or root.find("memoryBacking/access[@mode='private']") is None:
        return None
    place = os.path.join(ram.directory(machine), f"{machine.domain().ID()}-{machine.libvirt_name()[:_SHORT]}")
    links = _links(place)
    if len(links) != len(sizes):
        return None
    names = map(_CELL.format, range(len(sizes)))
    return Mapped(tuple(Part(*one) for one in zip(names, links, sizes, strict=True)))

"""Memory that is a saved file: QEMU maps it such that what a guest writes is its own, and the file stays as it is.

Libvirt has no words for a file of one's own choice, so QEMU is told by arguments of its own. Libvirt's own memory of
the machine is there too then, but nobody uses it. What a machine runs on is read from its description at libvirt.
https://www.qemu.org/docs/master/system/qemu-manpage.html, memory-backend-file
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Final, NamedTuple

from .machine import Machine

NAME: Final = "lago.ram"
LIBVIRT_NAME: Final = "pc.ram"
"""What libvirt calls the memory of a machine without NUMA cells."""

_QEMU: Final = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_ARGUMENTS: Final = f"{_QEMU}commandline"


class Mapped(NamedTuple):
    """The file that a machine has mapped, and its size in bytes."""

    path: str
    size: int


def possible(root: ET.Element) -> bool:
    """Whether a machine of this description can have its memory so; cells have a file each, and others share it."""
    return root.find("cpu/numa") is None and root.find("devices/filesystem") is None


def describe(root: ET.Element, memory: str | None) -> None:
    """Rewrite a description for a start that waits for what devices hold.

    Args:
        memory: the file that it shall map; without it libvirt has the memory in files of its own.
    """
    for tag in (_ARGUMENTS, "memoryBacking"):
        for element in root.findall(tag):
            root.remove(element)
    words = ["-incoming", "defer"]
    if memory is None:
        backing = ET.SubElement(root, "memoryBacking")
        ET.SubElement(backing, "source", type="file")
        ET.SubElement(backing, "access", mode="shared")
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


def of(machine: Machine) -> Mapped | None:
    """What a machine that runs has mapped; None if its memory is of another kind. Raises libvirtError, VMNotRunning."""
    root = ET.fromstring(machine.domain().XMLDesc())  # noqa: S314 - libvirt's own
    words = [element.get("value", "") for element in root.iterfind(f"{_ARGUMENTS}/{_QEMU}arg")]
    for option, value in pairwise(words):
        if option == "-object" and (found := json.loads(value)).get("id") == NAME:
            return Mapped(found["mem-path"], found["size"])
    return None

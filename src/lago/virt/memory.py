"""The memory of machines as files, which a snapshot copies while they stand still.

QEMU has the files mapped. What it writes itself of such a machine is only what its devices hold (see `migration`),
which takes milliseconds. Libvirt makes a directory of them for each start of a machine, named after its number, and
removes it at the end (`memory_backing_dir` in its qemu.conf).
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from .machine import Machine


def in_files(machine: Machine) -> bool:
    """Whether a machine has its memory in such files when it is brought back.

    Programs that share a machine's memory want another kind of it, and what a TPM holds is saved by libvirt only.
    """
    return machine.env.hypervisor.memory_dir is not None and not machine.spec.shares and not machine.spec.tpm


def files(machine: Machine) -> list[str]:
    """The files of a machine that runs, one for each NUMA node in their order; none if it has its memory elsewhere."""
    directory = machine.env.hypervisor.memory_dir
    if directory is None:
        return []
    below = machine.env.hypervisor.path_from_outside(os.path.join(directory, "libvirt", "qemu"))
    number = machine.domain().ID()
    try:
        found = [one.path for one in os.scandir(below) if one.name.startswith(f"{number}-")]
    except FileNotFoundError:
        # Libvirt makes it for the first machine that needs it.
        return []
    names = [os.path.join(path, name) for path in found for name in os.listdir(path)]
    return sorted(names, key=lambda name: (len(name), name))


def describe(root: ET.Element) -> None:
    """Have the machine of a description have its memory in such files when it is started."""
    for element in root.findall("memoryBacking"):
        root.remove(element)
    backing = ET.SubElement(root, "memoryBacking")
    ET.SubElement(backing, "source", type="file")
    ET.SubElement(backing, "access", mode="shared")


def save(sources: Sequence[str], dest: str) -> None:
    """Write files one after another, but for holes, to one that may hold an earlier state of them. Raises OSError."""
    base = 0
    with open(os.open(dest, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as write:
        for source in sources:
            with open(source, "rb", buffering=0) as read:
                size = os.fstat(read.fileno()).st_size
                write.truncate(base + size)
                _copy(read.fileno(), 0, write.fileno(), base, size)
                base += size


def load(source: str, dests: Sequence[str]) -> None:
    """Bring back into files what `save` wrote of them. Raises OSError."""
    base = 0
    with open(source, "rb", buffering=0) as read:
        for dest in dests:
            with open(dest, "r+b", buffering=0) as write:
                size = os.fstat(write.fileno()).st_size
                _copy(read.fileno(), base, write.fileno(), 0, size)
                base += size


def _copy(read: int, at: int, write: int, to: int, size: int) -> None:
    """Copy a part of a file into another one; what exists of it there and is a hole here becomes zeros."""
    copied = 0
    for begin, end in [*_data(read, at, at + size), (at + size, at + size)]:
        for first, last in _data(write, to + copied, to + begin - at):
            os.pwrite(write, bytes(last - first), first)
        copied = end - at
        os.lseek(write, to + begin - at, os.SEEK_SET)
        while begin < end:
            begin += os.sendfile(write, read, begin, end - begin)


def _data(fd: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where a part of a file is no hole."""
    hole = begin
    while hole < end:
        try:
            begin = os.lseek(fd, hole, os.SEEK_DATA)
        except OSError:
            return
        hole = min(os.lseek(fd, begin, os.SEEK_HOLE), end)
        if begin < end:
            yield begin, hole

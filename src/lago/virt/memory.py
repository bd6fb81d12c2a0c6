"""The memory of machines as files, which a snapshot copies while they stand still.

QEMU has the files mapped. What it writes itself of such a machine is only what its devices hold (see `migration`),
which takes milliseconds. Libvirt makes a directory of them for each start of a machine, named after its number, and
removes it at the end (`memory_backing_dir` in its qemu.conf).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ..host.beneath import as_seen_by_others, not_a_link
from ..host.files import replacing, sync
from .machine import Machine


def in_files(machine: Machine) -> bool:
    """Whether a machine has its memory in such files when it is started.

    Programs that share a machine's memory want another kind of it, and what a TPM holds is saved by libvirt only.
    """
    return machine.env.hypervisor.memory_dir is not None and not machine.spec.shares and not machine.spec.tpm


def directory(machine: Machine) -> str:
    """The directory in which libvirt has a directory of such files for each machine. Raises HypervisorError."""
    below = os.path.join(str(machine.env.hypervisor.memory_dir), "libvirt", "qemu")
    return machine.env.hypervisor.path_from_outside(below)


def files(machine: Machine) -> list[str]:
    """The files of a machine that runs, one for each NUMA node in their order; none if it has its memory elsewhere."""
    if machine.env.hypervisor.memory_dir is None:
        return []
    number = machine.domain().ID()
    try:
        found = [one.path for one in os.scandir(directory(machine)) if _belongs(one, number)]
    except FileNotFoundError:
        # Libvirt makes it for the first machine that needs it.
        return []
    names = [os.path.join(path, name) for path in found for name in os.listdir(path)]
    return sorted((name for name in names if not os.path.islink(name)), key=lambda name: (len(name), name))


def _belongs(found: os.DirEntry[str], number: int) -> bool:
    return found.name.startswith(f"{number}-") and found.is_dir(follow_symlinks=False)


def make_directory(machine: Machine, path: str) -> None:
    """Make a directory of such files, and those on the way, for libvirt to find and to remove. Raises OSError."""
    if not os.path.isdir(path):
        make_directory(machine, os.path.dirname(path))
        os.mkdir(path, 0o700)
        machine.env.hypervisor.give(path)


def save(sources: Sequence[str], dest: str) -> None:
    """Write files one after another, but for holes, to one that may hold an earlier state of them. Raises OSError."""
    base = 0
    with open(not_a_link(dest, os.O_RDWR | os.O_CREAT), "r+b", buffering=0) as write:
        for source in sources:
            with open(source, "rb", buffering=0, opener=as_seen_by_others) as read:
                size = os.fstat(read.fileno()).st_size
                write.truncate(base + size)
                _copy(read.fileno(), 0, write.fileno(), base, size)
                base += size


def blank(dest: str, size: int) -> None:
    """Make a file of memory that nobody has touched, of so many bytes. Raises OSError."""
    with open(dest, "wb", opener=not_a_link) as file:
        file.truncate(size)


def apart(source: str, sizes: Sequence[int]) -> list[str]:
    """A file for each of several parts of what `save` wrote; QEMU can't map any but the first of one.

    The first is the file itself. The others are copies beside it, which are made when they are needed first, and stay.

    Args:
        sizes: of the parts, in bytes.

    Raises:
        OSError: there is no room.
    """
    found, base = [source], sizes[0] if sizes else 0
    for number, size in enumerate(sizes[1:], 1):
        path = f"{source}.{number}"
        if not os.path.exists(path):
            with replacing(path) as temporary, open(source, "rb", buffering=0) as read:
                with open(temporary, "wb", buffering=0) as write:
                    write.truncate(size)
                    _copy(read.fileno(), base, write.fileno(), 0, size)
                    os.fchmod(write.fileno(), 0o444)
                # One that is cut off would be taken for the whole.
                sync(temporary)
        found.append(path)
        base += size
    return found


def load(source: str, dests: Sequence[str]) -> None:
    """Bring back into files what `save` wrote of them. Raises OSError."""
    base = 0
    with open(source, "rb", buffering=0) as read:
        for dest in dests:
            with open(dest, "r+b", buffering=0, opener=as_seen_by_others) as write:
                size = os.fstat(write.fileno()).st_size
                _copy(read.fileno(), base, write.fileno(), 0, size)
                base += size


def _copy(read: int, at: int, write: int, to: int, size: int) -> None:
    """Copy a part of a file into another one; what exists of it there and is a hole here becomes zeros."""
    copied = 0
    for begin, end in [*data(read, at, at + size), (at + size, at + size)]:
        for first, last in data(write, to + copied, to + begin - at):
            os.pwrite(write, bytes(last - first), first)
        copied = end - at
        os.lseek(write, to + begin - at, os.SEEK_SET)
        while begin < end:
            begin += os.sendfile(write, read, begin, end - begin)


def data(fd: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where a part of a file is no hole: offsets of begin and end."""
    hole = begin
    while hole < end:
        try:
            begin = os.lseek(fd, hole, os.SEEK_DATA)
        except OSError:
            return
        hole = min(os.lseek(fd, begin, os.SEEK_HOLE), end)
        if begin < end:
            yield begin, hole

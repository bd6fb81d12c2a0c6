"""What a machine has changed since it mapped a saved file, saved alone.

Its memory is then that file, the base, and a state that has the pages in it which are the machine's own by now, with
what its devices hold. All pages are counted from the base, so there is never more than one state between.

Other memory goes along: that of the screen, and what firmware is in. QEMU leaves it out with the rest.
"""

from __future__ import annotations

import itertools
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Final, NamedTuple

import libvirt

from ..errors import HypervisorError
from ..host.beneath import not_a_link
from ..host.files import replacing
from . import mapped, migration, pages, state_file, stream
from . import memory as ram
from .machine import Machine

MOST: Final = 0.25
"""By what part of the base a state may grow; with more, a base of its own costs less time at each revert."""

_LISTED: Final = re.compile(r"^\s*(\S+)\s+\d+ [KMG]iB\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s", re.MULTILINE)
"""Name and size of a block, of `info ramblock`."""

_PLACED: Final = re.compile(
    r"^\s*([0-9a-f]{16})-[0-9a-f]{16} \(prio -?\d+, (?:ram|rom|romd)\): (.+?)(?: @([0-9a-f]+))?(?: KVM)?$", re.MULTILINE
)
"""Address in the guest, name, and offset of a part of a block, of `info mtree -f`."""

_ADDRESS: Final = re.compile(r"^Host virtual address for 0x[0-9a-f]+ \((.+)\) is 0x([0-9a-f]+)$", re.MULTILINE)
_LOADED: Final = re.compile(r"/rom@.+|.*\.rom|system\.flash0")
"""Blocks that QEMU fills by itself, also where it waits for a state, and guests don't change."""


class _Source(NamedTuple):
    """A block of memory of which pages are saved, and where QEMU has it."""

    block: stream.Block
    address: int


class Delta:
    """A machine whose changes can be saved.

    Attributes:
        base: the file that it has mapped.
    """

    def __init__(self, machine: Machine) -> None:
        """Find all that is needed, while the machine runs.

        Raises:
            HypervisorError: it can't be saved so; says why.
            OSError: its process can't be looked at.
            libvirtError: libvirt refuses.
        """
        self._domain = machine.domain()
        found = mapped.of(machine)
        if found is None:
            raise HypervisorError("started, not from a snapshot")
        if reasons := migration.blocked(self._domain):
            raise HypervisorError(f"QEMU: {'; '.join(reasons)}")
        pid = machine.env.hypervisor.process(machine.libvirt_name())
        if pid is None:
            raise HypervisorError("no process of it")
        if os.sysconf("SC_PAGE_SIZE") != pages.SIZE:
            raise HypervisorError("pages of another size")
        self._pid = pid
        self.base = found.path
        self._sources = [*_mapped(pid, found.parts), *_others(self._domain, {part.name for part in found.parts})]
        flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
        self._text = self._domain.XMLDesc(flags)
        self._head = stream.own_head(_machine_type(self._text), tuple(one.block for one in self._sources))
        pages.private(pid, self._sources[0].address, pages.SIZE)

    def save(self, state: str) -> None:
        """Write the state of the machine, which stands still. Raises HypervisorError, OSError, libvirtError."""
        with open(state, "wb", buffering=0, opener=not_a_link) as file:
            state_file.write_text(file, self._text.encode())
            writer = stream.Writer(file.fileno(), self._head)
            for block, address in self._sources:
                runs = pages.private(self._pid, address, block.size)
                for found in pages.read(self._pid, address, runs):
                    writer.pages(block.name, found)
            with open(os.memfd_create("lago-state"), "w+b") as devices:
                migration.write(self._domain, devices.fileno())
                devices.seek(0)
                writer.devices(stream.devices(devices.read()))


def _machine_type(text: str) -> str:
    found = ET.fromstring(text).find("os/type")  # noqa: S314 - libvirt's own
    name = found.get("machine", "") if found is not None else ""
    if not name:
        raise HypervisorError("no machine type")
    return name


def _mapped(pid: int, parts: Iterable[mapped.Part]) -> Iterator[_Source]:
    """Find a machine's own memory. Raises HypervisorError if it is another than it should be."""
    for name, path, size in parts:
        place = pages.mapping(pid, path)
        if place is None or place.size != size:
            raise HypervisorError("the memory that it came from is gone or packed")
        yield _Source(stream.Block(name, size, 0), place.address)


def _others(domain: libvirt.virDomain, own: Set[str]) -> Iterator[_Source]:
    """Find the memory beside the machine's own. Raises HypervisorError if there is some that can't be found."""
    placed: dict[str, tuple[int, int]] = {}
    for address, name, offset in _PLACED.findall(migration.tell(domain, "info mtree -f")):
        placed.setdefault(name, (int(address, 16), int(offset or "0", 16)))
    listed = _LISTED.findall(migration.tell(domain, "info ramblock"))
    if not own <= set(dict(listed)):
        raise HypervisorError("QEMU does not list its memory")
    for name, size in listed:
        if name in own or _LOADED.fullmatch(name):
            continue
        region = name.rpartition("/")[2]
        if region not in placed or sum(other.rpartition("/")[2] == region for other, _ in listed) > 1:
            raise HypervisorError(f"no place of its memory {name}")
        address, offset = placed[region]
        answer = _ADDRESS.search(migration.tell(domain, f"gpa2hva {address:#x}"))
        if answer is None or answer[1] != region:
            raise HypervisorError(f"no place of its memory {name}")
        yield _Source(stream.Block(name, int(size, 16), 0), int(answer[2], 16) - offset)


def compact(base: str, state: str) -> None:
    """Leave out of a state the pages that are alike in the base.

    Args:
        base: the file that the state is counted from.
        state: the state, which nobody reads; it is replaced as a whole.

    Raises:
        OSError: there is no room.
        HypervisorError: it is none that we know.
    """
    with open(base, "rb", buffering=0) as under, replacing(state) as temporary:

        def needed(offset: int, data: bytes) -> bool:
            return os.pread(under.fileno(), pages.SIZE, offset) != data

        _rewrite(state, temporary, needed)


def merge(base: str, state: str, memory: str) -> None:
    """Make a base of a base with a state, which then has no page of the machine's own memory any more.

    The state as it was fits the new base as well, so it does no harm to be ended at any instant.

    Args:
        base: the file that the state is counted from.
        state: the state, which nobody reads; it is replaced as a whole.
        memory: the new base, which may be the old one if nobody uses that.

    Raises:
        OSError: there is no room.
        HypervisorError: it is none that we know.
    """
    with replacing(state) as new_state, replacing(memory) as new_memory:
        ram.save([base], new_memory)
        with open(new_memory, "r+b", buffering=0, opener=not_a_link) as dest:

            def needed(offset: int, data: bytes) -> bool:
                os.pwrite(dest.fileno(), data, offset)
                return False

            _rewrite(state, new_state, needed)
        os.chmod(new_memory, 0o444)


def _rewrite(source: str, dest: str, needed: Callable[[int, bytes], bool]) -> None:
    """Copy a state, of the machine's own memory only pages that are `needed`, by their offset in the base."""
    with open(source, "rb") as old, open(dest, "wb", buffering=0, opener=not_a_link) as new:
        state_file.write_text(new, state_file.read_text(old))
        head = stream.head(old)
        own = [block for block in head.blocks if mapped.is_main(block.name)]
        ends = itertools.accumulate(block.size for block in own)
        begins = {block.name: end - block.size for block, end in zip(own, ends, strict=True)}
        writer = stream.Writer(new.fileno(), head)
        for page in stream.pages(old, head):
            begin = begins.get(page.block)
            if begin is None or needed(begin + page.offset, page.data or pages.ZEROS):
                writer.page(page._replace(data=None) if page.data == pages.ZEROS else page)
        writer.devices(old.read())
        os.fchmod(new.fileno(), 0o444)


def large(base: str, state: str) -> bool:
    """Whether a state has become so large that it should be merged."""
    return os.stat(state).st_size > MOST * os.stat(base).st_blocks * 512 + _SMALL


_SMALL: Final = 2 << 20
"""Bytes that a state may always have, which may be all of devices."""

"""QEMU's migration stream, as far as it must be understood to bring a machine back on other memory.

It begins with what both sides must agree on, and with a list of the blocks of memory, each with its name and size. With
the capability `x-ignore-shared` there is also the address of each.
https://www.qemu.org/docs/master/devel/migration/main.html, and ram_save_setup in migration/ram.c
"""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Mapping
from typing import BinaryIO, Final, NamedTuple

from ..errors import HypervisorError

IGNORE_SHARED: Final = "x-ignore-shared"
_MAGIC: Final = b"QEVM\x00\x00\x00\x03"
_START: Final = 0x01
_SUBSECTION: Final = 0x05
_CONFIGURATION: Final = 0x07
_SIZES: Final = 0x04


class Block(NamedTuple):
    """A block of memory in the list: its name, its size in bytes, and its address if the list has that."""

    name: str
    size: int
    address: int | None


class Head(NamedTuple):
    """How a stream begins.

    Attributes:
        machine: the machine type.
        capabilities: those that the reader must have too.
        section: number of the section that has the memory.
        blocks: the list.
    """

    machine: str
    capabilities: tuple[str, ...]
    section: int
    blocks: tuple[Block, ...]

    def renamed(self, names: Mapping[str, str]) -> Head:
        """The same with other names of blocks; those that are not in `names` stay."""
        return self._replace(blocks=tuple(one._replace(name=names.get(one.name, one.name)) for one in self.blocks))

    def encoded(self) -> bytes:
        """The bytes of it, as QEMU writes them."""
        parts = [_MAGIC, bytes([_CONFIGURATION]), _long_text(self.machine)]
        if self.capabilities:
            parts += [bytes([_SUBSECTION]), _text("configuration/capabilities"), struct.pack(">I", 1)]
            parts += [struct.pack(">I", len(self.capabilities)), *map(_text, self.capabilities)]
        parts += [struct.pack(">BI", _START, self.section), _text("ram"), struct.pack(">II", 0, 4)]
        parts.append(struct.pack(">Q", sum(one.size for one in self.blocks) | _SIZES))
        for name, size, address in self.blocks:
            parts += [_text(name), struct.pack(">Q", size), b"" if address is None else struct.pack(">Q", address)]
        return b"".join(parts)


def head(file: BinaryIO) -> Head:
    """Read how a stream begins. Raises HypervisorError if it is none that we know."""
    try:
        return _head(file)
    except (struct.error, UnicodeDecodeError, _UnknownError) as error:
        raise HypervisorError(f"the saved state of a machine is none that Lago knows: {error}") from None


class _UnknownError(Exception):
    """Something else is there than what we know."""


def _head(file: BinaryIO) -> Head:
    _expect(file, _MAGIC)
    _expect(file, bytes([_CONFIGURATION]))
    (length,) = _numbers(file, ">I")
    machine = file.read(length).decode()
    kind = file.read(1)
    capabilities: tuple[str, ...] = ()
    if kind == bytes([_SUBSECTION]):
        _expect(file, _text("configuration/capabilities") + struct.pack(">I", 1))
        (count,) = _numbers(file, ">I")
        capabilities = tuple(_name(file) for _ in range(count))
        kind = file.read(1)
    if kind != bytes([_START]):
        raise _UnknownError(f"section {kind.hex()}")
    (section,) = _numbers(file, ">I")
    _expect(file, _text("ram") + struct.pack(">II", 0, 4))
    (total,) = _numbers(file, ">Q")
    if not total & _SIZES:
        raise _UnknownError("no list of memory")
    return Head(machine, capabilities, section, _blocks(file, total & ~_SIZES, IGNORE_SHARED in capabilities))


def _blocks(file: BinaryIO, total: int, addresses: bool) -> tuple[Block, ...]:
    found = []
    while total > 0:
        name = _name(file)
        size, *address = _numbers(file, ">QQ" if addresses else ">Q")
        found.append(Block(name, size, address[0] if address else None))
        total -= size
    return tuple(found)


def _numbers(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _name(file: BinaryIO) -> str:
    (length,) = _numbers(file, ">B")
    return file.read(length).decode()


def _expect(file: BinaryIO, wanted: bytes) -> None:
    if (found := file.read(len(wanted))) != wanted:
        raise _UnknownError(f"{found!r} in place of {wanted!r}")


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _long_text(text: str) -> bytes:
    return struct.pack(">I", len(text)) + text.encode()


def copy(source: BinaryIO, dest: BinaryIO, names: Mapping[str, str]) -> None:
    """Copy a stream whose memory is elsewhere, with other names in the list of blocks. Raises HypervisorError, OSError.

    Args:
        names: new names by old ones.
    """
    dest.write(head(source).renamed(names).encoded())
    shutil.copyfileobj(source, dest, io.DEFAULT_BUFFER_SIZE << 5)

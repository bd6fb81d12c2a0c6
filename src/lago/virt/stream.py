"""QEMU's migration stream, as far as it must be understood to bring a machine back on other memory.

It begins with what both sides must agree on, and with a list of the blocks of memory, each with its name and size. With
the capability `x-ignore-shared` there is also the address of each. Pages follow, of any of these blocks. A page that
is not there stays as the reader has it. Last comes what devices hold.
https://www.qemu.org/docs/master/devel/migration/main.html, and ram_save_setup and ram_load in migration/ram.c
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final, NamedTuple

from ..errors import HypervisorError
from .pages import SIZE

IGNORE_SHARED: Final = "x-ignore-shared"
_MAGIC: Final = b"QEVM\x00\x00\x00\x03"
_END_OF_STREAM: Final = 0x00
_START: Final = 0x01
_PART: Final = 0x02
_END: Final = 0x03
_FULL: Final = 0x04
_SUBSECTION: Final = 0x05
_DESCRIPTION: Final = 0x06
_CONFIGURATION: Final = 0x07
_FOOTER: Final = 0x7E

_FLAGS: Final = SIZE - 1
"""The bits of a page's offset that say what follows."""

_ZERO: Final = 0x02
_SIZES: Final = 0x04
_DATA: Final = 0x08
_END_OF_PART: Final = 0x10
_CONTINUES: Final = 0x20
"""The page is of the same block as the one before, whose name is not told again."""

_CHUNK: Final = 1 << 20
_NUMBER: Final = struct.Struct(">Q")
_SECTION: Final = 2
_MOST: Final = 1000
"""Pieces written by one call; Linux takes 1024."""


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

    def with_shared(self) -> Head:
        """The same for a reader that takes pages of memory which others can map, too."""
        blocks = tuple(one._replace(address=None) for one in self.blocks)
        return self._replace(capabilities=(), blocks=blocks)

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
    with _known():
        _expect(file, _MAGIC)
        _expect(file, bytes([_CONFIGURATION]))
        machine, capabilities, kind = _configuration(file)
        if kind != _START:
            raise _UnknownError(f"section {kind}")
        (section,) = _numbers(file, ">I")
        _expect(file, _text("ram") + struct.pack(">II", 0, 4))
        (total,) = _numbers(file, ">Q")
        if not total & _SIZES:
            raise _UnknownError("no list of memory")
        return Head(machine, capabilities, section, _blocks(file, total & ~_SIZES, IGNORE_SHARED in capabilities))


class _UnknownError(Exception):
    """Something else is there than what we know."""


@contextlib.contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except (struct.error, UnicodeDecodeError, _UnknownError) as error:
        raise HypervisorError(f"the saved state of a machine is none that Lago knows: {error}") from None


def _configuration(file: BinaryIO) -> tuple[str, tuple[str, ...], int]:
    """Read the machine type, the capabilities, and the kind of the section that follows."""
    (length,) = _numbers(file, ">I")
    machine = file.read(length).decode()
    (kind,) = _numbers(file, ">B")
    if kind != _SUBSECTION:
        return machine, (), kind
    _expect(file, _text("configuration/capabilities") + struct.pack(">I", 1))
    (count,) = _numbers(file, ">I")
    capabilities = tuple(_name(file) for _ in range(count))
    return machine, capabilities, _numbers(file, ">B")[0]


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


def own_head(machine: str, blocks: tuple[Block, ...]) -> Head:
    """The head of a stream that we write ourselves.

    Args:
        machine: the machine type.
        blocks: those of which there may be pages, with addresses.
    """
    return Head(machine, (IGNORE_SHARED,), _SECTION, blocks)


class Page(NamedTuple):
    """A page of a block; without data it is zeros."""

    block: str
    offset: int
    data: bytes | None


def pages(file: BinaryIO, head: Head) -> Iterator[Page]:
    """Read the pages that follow the head; at the end the file is where devices begin. Raises HypervisorError."""
    with _known():
        block, kind = "", _START
        while kind in (_START, _PART, _END):
            while not (number := _numbers(file, ">Q")[0]) & _END_OF_PART:
                if not number & _CONTINUES:
                    block = _name(file)
                yield Page(block, number & ~_FLAGS, _content(file, number & _FLAGS & ~_CONTINUES))
            _expect(file, struct.pack(">BI", _FOOTER, head.section))
            (kind,) = _numbers(file, ">B")
            if kind in (_PART, _END):
                _expect(file, struct.pack(">I", head.section))
        file.seek(-1, os.SEEK_CUR)


def _content(file: BinaryIO, kind: int) -> bytes | None:
    if kind == _ZERO and file.read(1) == b"\0":
        return None
    if kind == _DATA and len(data := file.read(SIZE)) == SIZE:
        return data
    raise _UnknownError(f"a page of kind {kind:#x}")


class Writer:
    """Writes a stream. Raises OSError."""

    def __init__(self, file: int, head: Head) -> None:
        """Begin it.

        Args:
            file: where it goes.
            head: its head, with the blocks of which there may be pages.
        """
        self._file = file
        self._block = ""
        self._end = struct.pack(">QBI", _END_OF_PART, _FOOTER, head.section)
        self._pieces: list[bytes | memoryview] = [
            head.encoded(),
            self._end,
            struct.pack(">BI", _END, head.section),
        ]

    def pages(self, block: str, runs: Iterable[tuple[int, memoryview]]) -> None:
        """Write pages, of which those of a run follow each other, by the offset of the first."""
        for offset, data in runs:
            for at in range(0, len(data), SIZE):
                self._begin(block, offset + at, _DATA)
                self._pieces.append(data[at : at + SIZE])
                if len(self._pieces) >= _MOST:
                    self._flush()
        # The memory may be used for something else then.
        self._flush()

    def page(self, page: Page) -> None:
        """Write a page."""
        self._begin(page.block, page.offset, _ZERO if page.data is None else _DATA)
        self._pieces.append(b"\0" if page.data is None else page.data)
        if len(self._pieces) >= _MOST:
            self._flush()

    def _begin(self, block: str, offset: int, kind: int) -> None:
        if block == self._block:
            self._pieces.append(_NUMBER.pack(offset | kind | _CONTINUES))
        else:
            self._pieces.append(_NUMBER.pack(offset | kind) + _text(block))
            self._block = block

    def devices(self, data: bytes) -> None:
        """Write what devices hold, which is the end of it."""
        self._pieces += [self._end, data]
        self._flush()

    def _flush(self) -> None:
        done = os.writev(self._file, self._pieces)
        if done < sum(map(len, self._pieces)):
            # A file system that becomes full takes a part first.
            rest = memoryview(b"".join(self._pieces))[done:]
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self._pieces.clear()


def copy(source: BinaryIO, head: Head, file: int, names: Mapping[str, str]) -> None:
    """Copy a stream with other names of blocks. Raises HypervisorError, OSError.

    Args:
        source: the stream, of which the head was read.
        head: the head for it, with the names that it had.
        file: where it goes.
        names: new names by old ones.
    """
    if any(one.name in names for one in head.blocks):
        writer = Writer(file, head.renamed(names))
        for page in pages(source, head):
            writer.page(page._replace(block=names.get(page.block, page.block)))
        writer.devices(source.read())
    else:
        with open(file, "wb", closefd=False) as dest:
            dest.write(head.encoded())
            shutil.copyfileobj(source, dest, _CHUNK)


def devices(data: bytes) -> bytes:
    """What devices hold, of the stream without memory that `xen-save-devices-state` writes. Raises HypervisorError.

    Such a stream does not name the machine, nor describe itself at its end, which readers of others expect.
    """
    with _known():
        file = io.BytesIO(data)
        _expect(file, _MAGIC)
        (kind,) = _numbers(file, ">B")
        if kind == _CONFIGURATION:
            *_, kind = _configuration(file)
        if kind != _FULL:
            raise _UnknownError(f"section {kind}")
        rest = data[file.tell() - 1 :]
        # Some releases describe it.
        return rest + struct.pack(">BI", _DESCRIPTION, 2) + b"{}" if rest.endswith(bytes([_END_OF_STREAM])) else rest

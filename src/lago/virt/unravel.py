"""The stream of a machine that QEMU migrates, taken apart while it comes: memory to one file, the rest to another.

Pages of the machine's memory go to their place in a sparse file. All else stays as it came, and is what QEMU writes of
a machine whose memory it leaves out by the capability `x-ignore-shared`, which is on here too.
https://www.qemu.org/docs/master/devel/migration/main.html, and ram_save_setup, ram_save_page in migration/ram.c
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import islice, repeat
from typing import BinaryIO, Final

from ..errors import HypervisorError

_MAGIC: Final = b"QEVM\x00\x00\x00\x03"
_START: Final = 0x01
_PART: Final = 0x02
_END: Final = 0x03
_FULL: Final = 0x04
_SUBSECTION: Final = 0x05
_CONFIGURATION: Final = 0x07
_FOOTER: Final = 0x7E
_CAPABILITIES: Final = b"\x1aconfiguration/capabilities\x00\x00\x00\x01"
_RAM: Final = b"\x03ram\x00\x00\x00\x00\x00\x00\x00\x04"
"""Name of the section with memory, its instance and its version."""

_PAGE: Final = 4096
_ZERO: Final = 0x02
_SIZES: Final = 0x04
_DATA: Final = 0x08
_END_OF_PART: Final = 0x10
_CONTINUES: Final = 0x20
"""The page is of the same block as the one before, whose name is not told again."""

_FLAGS: Final = _PAGE - 1
_NUMBER: Final = struct.Struct(">Q")
_DATA_RECORD: Final = struct.Struct(f">Q{_PAGE}x")
_ZERO_RECORD: Final = struct.Struct(">QB")
_MOST: Final = 512
"""Pages written by one call, of which the system takes 1024 at most."""

_ROOM: Final = 1 << 20
_ONES: Final = b"\1" * _MOST * 8


def unravel(
    pipe: int, memory: int, state: BinaryIO, parts: Iterable[str], halt: Callable[[float], None] = lambda _: None
) -> None:
    """Read a stream to its end.

    Args:
        pipe: where it comes from.
        memory: the file for memory, which is empty. It gets the size of all parts.
        state: the file for the rest.
        parts: the blocks that are the machine's memory, in the order in which they are to be in the file.
        halt: is told again and again how often the memory has come so far, such as 0.5 for half of it, or more than 1
            when QEMU is at what changed meanwhile; the reading goes on when it returns.

    Raises:
        HypervisorError: it ends early, or has something in it that we don't know.
        OSError: a file can't be written.
    """
    _Unravel(_Source(pipe), memory, state, list(parts), halt).run()


class _Source:
    """What was read of a pipe and not yet used: `view[at:end]`."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self.view = memoryview(bytearray(_ROOM))
        self.at = self.end = 0

    def need(self, size: int) -> None:
        """Have at least so many bytes. Raises HypervisorError."""
        if self.end - self.at >= size:
            return
        rest = self.end - self.at
        self.view[:rest] = bytes(self.view[self.at : self.end])
        self.at, self.end = 0, rest
        while self.end < size:
            if not self.more():
                raise HypervisorError("QEMU's stream ends early")

    def more(self) -> int:
        """Read what there is; how many bytes came, 0 at the end of the stream."""
        got = os.readv(self._pipe, [self.view[self.end :]])
        self.end += got
        return got

    def take(self, size: int) -> bytes:
        self.need(size)
        self.at += size
        return bytes(self.view[self.at - size : self.at])

    def expect(self, wanted: bytes) -> bytes:
        found = self.take(len(wanted))
        if found != wanted:
            raise _unknown(f"{found!r} in place of {wanted!r}")
        return found

    def name(self) -> bytes:
        """A name, with its length before it."""
        length = self.take(1)
        return length + self.take(length[0])

    def alike(self, begin: int, wanted: Iterable[tuple[int, ...]], record: struct.Struct) -> int:
        """How many records that are here already, from an offset on, are as wanted."""
        found, step, expected = 0, 4, iter(wanted)
        while count := min(step, (self.end - begin) // record.size, _MOST - 1 - found):
            there = list(record.iter_unpack(self.view[begin : begin + count * record.size]))
            here = list(islice(expected, count))
            if there != here:
                return found + next(
                    index for index in range(count) if there[index : index + 1] != here[index : index + 1]
                )
            found += count
            begin += count * record.size
            step *= 4
        return found


class _Part:
    """A block that is memory of the machine.

    Attributes:
        base: where it begins in the file.
        written: a byte for each page, 1 if it was written.
    """

    def __init__(self, base: int, size: int) -> None:
        self.base = base
        self.written = bytearray(size // _PAGE)


class _Unravel:
    def __init__(
        self, source: _Source, memory: int, state: BinaryIO, parts: list[str], halt: Callable[[float], None]
    ) -> None:
        self._source, self._memory, self._state, self._names, self._halt = source, memory, state, parts, halt
        self._parts: dict[str, _Part] = {}
        self._starts: dict[str, int] = {}
        self._total = self._position = self._round = 0
        self._block = ""

    def run(self) -> None:
        source = self._source
        self._state.write(source.expect(_MAGIC))
        self._state.write(source.expect(bytes([_CONFIGURATION])))
        length = source.take(4)
        self._state.write(length + source.take(int.from_bytes(length, "big")))
        kind = source.take(1)[0]
        if kind == _SUBSECTION:
            count = source.expect(_CAPABILITIES) and source.take(4)
            names = [source.name() for _ in range(int.from_bytes(count, "big"))]
            self._state.write(b"".join([bytes([kind]), _CAPABILITIES, count, *names]))
            kind = source.take(1)[0]
        last = 0
        while kind in (_START, _PART, _END):
            self._section(kind)
            last, kind = kind, source.take(1)[0]
        if kind != _FULL or last != _END:
            raise _unknown(f"section {kind} after {last}")
        self._state.write(bytes([kind]))
        while True:
            self._state.write(source.view[source.at : source.end])
            source.at = source.end = 0
            if not source.more():
                return

    def _section(self, kind: int) -> None:
        source = self._source
        number = source.take(4)
        kept = bytearray(bytes([kind]) + number)
        if kind == _START:
            kept += source.expect(_RAM)
        head = len(kept)
        while True:
            (header,) = _NUMBER.unpack(source.take(8))
            flags, offset = header & _FLAGS, header & ~_FLAGS
            if flags == _END_OF_PART:
                break
            if flags == _SIZES:
                kept += _NUMBER.pack(header) + self._sizes(offset)
            elif flags & ~_CONTINUES in (_DATA, _ZERO):
                self._page(kept, header)
            else:
                raise _unknown(f"flags {flags:#x}")
        foot = source.expect(bytes([_FOOTER]) + number)
        if kind != _PART or len(kept) > head:
            self._state.write(kept + _NUMBER.pack(_END_OF_PART) + foot)

    def _sizes(self, total: int) -> bytes:
        """Read the list of blocks, each with its name, size and address."""
        listed, sizes = b"", {}
        self._total = total
        while total > 0:
            name = self._source.name()
            numbers = self._source.take(16)
            block = name[1:].decode(errors="replace")
            self._starts[block] = self._total - total
            sizes[block] = int.from_bytes(numbers[:8], "big")
            total -= sizes[block]
            listed += name + numbers
        self._place(sizes)
        return listed

    def _place(self, sizes: Mapping[str, int]) -> None:
        base = 0
        for name in self._names:
            block = name if name in sizes else f"/objects/{name}"
            if block not in sizes:
                raise _unknown(f"no memory {name}")
            self._parts[block] = _Part(base, sizes[block])
            base += sizes[block]
        os.ftruncate(self._memory, base)

    def _page(self, kept: bytearray, header: int) -> None:
        source = self._source
        name = b""
        if not header & _CONTINUES:
            name = source.name()
            self._block = name[1:].decode(errors="replace")
        offset = header & ~_FLAGS
        size = _PAGE if header & _DATA else 1
        source.need(size)
        part = self._parts.get(self._block)
        if part is None:
            kept += _NUMBER.pack(header) + name + source.take(size)
            pages = 1
        elif offset + _PAGE > len(part.written) * _PAGE:
            raise _unknown(f"a page beyond the end of {self._block}")
        elif header & _DATA:
            pages = self._write(part, offset)
        else:
            pages = self._clear(part, offset)
        position = self._starts.get(self._block, 0) + offset
        if position < self._position:
            self._round += 1
        self._position = position + (pages - 1) * _PAGE
        self._halt(self._round + self._position / self._total)

    def _write(self, part: _Part, offset: int) -> int:
        """Write a page, and those after it that are here already."""
        source, record = self._source, _DATA_RECORD
        begin, first = source.at, offset // _PAGE
        end = len(part.written) * _PAGE
        wanted = zip(range(offset + _PAGE | _DATA | _CONTINUES, end, _PAGE), strict=False)
        count = 1 + source.alike(begin + _PAGE, wanted, record)
        pages = [source.view[at : at + _PAGE] for at in range(begin, begin + count * record.size, record.size)]
        _write_all(self._memory, pages, part.base + offset)
        part.written[first : first + count] = _ONES[:count]
        source.at += _PAGE + (count - 1) * record.size
        return count

    def _clear(self, part: _Part, offset: int) -> int:
        """Let a page, and those after it that are told already, be zeros; where none was written they are a hole."""
        source, record = self._source, _ZERO_RECORD
        first, end = offset // _PAGE, len(part.written) * _PAGE
        if source.take(1) != b"\0":
            raise _unknown("a page filled with what is not zero")
        wanted = zip(range(offset + _PAGE | _ZERO | _CONTINUES, end, _PAGE), repeat(0))
        count = 1 + source.alike(source.at, wanted, record)
        source.at += (count - 1) * record.size
        for page in range(first, first + count) if 1 in part.written[first : first + count] else ():
            if part.written[page]:
                _write_all(self._memory, [bytes(_PAGE)], part.base + page * _PAGE)
        return count


def _write_all(file: int, pieces: list[memoryview] | list[bytes], offset: int) -> None:
    size = sum(map(len, pieces))
    done = os.pwritev(file, pieces, offset)
    if done < size:
        # A file system that becomes full takes a part first.
        rest = memoryview(b"".join(pieces))
        while done < size:
            done += os.pwrite(file, rest[done:], offset + done)


def _unknown(what: str) -> HypervisorError:
    return HypervisorError(f"QEMU's stream is none that Lago knows: {what}")

"""The memory of another process: which pages of a mapped file are its own by now, what they hold, and what it costs.

The kernel tells a page that a process has written to, so that it has a copy of its own, from one that is the file's.
https://www.kernel.org/doc/html/latest/admin-guide/mm/pagemap.html
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

SIZE: Final = 4096
"""Bytes of a page, of guests and of this host."""

ZEROS: Final = bytes(SIZE)
"""What a page holds that nobody has written to."""

Runs = list[tuple[int, int]]
"""Where pages are that follow each other: offset of the first, and offset behind the last."""

_CHUNK: Final = 1 << 20
_PRIVATE: Final = bytes(1 if byte & 0xC0 and not byte & 0x20 else 0 for byte in range(256))
"""By the highest byte of an entry of a page map: present or swapped out, and not of a file."""

_SOME: Final = re.compile(rb"\x01+")
_ENTRY: Final = 8
_MAP_CHUNK: Final = 1 << 20


class Mapping(NamedTuple):
    """Where a process has a file, from its first byte on: the address, and the size in bytes."""

    address: int
    size: int


def mapping(pid: int, path: str) -> Mapping | None:
    """Where a process has mapped a file so that what it writes is its own; None if it has not, or not as a whole.

    Args:
        path: the file, by the name that it was opened by. If it was removed, or another is there, it is none.
    """
    found = []
    wanted = os.path.realpath(path).replace("\n", "\\012")
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for line in file:
            place, how, offset, _device, _number, *name = line.rstrip("\n").split(maxsplit=5)
            if name == [wanted] and how[3] == "p":
                begin, end = (int(part, 16) for part in place.split("-"))
                found.append(_Area(int(offset, 16), begin, end - begin))
    size = 0
    for area in sorted(found):
        if area.offset != size or area.begin - area.offset != found[0].begin - found[0].offset:
            return None
        size += area.size
    return Mapping(found[0].begin - found[0].offset, size) if found else None


class _Area(NamedTuple):
    offset: int
    begin: int
    size: int


def private(pid: int, address: int, size: int) -> Runs:
    """Return where a process has pages of its own in a part of its memory, as offsets from there. Raises OSError."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        try:
            return list(joined(_scanned(file.fileno(), address, size)))
        except OSError as error:
            if error.errno != errno.ENOTTY:
                raise
            return list(joined(_listed(file.fileno(), address, size)))


def joined(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield runs that are in order, those that follow each other as one."""
    begin = end = 0
    for first, last in runs:
        if first != end:
            if end > begin:
                yield begin, end
            begin = first
        end = last
    if end > begin:
        yield begin, end


def _listed(pagemap: int, address: int, size: int) -> Iterator[tuple[int, int]]:
    """Runs by the entries of all pages, which kernels before 6.7 have only."""
    done, length = 0, size // SIZE * _ENTRY
    while done < length:
        data = os.pread(pagemap, min(_MAP_CHUNK, length - done), address // SIZE * _ENTRY + done)
        if not data:
            raise OSError(errno.EIO, "the page map ends early")
        first = done // _ENTRY
        for run in _SOME.finditer(data[_ENTRY - 1 :: _ENTRY].translate(_PRIVATE)):
            yield (first + run.start()) * SIZE, (first + run.end()) * SIZE
        done += len(data)


class _Scan(ctypes.Structure):
    """Struct pm_scan_arg of linux/fs.h."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("size", "flags", "start", "end", "walk_end", "vec", "vec_len")),
        *((name, ctypes.c_uint64) for name in ("max_pages", "inverted", "mask", "any_of", "wanted")),
    )


_REGION: Final = 3
"""Numbers of a struct page_region: its begin, its end, and what its pages are."""

_REGIONS: Final = 4096
_PAGEMAP_SCAN: Final = 3 << 30 | ctypes.sizeof(_Scan) << 16 | ord("f") << 8 | 16
_FILE, _PRESENT, _SWAPPED, _ZERO_PAGE = (1 << bit for bit in (2, 3, 4, 5))


def _scanned(pagemap: int, address: int, size: int) -> Iterator[tuple[int, int]]:
    """Runs by the kernel itself. Raises OSError with ENOTTY where it can't."""
    regions = array.array("Q", bytes(8 * _REGION * _REGIONS))
    at, end = address, address + size
    while at < end:
        not_these = _FILE | _ZERO_PAGE
        scan = _Scan(
            size=ctypes.sizeof(_Scan),
            start=at,
            end=end,
            vec=regions.buffer_info()[0],
            vec_len=_REGIONS,
            inverted=not_these,
            mask=not_these,
            any_of=_PRESENT | _SWAPPED,
            wanted=_PRESENT | _SWAPPED,
        )
        count = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, scan)
        for number in range(0, count * _REGION, _REGION):
            yield regions[number] - address, regions[number + 1] - address
        at = scan.walk_end


def length(runs: Runs) -> int:
    """Bytes of runs."""
    return sum(end - begin for begin, end in runs)


def read(pid: int, address: int, runs: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, memoryview]]]:
    """Yield what runs of a process's memory hold: offsets, each with bytes that are valid until the next yield.

    Raises:
        OSError: it can't be read.
    """
    buffer = memoryview(bytearray(_CHUNK))
    found: list[tuple[int, memoryview]] = []
    used = 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for begin, end in _pieces(runs):
            if used + end - begin > _CHUNK:
                yield found
                found, used = [], 0
            view = buffer[used : used + end - begin]
            if os.preadv(file.fileno(), [view], address + begin) != len(view):
                raise OSError(errno.EIO, f"the memory of process {pid} can't be read")
            found.append((begin, view))
            used += len(view)
        yield found


def write(pid: int, address: int, pieces: Iterable[tuple[int, bytes | memoryview]]) -> None:
    """Write to a process's memory: pieces by their offset. Raises OSError."""
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as file:
        for offset, data in pieces:
            if os.pwrite(file.fileno(), data, address + offset) != len(data):
                raise OSError(errno.EIO, f"the memory of process {pid} can't be written")


def _pieces(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for begin, end in runs:
        for first in range(begin, end, _CHUNK):
            yield first, min(first + _CHUNK, end)


def held(pid: int) -> int:
    """Bytes of memory that a process has for itself: what is no file's, and its part of what is in a tmpfs.

    Raises:
        OSError: it has ended, or is not ours to look at.
    """
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as file:
        found = dict(line.split(":", 1) for line in itertools.islice(file, 1, None))
    return sum(int(found[name].split()[0]) << 10 for name in ("Pss_Anon", "Pss_Shmem"))

"""A copy of the memory of a machine, made alike again by comparing all of it: what nobody is told of is not missed.

A part of a guest's memory differs little from one instant to the next, and to read it twice takes a fraction of the
time that it takes to write it. So the copy is written while the machine runs, and what differs when it stands still.
Both are compared where they are, mapped, as far as they are in memory; the rest is not waited for but copied.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from ..host.beneath import as_seen_by_others
from ..host.files import in_memory, local
from ..host.parallel import Closing
from . import memory as ram
from . import pages

_PIECE: Final = 4 << 20
_STEPS: Final = (1 << 18, 1 << 15, pages.SIZE)
"""In what lengths is compared, and then compared again what differs."""

_ZEROS: Final = bytes(1 << 20)
_MOST: Final = 8
"""Threads for each machine. More would not read faster, as it is the memory that sets the pace."""

_THERE: Final = re.compile(rb"\x01+")
_FAILED: Final = ctypes.c_void_p(-1).value

# A call gives up Python's lock, so threads compare side by side.
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong
)  # fmt: skip
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _View(Closing):
    """A file that is mapped; `address` is where."""

    def __init__(self, path: str, flags: int) -> None:
        with contextlib.ExitStack() as undo:
            self.fd = as_seen_by_others(path, flags)
            undo.callback(os.close, self.fd)
            self.size = os.fstat(self.fd).st_size
            found = _libc.mmap(None, self.size, mmap.PROT_READ, mmap.MAP_SHARED, self.fd, 0)
            if found == _FAILED:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)
            self.address: int = found
            self._undo = undo.pop_all()

    def close(self) -> None:
        _libc.munmap(self.address, self.size)
        self._undo.close()


class _Piece(NamedTuple):
    """A part of the copy: where it is, its length, and the file and the place there that it shall be like.

    Without a file it shall be zeros.
    """

    to: int
    size: int
    source: _View | None
    at: int


class Copy(Closing):
    """A file that has what other files hold one after another, or what they held a while ago.

    Attributes:
        sources: these files.
    """

    def __init__(self, sources: Sequence[str], dest: str) -> None:
        """Map them all.

        Raises:
            OSError: they can't be compared so that it is certain what differs.
        """
        if not local(dest) or not all(map(in_memory, sources)):
            raise OSError(errno.EOPNOTSUPP, "a mapping may not show what is written")
        self.sources = tuple(sources)
        with contextlib.ExitStack() as undo:
            self._views = [undo.enter_context(_View(path, os.O_RDONLY)) for path in sources]
            self._dest = undo.enter_context(_View(dest, os.O_RDWR))
            odd = [view for view in self._views if view.size % mmap.PAGESIZE]
            if odd or sum(view.size for view in self._views) != self._dest.size:
                raise OSError(errno.EINVAL, "sizes do not fit")
            self._undo = undo.pop_all()

    def update(self) -> int:
        """Make the file alike, which it is for certain if nothing else changes meanwhile.

        Returns:
            How many bytes of it were written.

        Raises:
            OSError: it can't be written.
        """
        work = deque(self._pieces())
        threads = min(len(os.sched_getaffinity(0)), _MOST)
        with ThreadPoolExecutor(threads) as pool:
            done = [pool.submit(self._mend_all, work) for _ in range(threads)]
        return sum(one.result() for one in done)

    def _pieces(self) -> Iterator[_Piece]:
        """All that is not a hole on both sides. A hole of a tmpfs must not be looked into, as it would take room."""
        base = 0
        for view in self._views:
            hole = 0
            for begin, end in [*ram.data(view.fd, 0, view.size), (view.size, view.size)]:
                for first, last in ram.data(self._dest.fd, base + hole, base + begin):
                    yield from (_Piece(to, size, None, 0) for to, size in _cut(first, last, len(_ZEROS)))
                yield from (_Piece(base + at, size, view, at) for at, size in _cut(begin, end, _PIECE))
                hole = end
            base += view.size

    def _mend_all(self, work: deque[_Piece]) -> int:
        written = 0
        with contextlib.suppress(IndexError):
            while True:
                written += self._mend(work.popleft())
        return written

    def _mend(self, piece: _Piece) -> int:
        ours = self._dest.address + piece.to
        if piece.source is None:
            if all(_there(ours, piece.size)) and not _libc.memcmp(ours, _ZEROS, piece.size):
                return 0
            self._write(memoryview(_ZEROS)[: piece.size], piece.to)
            return piece.size
        runs = list(pages.joined(_differing(ours, piece.source.address + piece.at, piece.size)))
        for begin, end in runs:
            data = os.pread(piece.source.fd, end - begin, piece.at + begin)
            if len(data) != end - begin:
                raise OSError(errno.EIO, "memory ends early")
            self._write(memoryview(data), piece.to + begin)
        return pages.length(runs)

    def _write(self, data: memoryview, at: int) -> None:
        while data:
            # A disk that becomes full takes a part of it first.
            done = os.pwrite(self._dest.fd, data, at)
            data, at = data[done:], at + done

    def close(self) -> None:
        self._undo.close()


def _cut(begin: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Offset and length of parts."""
    for at in range(begin, end, most):
        yield at, min(most, end - at)


def _differing(ours: int, theirs: int, size: int) -> Iterator[tuple[int, int]]:
    """Where two parts of memory may differ, in order: offsets of begin and end.

    What would have to be read first may differ; read by a mapping it could end this process (`SIGBUS`) if it fails.
    """
    here, there = _there(ours, size), _there(theirs, size)
    both = (int.from_bytes(here) & int.from_bytes(there)).to_bytes(len(here))
    at = 0
    for run in _THERE.finditer(both):
        begin, end = run.start() * mmap.PAGESIZE, min(run.end() * mmap.PAGESIZE, size)
        if begin > at:
            yield at, begin
        yield from _compared(ours, theirs, begin, end, _STEPS)
        at = end
    if at < size:
        yield at, size


def _compared(ours: int, theirs: int, begin: int, end: int, steps: Sequence[int]) -> Iterator[tuple[int, int]]:
    for at, length in _cut(begin, end, steps[0]):
        if _libc.memcmp(ours + at, theirs + at, length):
            if steps[1:]:
                yield from _compared(ours, theirs, at, at + length, steps[1:])
            else:
                yield at, at + length


def _there(address: int, size: int) -> bytes:
    """For each page of a part of a mapping whether it is in memory, as 1 or 0."""
    found = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    if _libc.mincore(address, size, found):
        return bytes(len(found))
    return found.raw

"""Logs that others write without end: only the end is kept, and only the end is read.

What is cut off at the begin becomes a hole, so that who writes to the log and who reads it are where they were.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Final

from .beneath import not_a_link

MOST: Final = 8 << 20
"""Bytes at the end of a log that are looked at."""

_BLOCK: Final = 1 << 20
_KEEP_SIZE_PUNCH_HOLE: Final = 0x01 | 0x02
"""Of fallocate(2)."""


def cut_all(directory: int, most: int) -> None:
    """Cut the files of a directory, given by its descriptor, as `cut` does; what can't be cut stays as it is."""
    for name in os.listdir(directory):
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                continue
            fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            try:
                cut(fd, most)
            finally:
                os.close(fd)


def cut(fd: int, most: int) -> None:
    """Let a log that is clearly larger occupy about `most` bytes, those at its end. Raises OSError."""
    found = os.fstat(fd)
    if found.st_blocks * 512 <= most + most // 4:
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    hole = ctypes.c_longlong(0), ctypes.c_longlong(found.st_size - most)
    if libc.fallocate64(fd, _KEEP_SIZE_PUNCH_HOLE, *hole) == 0:
        return
    if ctypes.get_errno() not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    # A file system without holes in files: it begins anew, for who appends as for who does not.
    os.ftruncate(fd, 0)


def begin(fd: int) -> int:
    """Where what is still there of a log begins."""
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError:
        # It is empty, or all of it is a hole.
        return os.fstat(fd).st_size


def end_of(path: str, most: int = MOST) -> tuple[int, bytes]:
    """Read the end of a log: where it begins, and its bytes. Raises OSError."""
    with open(path, "rb", buffering=0, opener=not_a_link) as file:
        at = max(begin(file.fileno()), os.fstat(file.fileno()).st_size - most)
        file.seek(at)
        return at, _read(file.fileno(), most)


def _read(fd: int, most: int) -> bytes:
    found = bytearray()
    # Who writes may be faster than we are.
    while len(found) < most and (more := os.read(fd, min(_BLOCK, most - len(found)))):
        found += more
    return bytes(found)


def copy(path: str, dest: str) -> None:
    """Copy what is still there of a log. Raises OSError."""
    import shutil

    with open(path, "rb", opener=not_a_link) as source, open(dest, "wb") as target:
        source.seek(begin(source.fileno()))
        shutil.copyfileobj(source, target, _BLOCK)

"""Waiting for a change in a directory (inotify(7)); neither the standard library nor Debian's Python has this."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from .waiting import readable

_CLOEXEC: Final = os.O_CLOEXEC
_MODIFY: Final = 0x2
_CLOSE_WRITE: Final = 0x8
_MOVED: Final = 0x40 | 0x80
_CREATE: Final = 0x100
_DELETE_SELF: Final = 0x400
_IGNORED: Final = 0x8000
_EVENT: Final = struct.Struct("iIII")
_MOST: Final = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, path: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


class Directory:
    """A directory that is watched. Raises OSError if it can't be."""

    def __init__(self, path: str) -> None:
        self.fd = _check(_libc.inotify_init1(_CLOEXEC), path)
        try:
            mask = _MODIFY | _CLOSE_WRITE | _MOVED | _CREATE | _DELETE_SELF
            _check(_libc.inotify_add_watch(self.fd, os.fsencode(path), mask), path)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Stop watching."""
        os.close(self.fd)

    def wait(self, timeout: float | None = None) -> bool:
        """Return when a file in it was made, written to, closed or moved, or after `timeout` seconds.

        Returns:
            Whether the directory was removed.
        """
        if not readable([self.fd], timeout):
            return False
        data, at, gone = os.read(self.fd, _MOST), 0, False
        while at < len(data):
            _watch, mask, _cookie, length = _EVENT.unpack_from(data, at)
            gone |= bool(mask & (_DELETE_SELF | _IGNORED))
            at += _EVENT.size + length
        return gone

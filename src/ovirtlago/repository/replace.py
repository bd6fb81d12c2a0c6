"""Replace a directory so that at any instant the old one is there or the new one."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)


def replace_directory(path: str, new: str) -> None:
    """Give the directory `new` the name `path`; what had it before, if anything, is called `new` then."""
    if not os.path.lexists(path):
        os.rename(new, path)
    elif not _exchange(path, new):
        # A file system that can't exchange: between the two renames there is none for an instant.
        os.rename(path, new + ".old")
        os.rename(new, path)
        os.rename(new + ".old", new)


def _exchange(one: str, other: str) -> bool:
    failed = _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return not failed

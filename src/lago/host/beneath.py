"""Opening files where others may have put something else by now: no link is followed."""

from __future__ import annotations

import errno
import os
from typing import Final

_SYS_OPENAT2: Final = 437
_NO_MAGIC_LINKS: Final = 0x02
_NO_LINKS: Final = 0x04
_BENEATH: Final = 0x08


def not_a_link(path: str, flags: int) -> int:
    """Open a file that is no link itself; an opener for `open`. Raises OSError."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def as_seen_by_others(path: str, flags: int) -> int:
    """Open a file by a path that may begin with `/proc/PID/root`, below which nothing may be a link; an opener.

    Raises:
        OSError: something is a link, or it can't be opened.
    """
    import ctypes

    words = path.split("/", 4)
    if words[:2] != ["", "proc"]:
        return not_a_link(path, flags)
    if words[3:4] != ["root"]:
        # A descriptor that a process of ours has.
        return os.open(path, flags | os.O_CLOEXEC)
    top = os.open("/".join(words[:4]), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # struct open_how of openat2(2), Linux 5.6: flags, mode, resolve.
        mode = 0o644 if flags & os.O_CREAT else 0
        how = (ctypes.c_uint64 * 3)(flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, _NO_LINKS | _NO_MAGIC_LINKS | _BENEATH)
        libc = ctypes.CDLL(None, use_errno=True)
        found: int = libc.syscall(_SYS_OPENAT2, top, os.fsencode(words[4]), ctypes.byref(how), ctypes.sizeof(how))
        number = ctypes.get_errno()
    finally:
        os.close(top)
    if found >= 0:
        return found
    if number == errno.ENOSYS:
        # So old a kernel confines nobody.
        return not_a_link(path, flags)
    raise OSError(number, os.strerror(number), path)

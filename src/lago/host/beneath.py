"""Opening files by names that strangers told, or where others may have put something else by now: no link is followed.

Below a directory by openat2(2), where a kernel from 5.6 on, and its filters, have it; elsewhere part by part.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

_SYS_OPENAT2: Final = 437
_NO_MAGIC_LINKS, _NO_LINKS, _BENEATH = 2, 4, 8
_MODE: Final = 0o644
"""Of files that are made."""

_UNKNOWN: Final = (errno.ENOSYS, errno.EPERM)
"""What a kernel says that has no openat2, and a filter of a container that does not know it."""

_by_kernel = True
"""Whether the kernel has it, as far as is known."""


def not_a_link(path: str, flags: int) -> int:
    """Open what is no link itself, and no pipe, which would be waited for; an opener for `open`. Raises OSError."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is a pipe", path)
    return fd


def as_seen_by_others(path: str, flags: int) -> int:
    """Open a file by a path that may begin with `/proc/PID/root`, below which nothing may be a link; an opener.

    Raises:
        OSError: something is a link, or it can't be opened.
    """
    words = path.split("/", 4)
    if words[:2] != ["", "proc"]:
        return not_a_link(path, flags)
    if words[3:4] != ["root"]:
        # A descriptor that a process of ours has.
        return os.open(path, flags | os.O_CLOEXEC)
    top = os.open("/".join(words[:4]), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_beneath(top, words[4], flags)
    finally:
        os.close(top)


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open what is below a directory, by a path that somebody else may have told; its descriptor.

    Args:
        directory: its descriptor.
        path: with slashes, without `..`.
        flags: as of `os.open`.

    Raises:
        OSError: ELOOP or ENOTDIR: there is a link on the way, or it is one; EXDEV: the path is no plain one below the
            directory; or for another reason.
    """
    if path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    global _by_kernel
    if _by_kernel:
        try:
            return _openat2(directory, path, flags | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            # By its parts it is seen whether that was about the file.
            _by_kernel = error.errno != errno.ENOSYS
    return _by_parts(directory, path, flags | os.O_CLOEXEC)


def _openat2(directory: int, path: str, flags: int) -> int:
    import ctypes

    # struct open_how: flags, mode, resolve.
    mode = _MODE if flags & os.O_CREAT else 0
    how = (ctypes.c_uint64 * 3)(flags, mode, _BENEATH | _NO_LINKS | _NO_MAGIC_LINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    found: int = libc.syscall(_SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return found


def _by_parts(directory: int, path: str, flags: int) -> int:
    *parts, last = [part for part in path.split("/") if part not in ("", ".")] or ["."]
    if path.endswith(("/", "/.")):
        flags |= os.O_DIRECTORY
    at = os.dup(directory)
    try:
        for part in parts:
            below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
        found = os.open(last, flags | os.O_NOFOLLOW, _MODE, dir_fd=at)
    finally:
        os.close(at)
    if stat.S_ISLNK(os.fstat(found).st_mode):
        # A link itself can be opened like this, which is not what was asked for.
        os.close(found)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return found

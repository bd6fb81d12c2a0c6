"""Files of this host: written as a whole or not at all, and synced."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from typing import Any, Final

from .parallel import in_parallel

PRIVATE: Final = 0o600
"""Of files that nobody else reads: what is known of guests has their passwords."""

PUBLIC: Final = 0o644
"""Of files that are made to be passed on, or that another user's QEMU reads."""

_unseen: set[str] = set()
"""Directories that nobody sees yet, and all of whose files are synced before anybody does."""


@contextlib.contextmanager
def synced_together(directory: str) -> Iterator[None]:
    """Context manager: files in a directory are synced all together when the block ends well, not one by one.

    For a directory that nobody sees before then: one wait for the disk in place of one per file. It is the place of a
    file that counts, whoever writes it and in which thread; files elsewhere are synced as ever.

    Args:
        directory: an absolute path.
    """
    _unseen.add(directory)
    try:
        yield
    finally:
        _unseen.discard(directory)
    found = [os.path.join(place, name) for place, _, names in os.walk(directory) for name in (".", *names)]
    plain = [path for path in found if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFREG, stat.S_IFDIR)]
    in_parallel(sync, plain, what="write to disk")


def _synced_later(path: str) -> bool:
    return any(path.startswith(f"{directory}{os.sep}") for directory in list(_unseen))


def sha256(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: str) -> None:
    """Return when the content of a file or directory is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def in_memory(path: str) -> bool:
    """Whether a file is in a tmpfs, or in another file system that is memory. Raises OSError.

    There a hole that is read by a mapping takes room, and ends the program that reads it if there is none.
    """
    return _file_system(path) in _IN_MEMORY


def local(path: str) -> bool:
    """Whether a file is in a file system that nobody but this host writes to, and that is known. Raises OSError.

    There a mapping shows at once what is written to the file, and the other way round.
    """
    return _file_system(path) in (*_IN_MEMORY, *_LOCAL)


def _file_system(path: str) -> int:
    import ctypes

    # It begins with the type, of which statfs(2) has the numbers; Python's os.statvfs leaves it out.
    found = (ctypes.c_ulong * 32)()
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), found):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return found[0]


_IN_MEMORY = (0x01021994, 0x858458F6)
_LOCAL = (0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x794C7630)
"""Ext, XFS, Btrfs, F2FS, overlays."""


def beside(path: str) -> str:
    """A temporary name in the same directory, no other thread's."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.{os.getpid()}.{threading.get_ident()}")


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Context manager: a name as of `beside`; the file there becomes `path` if all goes well, else it is removed."""
    temporary = beside(path)
    try:
        yield temporary
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_atomically(path: str, data: str | bytes, mode: int = PRIVATE) -> None:
    """Write a file so that at any instant, also after a crash, it has its old content or all of the new.

    Args:
        path: the file.
        data: the new content; text becomes UTF-8.
        mode: permissions that the file gets, whatever the umask; by default nobody else has any.

    Raises:
        OSError: it can't be written; it has its old content then.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with replacing(path) as temporary, open(os.open(temporary, flags, mode), "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        os.fchmod(file.fileno(), mode)
        file.flush()
        if not _synced_later(path):
            os.fsync(file.fileno())


def write_out(path: str, data: str | bytes) -> None:
    """Write a file that a person named, as `write_atomically` does, but into a device or a pipe, which stays one."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
    else:
        write_atomically(path, data, PUBLIC)


def remove_tree(path: str, *, ignore_errors: bool = False) -> None:
    """Remove a directory with all that is in it, as `shutil.rmtree`; what never removes one does not import that."""
    import shutil

    shutil.rmtree(path, ignore_errors=ignore_errors)


def json_text(value: Any) -> str:
    """JSON as Lago writes it to files: indented by 4, keys in order.

    Args:
        value: what JSON can hold.
    """
    return json.dumps(value, indent=4, sort_keys=True) + "\n"

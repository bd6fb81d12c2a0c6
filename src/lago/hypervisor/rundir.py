"""The directory of an environment's sockets: `BASE/UUID`, of which BASE is the user's own (`wire.runtime_base`).

What is in it is trusted: sockets that commands and passwords go through, and a program that ssh runs. So both
directories are ours and closed to all others, or nothing is put there, and nothing removed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from typing import Final

from ..errors import HypervisorError
from ..host import trust
from ..host.files import remove_tree
from . import protocol

_DIGITS: Final = 12
_OUTSIDE: Final = "-out"
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def place(uuid: str, *, outside: bool = False) -> str:
    """Where the sockets of the prefix `uuid` belong, whether they are there or not.

    Args:
        outside: those of connections that don't end with its hypervisor.
    """
    return os.path.join(protocol.runtime_base(), _name(uuid, outside=outside))


def _name(uuid: str, *, outside: bool) -> str:
    return uuid[:_DIGITS] + (_OUTSIDE if outside else "")


def make(path: str) -> None:
    """Make the directory that `place` says, or see that the one which is there is ours alone.

    Raises:
        HypervisorError: somebody else made it, or can enter it.
    """
    base = os.path.dirname(path)
    os.makedirs(base, mode=0o700, exist_ok=True)
    outer = _open(base, None)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.basename(path), 0o700, dir_fd=outer)
        os.close(_open(path, outer))
    finally:
        os.close(outer)


def _open(path: str, parent: int | None) -> int:
    """A directory that is ours alone, open; its last component is looked up in `parent`."""
    try:
        fd = os.open(path if parent is None else os.path.basename(path), _FLAGS, dir_fd=parent)
    except OSError as error:
        raise HypervisorError(f"{path} can't be used for sockets: {error.strerror}", hint=_remedy(path)) from None
    found = os.fstat(fd)
    if found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return fd
    os.close(fd)
    if found.st_uid == os.geteuid():
        raise HypervisorError(
            f"{path} is open to others, and sockets belong into it", hint=f"chmod 700 {shlex.quote(path)}"
        )
    raise HypervisorError(f"{path} belongs to another user, and sockets belong into it", hint=_remedy(path))


def _remedy(path: str) -> str:
    return f"remove it, or set XDG_RUNTIME_DIR to a directory of yours: rm -r {shlex.quote(path)}"


def belongs(path: str, uuid: str, *, outside: bool = False) -> bool:
    """Whether a path that was written down is that of an environment's sockets, and closed to all others.

    The owner may be another user whom we trust: he has started it, or root has.

    Args:
        outside: as for `place`.
    """
    base, name = os.path.split(path)
    if not os.path.isabs(path) or os.path.normpath(path) != path or name != _name(uuid, outside=outside):
        return False
    try:
        outer, inner = os.lstat(base), os.lstat(path)
    except OSError:
        return False
    if os.path.basename(base) not in protocol.base_names(outer.st_uid) or inner.st_uid != outer.st_uid:
        return False
    return all(
        stat.S_ISDIR(one.st_mode) and not one.st_mode & 0o077 and trust.is_trusted(one.st_uid) for one in (outer, inner)
    )


def remove(path: str, uuid: str, *, outside: bool = False) -> None:
    """Remove the directory with all that is in it, if it is that of an environment's sockets; then an empty BASE.

    Args:
        outside: as for `place`.
    """
    if belongs(path, uuid, outside=outside):
        remove_tree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))

"""What the supervisor changes in its own namespaces before libvirtd starts.

libvirtd wants /run, /etc/libvirt and three directories below /var to itself, and Debian's wants a user `libvirt-qemu`.
None of that may touch the host, or need rights there, so each is covered in the private mount namespace.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import Final

from . import protocol

_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
MOUNTS: Final = 0x20000
USERS: Final = 0x10000000
IPC: Final = 0x08000000
NETWORK: Final = 0x40000000
"""Kinds of namespaces, clone(2)."""

_MNT_DETACH: Final = 2
_SIOCSIFFLAGS: Final = 0x8914

# The mount API of Linux 5.2, the same numbers on every architecture; libc has had it since 2.36 only.
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_MOUNT_SETATTR: Final = 442
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4

READ_ONLY: Final = 1
CLOSED: Final = 2 | 4
"""No program gets rights by its file's mode, and no device is reached. Attributes of mounts, mount_setattr(2)."""

_SHOWN_AS: Final = 0x100000

LIBVIRTS: Final = ("/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/etc/libvirt")
"""Directories that libvirtd has to itself."""

_HOST: Final = ".host"


class _Attributes(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("users", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded, options = kind.encode() if kind else None, data.encode() if data else None
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), encoded, flags, options), f"mount {target}")


def bind(source: str, target: str) -> None:
    """Make `source` appear at `target`, which must exist."""
    _mount(source, target, None, _MS_BIND | _MS_REC)


def tree(path: str, *, follow: bool = True, whole: bool = True) -> int:
    """Take what is at `path` to mount it elsewhere, by `hang`: a descriptor.

    Args:
        follow: whether it may be a link itself.
        whole: with all that is mounted below it.

    Raises:
        OSError: it is not there.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if whole else 0) | (0 if follow else _AT_SYMLINK_NOFOLLOW)
    found: int = _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    if found < 0:
        _check(found, f"open_tree {path}")
    return found


def set_attributes(mount: int, attributes: int, *, users: int | None = None, whole: bool = True) -> None:
    """Change how a mount, that is not hung up yet, is seen.

    Args:
        attributes: `READ_ONLY`, `CLOSED`.
        users: a user namespace, as which it shows the owners of files.
        whole: likewise all that is mounted below it.

    Raises:
        OSError: the kernel or the file system can't do that.
    """
    shown = _Attributes(attributes | (0 if users is None else _SHOWN_AS), 0, 0, users or 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if whole else 0)
    done = _libc.syscall(_SYS_MOUNT_SETATTR, mount, b"", flags, ctypes.byref(shown), ctypes.sizeof(shown))
    _check(done, "mount_setattr")


def hang(mount: int, target: str) -> None:
    """Mount what `tree` took at `target`, which must exist. Raises OSError."""
    moved = _libc.syscall(_SYS_MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    _check(moved, f"move_mount {target}")


def fresh(target: str, options: str, kind: str = "tmpfs", *, devices: bool = False) -> None:
    """Mount a new file system at `target`, by the options of its kind. Raises OSError."""
    _mount(kind, target, kind, _MS_NOSUID | (0 if devices else _MS_NODEV), options)


def root_here(directory: str) -> None:
    """Make a directory at which something is mounted the root of all, and take the former one away. Raises OSError."""
    os.chdir(directory)
    _check(_libc.pivot_root(b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")


def enter(namespace: int, kind: int, what: str) -> None:
    """Enter a namespace by its descriptor. Raises OSError."""
    _check(_libc.setns(namespace, kind), f"setns {what}")


def leave(kinds: int, what: str) -> None:
    """Leave namespaces for new ones. Raises OSError."""
    _check(_libc.unshare(kinds), f"unshare {what}")


def shadow(directory: str, without: Iterable[str] = ()) -> None:
    """Make `directory` writable for us alone, with its entries still reachable, but for those in `without`.

    They are links to where the directory is moved, its entry `.host`; one that it has of that name is only there.
    """
    entries = sorted(set(os.listdir(directory)) - {_HOST, *without})
    below = os.path.join(directory, _HOST)
    copy = tree(directory)
    try:
        fresh(directory, "mode=0755")
        os.mkdir(below)
        hang(copy, below)
    finally:
        os.close(copy)
    for entry in entries:
        place = os.path.join(directory, entry)
        theirs = os.path.join(below, entry)
        # One that leads up would lead from another place.
        up = os.path.islink(theirs) and os.readlink(theirs).startswith("../")
        os.symlink(os.readlink(theirs) if up else os.path.join(_HOST, entry), place)


def cover(directory: str) -> None:
    """Put an empty directory of our own over `directory`, whether or not the host has it."""
    if os.path.isdir(directory):
        _mount("tmpfs", directory, "tmpfs", _MS_NOSUID | _MS_NODEV)
        return
    shadow(os.path.dirname(directory), without=[os.path.basename(directory)])
    os.mkdir(directory)


def own_run() -> None:
    """Make /run ours, with what libvirtd and Lago want there to themselves; no name that the host has can clash.

    The rest of what the host has there stays reachable.
    """
    ours = os.path.basename(protocol.OWN_DIR)
    shadow("/run", without=(ours, "libvirt", "libvirtd.pid", "leaseshelper.pid", "xtables.lock"))
    os.mkdir("/run/libvirt")
    os.mkdir(protocol.OWN_DIR, 0o700)


def make_memory_dir() -> None:
    """Make a place for the memory of machines: like other memory, it is limited by what the host has."""
    os.mkdir(protocol.MEMORY_DIR, 0o700)
    _mount("tmpfs", protocol.MEMORY_DIR, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=0,mode=0700")


def own_mounts() -> None:
    """Keep the mounts as they are now, whatever the rest of the namespace does to them."""
    leave(MOUNTS, "mounts")


def new_network(made: int | None = None) -> None:
    """Enter a new network namespace with its loopback up and a /sys that shows it.

    Args:
        made: the namespace, if there is one already; without it one is made.
    """
    if made is None:
        leave(NETWORK, "network")
    else:
        enter(made, NETWORK, "network")
    _mount("sysfs", "/sys", "sysfs", _MS_NOSUID | _MS_NODEV)
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        up_and_running = 0x1 | 0x40
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", up_and_running))


def add_users(names: Iterable[str]) -> None:
    """Make users and groups known that libvirtd was built to look up; they are root of the namespace."""
    for path, line in (("/etc/passwd", "{}:x:0:0::/:/bin/false"), ("/etc/group", "{}:x:0:")):
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        known = {entry.split(":", 1)[0] for entry in text.splitlines()}
        missing = [name for name in names if name not in known]
        if missing:
            lines = [text.rstrip("\n"), *(line.format(name) for name in missing)]
            replace_file(path, "\n".join(lines) + "\n")


def replace_file(path: str, text: str) -> None:
    """Make `path` read as `text` in this namespace; a missing file stays missing.

    The directory becomes ours for it: what is mounted over a file itself is gone when somebody replaces that, as
    useradd(8) does.
    """
    if not os.path.exists(path):
        return
    directory = os.path.dirname(path)
    if not os.path.ismount(os.path.join(directory, _HOST)):
        shadow(directory)
    os.unlink(path)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)

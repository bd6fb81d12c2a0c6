"""Environments that are kept ready: `lago up --warm` goes on from the snapshot of one like it, if there is one.

They are prefixes below the cache directory, never started themselves, each with the snapshot `warm`. The name of one is
made of all that decides what comes of an init file: its text, the images, the deploy scripts, and the versions of Lago,
QEMU and libvirt. So one that does not fit any more is not found any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from typing import Final, NamedTuple

from .. import config, version
from ..errors import LockTimeout
from ..host.locks import lock_file
from ..host.programs import run
from ..log import LOG
from . import deploy
from .prefix import Prefix
from .snapshots.index import Index

SNAPSHOT: Final = "warm"
_VERSION_OF: Final = ("qemu-system-x86_64", "libvirtd")


class Warm(NamedTuple):
    """An environment that is kept; `used` in seconds since 1970, `size` in bytes on disk."""

    key: str
    path: str
    used: float
    size: int


def key(init_file: str, prefix: Prefix) -> str:
    """What tells environments apart: 32 hexadecimal digits.

    Args:
        init_file: what the environment was made of.
        prefix: the environment, not started yet.
    """
    digest = hashlib.sha256()

    def add(text: bytes) -> None:
        digest.update(len(text).to_bytes(8, "big") + text)

    with open(init_file, "rb") as file:
        add(file.read())
    for domain in prefix.topology.domains.values():
        for disk in domain.disks:
            if disk.template:
                add(disk.template.id.encode())
        for script in deploy.scripts(domain, prefix.paths, prefix.SCRIPTS):
            with open(script, "rb") as file:
                add(file.read())
    add(version.installed().encode())
    for program in _VERSION_OF:
        add(run([program, "--version"], check=False).out)
    return digest.hexdigest()[:32]


def _home() -> str:
    return os.path.join(config.cache_home(), "warm")


def find(name: str) -> Prefix | None:
    """Find the environment that is kept under a key; it counts as used now."""
    path = os.path.join(_home(), name)
    prefix = Prefix(path)
    if SNAPSHOT not in Index.load(prefix.paths).snapshots:
        return None
    os.utime(path)
    return prefix


def keep(name: str, prefix: Prefix) -> None:
    """Keep an environment at its snapshot `warm`, and remove the longest unused ones if there is no room for all."""
    with _alone():
        path = os.path.join(_home(), name)
        if not os.path.exists(path):
            prefix.fork(path, SNAPSHOT, start=False)
        _evict(config.get("warm_limit") << 20)


def kept() -> list[Warm]:
    """What is kept, the last used first."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(_home()):
            if entry.is_dir() and not entry.name.startswith("."):
                found.append(Warm(entry.name, entry.path, entry.stat().st_mtime, _size(entry.path)))
    return sorted(found, key=lambda one: -one.used)


def prune(*, everything: bool = False) -> list[Warm]:
    """Remove what the setting `warm_limit` has no room for, or all; what was removed."""
    with _alone():
        return _evict(0 if everything else config.get("warm_limit") << 20)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    os.makedirs(_home(), exist_ok=True)
    with lock_file(os.path.join(_home(), ".lock"), what=f"the environments in {_home()}"):
        yield


def _evict(limit: int) -> list[Warm]:
    gone, total = [], 0
    for one in kept():
        total += one.size
        if total > limit:
            try:
                with lock_file(Prefix(one.path).paths.lock(), what=one.path, timeout=0):
                    Prefix(one.path).release()
                    shutil.rmtree(one.path)
            except LockTimeout:
                LOG.debug("%s is being forked, and stays", one.path)
                continue
            gone.append(one)
    return gone


def _size(path: str) -> int:
    files = [os.path.join(directory, name) for directory, _, names in os.walk(path) for name in names]
    return sum(os.lstat(file).st_blocks * 512 for file in files)

"""Environments that are kept ready: `lago up --warm` goes on from the snapshot of one like it, if there is one.

They are prefixes below the cache directory, never started themselves, each with the snapshot `warm`. The name of one is
its `fingerprint`, so one that does not fit any more is not found any more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from .. import config
from ..errors import Errors, LagoError, LockTimeout
from ..host.locks import lock_file
from ..log import LOG
from .prefix import Prefix
from .snapshots.index import Index

if TYPE_CHECKING:
    from ..virt.readiness import Phase

SNAPSHOT: Final = "warm"


class Warm(NamedTuple):
    """An environment that is kept; `used` in seconds since 1970, `size` in bytes on disk beside those used after it."""

    key: str
    path: str
    used: float
    size: int


def _home() -> str:
    return os.path.join(config.cache_home(), "warm")


def find(name: str) -> Prefix | None:
    """Find the environment that is kept under a key; it counts as used now."""
    path = os.path.join(_home(), name)
    prefix = Prefix(path)
    try:
        if SNAPSHOT not in Index.load(prefix.paths).snapshots:
            return None
    except LagoError as error:
        _give_up(prefix, error)
        return None
    os.utime(path)
    return prefix


def go_on(kept: Prefix, path: str, on_phase: Phase) -> bool:
    """Make an environment that goes on from one that is kept, and return whether it does.

    One that can't, as it is damaged or this host can't run it, is told about and no longer kept.

    Args:
        path: where to make it.
        on_phase: called with a machine's name and what it does now.
    """
    try:
        kept.fork(path, SNAPSHOT, on_phase)
    except (LagoError, OSError) as error:
        if os.path.lexists(path):
            Prefix(path).destroy()
        _give_up(kept, error)
        return False
    return True


def _give_up(kept: Prefix, error: Exception) -> None:
    """Say that an environment is of no use here, and remove it, unless somebody else uses it."""
    why = error.errors[0] if isinstance(error, Errors) else error
    LOG.warning("what was kept can't go on here, so machines boot: %s", str(why).partition("\n")[0])
    with _alone():
        _remove(kept.paths.prefix())


def keep(name: str, prefix: Prefix) -> None:
    """Keep an environment at its snapshot `warm`, and remove the longest unused ones if there is no room for all."""
    with _alone():
        path = os.path.join(_home(), name)
        if not os.path.exists(path):
            prefix.fork(path, SNAPSHOT, start=False)
        _evict(config.get("warm_limit") << 20)


def kept() -> list[Warm]:
    """What is kept, the last used first, which has what several have."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(_home()):
            if entry.is_dir() and not entry.name.startswith("."):
                found.append((entry.stat().st_mtime, entry.path))
    counted: set[tuple[int, int]] = set()
    return [
        Warm(os.path.basename(path), path, used, _size(path, counted)) for used, path in sorted(found, reverse=True)
    ]


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
        if total > limit and _remove(one.path):
            gone.append(one)
    return gone


def _remove(path: str) -> bool:
    """Remove an environment that is kept, and return whether it is gone; one that is being forked stays."""
    try:
        with lock_file(Prefix(path).paths.lock(), what=path, timeout=0):
            Prefix(path).release()
            shutil.rmtree(path)
    except LockTimeout:
        LOG.debug("%s is being forked, and stays", path)
        return False
    return True


def _size(path: str, counted: set[tuple[int, int]]) -> int:
    """Bytes on disk of the files below a directory that were not counted before, by whatever name."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            found = os.lstat(os.path.join(directory, name))
            if (found.st_dev, found.st_ino) not in counted:
                counted.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total

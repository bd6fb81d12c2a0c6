"""Where capsules are kept: which there are, how much they take, and which go when there is no room for all.

Whoever adds or removes one holds the lock of the shelf. Whoever makes one does so in a directory of another name with a
lock of its own, so that what a killed Lago left is told from what is under way. Who reads a capsule holds its lock
together with other readers, and it stays.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from ... import config
from ...errors import LagoError, LockTimeout
from ...host.files import remove_tree, write_atomically
from ...host.locks import lock_file
from ...host.suggest import near
from ...log import LOG
from ..claims import Claims
from ..prefix import Prefix
from ..staging import UNFINISHED, keep_private
from . import about
from .about import About

_LOCK: Final = ".lock"
_OPENED: Final = "opened"
"""Directory in a capsule with a file for each environment that was opened from it: its UUID, and its place."""


class Capsule(NamedTuple):
    """A capsule that is kept; `used` is when it was made or opened last, in seconds since 1970."""

    name: str
    path: str
    about: About
    used: float

    def prefix(self, environment: str) -> Prefix:
        """One of its environments."""
        return Prefix(os.path.join(self.path, environment))

    def lock(self) -> str:
        """Lock file that readers share."""
        return os.path.join(self.path, _LOCK)

    def opened(self) -> list[str]:
        """Places of environments that were opened from it and are still there."""
        found = []
        directory = os.path.join(self.path, _OPENED)
        with contextlib.suppress(FileNotFoundError):
            for uuid in sorted(os.listdir(directory)):
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    with open(os.path.join(directory, uuid), encoding="utf-8") as file:
                        path = file.read()
                    with open(os.path.join(path, "uuid"), encoding="utf-8") as file:
                        if file.read().strip() == uuid:
                            found.append(path)
        return found

    def note_opened(self, prefix: Prefix) -> None:
        """Record an environment that was opened from it."""
        os.makedirs(os.path.join(self.path, _OPENED), exist_ok=True)
        write_atomically(os.path.join(self.path, _OPENED, prefix.uuid), prefix.paths.prefix())
        os.utime(self.path)


class Size(NamedTuple):
    """Bytes on disk of a capsule: those that go with it, and those that others have as well."""

    own: int
    shared: int


def home() -> str:
    """Return the directory of all capsules: the setting `capsule_dir`."""
    chosen = config.get("capsule_dir")
    return os.path.abspath(os.path.expanduser(chosen)) if chosen else os.path.join(config.data_home(), "capsules")


def limit() -> int:
    """Bytes that all capsules may take together: the setting `capsule_limit`."""
    return int(config.get("capsule_limit")) << 20


def names() -> list[str]:
    """Names of the capsules that there are, sorted."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(
            name
            for name in os.listdir(home())
            if not name.startswith(".") and os.path.isfile(os.path.join(home(), name, about.FILE))
        )
    return []


def all_of_them() -> list[Capsule]:
    """Return all capsules, the one used last first; what is damaged is told about and left out."""
    found = []
    for name in names():
        try:
            found.append(_load(name))
        except FileNotFoundError:
            continue
        except LagoError as error:
            LOG.warning("%s", error.render())
    return sorted(found, key=lambda one: one.used, reverse=True)


def _load(name: str) -> Capsule:
    path = os.path.join(home(), name)
    return Capsule(name, path, about.load(path), os.stat(path).st_mtime)


def get(name: str) -> Capsule:
    """Return the capsule of a name. Raises LagoError if there is none, or if it is damaged."""
    with contextlib.suppress(FileNotFoundError):
        if name in names():
            return _load(name)
    raise _absent(name)


def check_there(name: str) -> None:
    """Raise LagoError if there is no capsule of a name, sound or not."""
    if name not in names():
        raise _absent(name)


def _absent(name: str) -> LagoError:
    there = names()
    hint = near(name, there) if there else "pytest --lago-capsule makes one of each test that fails"
    return LagoError(f"there is no capsule {name}", details=f"looked in {home()}", hint=hint)


@contextlib.contextmanager
def reading(name: str) -> Iterator[Capsule]:
    """Context manager: a capsule is read, by us and maybe by others, and is not removed. Raises as `get`."""
    found = get(name)
    with lock_file(found.lock(), what=f"the capsule {name}", timeout=config.get("lock_timeout"), shared=True):
        # It may have gone while we waited.
        yield get(name)


@contextlib.contextmanager
def new(wanted: str) -> Iterator[tuple[str, list[str]]]:
    """Context manager: a new directory, which becomes a capsule when the block ends, or is removed if it fails.

    Yields the directory, and a list that has the name of the capsule at the end.

    Args:
        wanted: its name, which gets a number if it is taken.
    """
    called: list[str] = []
    with contextlib.ExitStack() as stack:
        place = _begin(stack)
        try:
            yield place, called
            with alone():
                name = about.unique(wanted, os.listdir(home()))
                os.rename(place, os.path.join(home(), name))
        except BaseException:
            _discard(place)
            raise
        called.append(name)
        # Images are held under the place that they have now.
        capsule = _load(name)
        for environment in capsule.about.environments:
            prefix = capsule.prefix(environment)
            Claims(prefix.paths).renew(prefix.topology)


def _begin(stack: contextlib.ExitStack) -> str:
    """Make a directory that is swept when we end, however that is."""
    with alone():
        _sweep()
        place = os.path.join(home(), UNFINISHED + os.urandom(8).hex())
        os.mkdir(place, 0o700)
        # Before anybody sweeps: it is ours as long as we live.
        stack.enter_context(lock_file(os.path.join(place, _LOCK), what=place, timeout=0))
    keep_private(place)
    return place


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """Context manager: a directory for what is needed for a while only."""
    with contextlib.ExitStack() as stack:
        place = _begin(stack)
        try:
            yield place
        finally:
            _discard(place)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Context manager: nobody else adds or removes a capsule."""
    if not os.path.isdir(home()):
        os.makedirs(home(), exist_ok=True)
        # Only we may read what is in memory; who has made it himself has decided on that.
        keep_private(home())
    with lock_file(os.path.join(home(), _LOCK), what=f"the capsules in {home()}"):
        yield


def _discard(path: str) -> None:
    """Remove the directory of a capsule, be it whole or not, and release what its environments hold."""
    for entry in sorted(os.listdir(path)):
        directory = os.path.join(path, entry)
        if os.path.isdir(directory) and not os.path.islink(directory):
            with contextlib.suppress(LagoError, OSError):
                Prefix(directory).release()
    remove_tree(path, ignore_errors=True)


def _sweep() -> None:
    """Remove what those left that were killed."""
    for entry in os.listdir(home()):
        path = os.path.join(home(), entry)
        if entry.startswith(UNFINISHED):
            with (
                contextlib.suppress(LockTimeout, FileNotFoundError),
                lock_file(os.path.join(path, _LOCK), what=path, timeout=0),
            ):
                _discard(path)


def delete(name: str) -> Size:
    """Remove a capsule, and return what it took; environments that were opened from it stay.

    Raises:
        LagoError: there is none.
        LockTimeout: somebody is opening or exporting it.
    """
    with alone():
        # One that is damaged goes as well.
        check_there(name)
        path = os.path.join(home(), name)
        size = sizes([path])[path]
        with lock_file(os.path.join(path, _LOCK), what=f"the capsule {name}", timeout=0):
            _remove(path)
    return size


def _remove(path: str) -> None:
    # Under another name first: a capsule is there as a whole, or not at all.
    doomed = os.path.join(home(), UNFINISHED + os.urandom(8).hex())
    os.rename(path, doomed)
    _discard(doomed)


def prune(*, everything: bool = False) -> list[tuple[str, Size]]:
    """Remove the longest unused capsules that `capsule_limit` has no room for, or all; none that is open.

    Returns:
        Name and size of those that are gone.
    """
    gone = []
    with alone():
        _sweep()
        room = 0 if everything else limit()
        kept = all_of_them()
        size = sizes([one.path for one in kept])
        total = 0
        for one in kept:
            took = size[one.path]
            total += took.own + took.shared
            if total <= room:
                continue
            if one.opened():
                LOG.debug("the capsule %s is open, and stays", one.name)
                continue
            with contextlib.suppress(LockTimeout), lock_file(one.lock(), what=one.path, timeout=0):
                _remove(one.path)
                gone.append((one.name, took))
                total -= took.own + took.shared
    return gone


def sizes(paths: list[str]) -> dict[str, Size]:
    """Bytes on disk of capsules by path; what several of them have counts once, for the first that has it."""
    counted: set[tuple[int, int]] = set()
    return {path: _size(path, counted) for path in paths}


def _size(path: str, counted: set[tuple[int, int]]) -> Size:
    links: dict[tuple[int, int], int] = {}
    found: dict[tuple[int, int], os.stat_result] = {}
    for directory, _, files in os.walk(path):
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(directory, file))
                key = (status.st_dev, status.st_ino)
                found[key] = status
                links[key] = links.get(key, 0) + 1
    own = sum(one.st_blocks for key, one in found.items() if links[key] == one.st_nlink and key not in counted)
    shared = sum(one.st_blocks for key, one in found.items() if links[key] != one.st_nlink and key not in counted)
    counted |= set(found)
    return Size(own * 512, shared * 512)

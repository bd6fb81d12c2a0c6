"""A workdir: a directory of prefixes, one of which is `current`; and how the one meant is found from where we are."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable
from typing import Final

from .constants import DEFAULT_PREFIX, DEFAULT_WORKDIR
from .errors import LockTimeout, PrefixError
from .paths import Paths
from .prefix import UNFINISHED, Prefix
from .utils import lock_file, near

CURRENT: Final = "current"

_YOUNG: Final = 60
"""Seconds after which an unfinished prefix that nobody locked will not be locked any more."""


def is_prefix(path: str) -> bool:
    """Whether an initialised prefix is at `path`."""
    paths = Paths(path)
    return os.path.isfile(paths.prefix_lagofile()) or (
        os.path.isfile(paths.old_lagofile()) and os.path.isfile(paths.uuid())
    )


class Workdir:
    """The workdir at `path`, which need not exist yet."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def join(self, *names: str) -> str:
        """A path inside."""
        return os.path.join(self.path, *names)

    def exists(self) -> bool:
        """Whether there is a workdir, be it one that was interrupted in the making."""
        return os.path.islink(self.join(CURRENT)) or bool(self._unfinished())

    def _unfinished(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.path) if name.startswith(UNFINISHED)]
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    def prefixes(self) -> list[str]:
        """Names of its prefixes, sorted."""
        try:
            names = sorted(os.listdir(self.path))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []
        return [n for n in names if n != CURRENT and not n.startswith(".") and is_prefix(self.join(n))]

    def current(self) -> str:
        """Name of the current prefix. Raises PrefixError if there is none."""
        names = self.prefixes()
        if not names:
            why = ", its making was interrupted" if self._unfinished() else ""
            raise PrefixError(f"{self.path} holds no prefix{why}", hint="lago init, or lago destroy")
        try:
            target = os.path.basename(os.readlink(self.join(CURRENT)))
        except OSError:
            target = ""
        if target in names:
            return target
        return DEFAULT_PREFIX if DEFAULT_PREFIX in names else names[-1]

    def set_current(self, name: str) -> None:
        """Make a prefix the current one. Raises PrefixError if it is not there."""
        if name not in self.prefixes():
            raise self._unknown(name)
        link = self.join(f".{CURRENT}.{os.getpid()}")
        os.symlink(name, link)
        os.rename(link, self.join(CURRENT))

    def _unknown(self, name: str) -> PrefixError:
        return PrefixError(f"{self.path} has no prefix {name}", hint=near(name, self.prefixes()))

    def get_prefix(self, name: str = CURRENT) -> Prefix:
        """A prefix by name. Raises PrefixError."""
        if name == CURRENT:
            name = self.current()
        if name not in self.prefixes():
            raise self._unknown(name)
        return Prefix(self.join(name))

    def add_prefix(self, name: str, init_file: str) -> Prefix:
        """A new prefix from an init file; the first one becomes the current one.

        Raises:
            PrefixError: the name is taken, or can't be one.
        """
        if name in (CURRENT, "", ".", "..") or "/" in name or name.startswith("."):
            raise PrefixError(f"{name!r} can't be the name of a prefix", hint="choose another with --prefix-name")
        new = not os.path.isdir(self.path)
        os.makedirs(self.path, exist_ok=True)
        try:
            self._sweep()
            prefix = Prefix.create(self.join(name), init_file)
            if (
                not os.path.islink(self.join(CURRENT))
                or os.path.basename(os.readlink(self.join(CURRENT))) not in self.prefixes()
            ):
                self.set_current(name)
        except BaseException:
            if new and not self.prefixes():
                shutil.rmtree(self.path, ignore_errors=True)
            raise
        return prefix

    def destroy(self, names: Iterable[str]) -> None:
        """Destroy prefixes; with the last one the workdir goes."""
        for name in names:
            self.get_prefix(name).destroy()
        left = self.prefixes()
        if left:
            self.set_current(self.current())
            return
        self._sweep()
        # A link with the pid of its maker is what an interrupted `set_current` left.
        if all(entry == CURRENT or entry.startswith(f".{CURRENT}.") for entry in os.listdir(self.path)):
            shutil.rmtree(self.path)

    def _sweep(self) -> None:
        """Remove what an interrupted init or destroy left, unless it still runs."""
        for path in (self.join(entry) for entry in self._unfinished()):
            if not os.path.exists(Paths(path).lock()) and time.time() - os.stat(path).st_mtime < _YOUNG:
                continue
            with (
                contextlib.suppress(LockTimeout, FileNotFoundError),
                lock_file(Paths(path).lock(), what=path, timeout=0),
            ):
                Prefix(path).release()
                shutil.rmtree(path, ignore_errors=True)


def find_workdir(start: str) -> Workdir:
    """The workdir meant from `start`: itself, or `.lago` in it or in any directory above. Raises PrefixError."""
    start = os.path.abspath(start)
    if Workdir(start).exists():
        return Workdir(start)
    directory = start
    while True:
        workdir = Workdir(os.path.join(directory, DEFAULT_WORKDIR))
        if workdir.exists() or workdir.prefixes():
            return workdir
        if directory == os.path.dirname(directory):
            break
        directory = os.path.dirname(directory)
    # Without a link it may be one that was interrupted just before it got it.
    if Workdir(start).prefixes():
        return Workdir(start)
    raise PrefixError(
        f"there is no environment in {start} or any directory above", hint="lago init makes one; or give --workdir-path"
    )


def find_prefix(prefix_path: str | None, workdir_path: str | None, name: str) -> Prefix:
    """The prefix that the command line, or else the working directory, means. Raises PrefixError."""
    if prefix_path or (not workdir_path and is_prefix(os.getcwd())):
        path = os.path.abspath(prefix_path or os.getcwd())
        if not is_prefix(path):
            raise PrefixError(f"{path} is not a prefix", hint="lago init makes one")
        return Prefix(path)
    return find_workdir(workdir_path or os.getcwd()).get_prefix(name)

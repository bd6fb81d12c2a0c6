"""A workdir: a directory of prefixes, one of which is `current`; and how the one meant is found from where we are."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..constants import DEFAULT_PREFIX, DEFAULT_WORKDIR
from ..errors import LockTimeout, PrefixError
from ..host import trust
from ..host.files import remove_tree
from ..host.locks import lock_file
from ..host.suggest import near
from ..paths import Paths
from . import registry
from .prefix import Prefix
from .staging import UNFINISHED

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
        return [name for name in self._entries() if is_prefix(self.join(name))]

    def _entries(self) -> list[str]:
        try:
            names = sorted(os.listdir(self.path))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []
        return [name for name in names if name != CURRENT and not name.startswith(".")]

    def remains(self) -> list[str]:
        """Names of prefixes that `cleanup` has left: they have files, and destroy removes them."""
        paths = {name: self.join(name) for name in self._entries()}
        return [n for n, path in paths.items() if os.path.isfile(Paths(path).uuid()) and not is_prefix(path)]

    def chosen(self) -> str:
        """Name of the prefix that was made the current one, whether or not it is still there; empty if none was."""
        try:
            return os.path.basename(os.readlink(self.join(CURRENT)))
        except OSError:
            return ""

    def current(self) -> str:
        """Name of the current prefix. Raises PrefixError if there is none: no other one is taken in its place."""
        names, chosen = self.prefixes(), self.chosen()
        if chosen in names:
            return chosen
        if not chosen and DEFAULT_PREFIX in names:
            return DEFAULT_PREFIX
        if not chosen and len(names) == 1:
            # Its making was interrupted just before the link, so it is the one that would have been chosen.
            return names[0]
        if names:
            raise self._not_chosen()
        why = ", its making was interrupted" if self._unfinished() else ""
        remedy = "lago destroy"
        if left := self.remains():
            why = f", {' and '.join(left)} was cleaned up"
            remedy = remedy if chosen in left else f"lago -P {shlex.quote(left[0])} destroy"
        raise PrefixError(f"{self.path} holds no prefix{why}", hint=f"lago init, or {remedy}")

    def doomed(self) -> list[str]:
        """Names of what is destroyed if nothing is named: the current prefix, also one that was cleaned up.

        Raises:
            PrefixError: it is gone, and others are there.
        """
        left = self.remains()
        if self.chosen() in left:
            return [self.chosen()]
        if not self.chosen() and not self.prefixes() and len(left) == 1:
            return left
        if self.prefixes():
            return [self.current()]
        if left:
            raise self._not_chosen()
        return []

    def _not_chosen(self) -> PrefixError:
        chosen, left = self.chosen(), self.remains()
        what = f"the current environment, {chosen}, is gone" if chosen else f"{self.path} has no current environment"
        if chosen in left:
            what = f"the current environment, {chosen}, was cleaned up"
        return PrefixError(
            what,
            details=f"there are: {', '.join([*self.prefixes(), *(f'{name} (cleaned up)' for name in left)])}",
            hint="say which one you mean, lago -P NAME before the command, or choose one: lago set-current NAME",
        )

    def set_current(self, name: str) -> None:
        """Make a prefix the current one. Raises PrefixError if it is not there, or the workdir is not ours."""
        self.check_trusted()
        if name not in self.prefixes():
            raise self._unknown(name)
        link = self.join(f".{CURRENT}.{os.getpid()}")
        os.symlink(name, link)
        os.rename(link, self.join(CURRENT))

    def _unknown(self, name: str) -> PrefixError:
        if name in self.remains():
            return PrefixError(
                f"{self.join(name)} was cleaned up", hint=f"lago --prefix-name {shlex.quote(name)} destroy removes it"
            )
        return PrefixError(f"{self.path} has no prefix {name}", hint=near(name, self.prefixes()))

    def get_prefix(self, name: str = CURRENT) -> Prefix:
        """A prefix by name. Raises PrefixError if there is none, or if it is not ours."""
        self.check_trusted()
        if name == CURRENT:
            name = self.current()
        if name not in self.prefixes():
            raise self._unknown(name)
        return _ours(self.join(name))

    def check_trusted(self) -> None:
        """Raise PrefixError if somebody else made it, or can write to it; see `lago.host.trust`."""
        if os.path.isdir(self.path):
            trust.check(self.path)

    def free(self, name: str) -> str:
        """Path where a new prefix of that name belongs. Raises PrefixError if that can't be the name of one."""
        if name in self.remains():
            raise self._unknown(name)
        if name in (CURRENT, "", ".", "..") or "/" in name or name.startswith("."):
            raise PrefixError(f"{name!r} can't be the name of a prefix", hint="choose another with --prefix-name")
        return self.join(name)

    def add_prefix(self, name: str, init_file: str | Mapping[str, Any], **options: Any) -> Prefix:
        """Make a prefix from an init file; the first one becomes the current one; `options` as for `Prefix.create`.

        Raises:
            PrefixError: the name is taken, or can't be one; or the workdir is not ours.
        """
        path = self.free(name)
        self.check_trusted()
        new = not os.path.isdir(self.path)
        os.makedirs(self.path, 0o755, exist_ok=True)
        try:
            self._sweep()
            prefix = Prefix.create(path, init_file, **options)
            if self.chosen() not in self.prefixes():
                self.set_current(name)
        except BaseException:
            if new and not self.prefixes():
                remove_tree(self.path, ignore_errors=True)
            raise
        return prefix

    def destroy(self, names: Iterable[str]) -> None:
        """Destroy prefixes, those that were cleaned up too; with the last one the workdir goes.

        If the current one is among them, no other takes its place until `set_current` or `add_prefix` says so.

        Raises:
            PrefixError: one is not there, or is not ours.
        """
        self.check_trusted()
        for name in names:
            if name in self.remains():
                self._remove(self.join(name))
            else:
                self.get_prefix(name).destroy()
        if self.prefixes():
            return
        self._sweep()
        # A link with the pid of its maker is what an interrupted `set_current` left.
        if all(entry == CURRENT or entry.startswith(f".{CURRENT}.") for entry in os.listdir(self.path)):
            remove_tree(os.path.realpath(self.path))
            if os.path.islink(self.path):
                os.unlink(self.path)

    def _sweep(self) -> None:
        """Remove what an interrupted init or destroy left, unless it still runs."""
        for path in (self.join(entry) for entry in self._unfinished()):
            if not os.path.exists(Paths(path).lock()) and time.time() - os.stat(path).st_mtime < _YOUNG:
                continue
            with contextlib.suppress(LockTimeout, FileNotFoundError):
                self._remove(path)

    def _remove(self, path: str) -> None:
        trust.check_prefix(Paths(path))
        with lock_file(Paths(path).lock(), what=path, timeout=0), _unused(path):
            Prefix(path).release()
            remove_tree(path, ignore_errors=True)

    def check(self) -> None:
        """Raise PrefixError if something stands where the link to the current prefix belongs."""
        link = self.join(CURRENT)
        if os.path.lexists(link) and not os.path.islink(link):
            raise PrefixError(
                f"{self.path} is malformed: {CURRENT} is no link to one of its prefixes",
                details=f"prefixes: {', '.join(self.prefixes())}",
                hint=f"move {link} away; lago set-current makes the link",
            )


def _ours(path: str) -> Prefix:
    """The prefix at `path`. Raises PrefixError if it is not ours."""
    prefix = Prefix(path)
    prefix.check_trusted()
    registry.record(prefix.paths)
    return prefix


def _unused(path: str) -> contextlib.AbstractContextManager[Any]:
    """Check that no hypervisor runs in a prefix. Raises LockTimeout."""
    lock = Paths(path).hypervisor_lock()
    if not os.path.exists(lock):
        return contextlib.nullcontext()
    return lock_file(lock, what=f"the private hypervisor of {path}", timeout=0)


def _upwards(start: str) -> Iterator[str]:
    """`start`, then `.lago` in it and in every directory above."""
    yield start
    directory = start
    while True:
        yield os.path.join(directory, DEFAULT_WORKDIR)
        if directory == os.path.dirname(directory):
            return
        directory = os.path.dirname(directory)


def find_workdir(start: str) -> Workdir:
    """Find the workdir meant from `start`: itself, or `.lago` in it or in any directory above.

    Raises:
        PrefixError: there is none; or the first that there is belongs to somebody else.
    """
    start = os.path.abspath(start)
    for path in _upwards(start):
        workdir = Workdir(path)
        if workdir.exists():
            workdir.check_trusted()
            return workdir
        # One that was interrupted before it got its link. Where we are may just hold prefixes among other things.
        if path != start and (workdir.prefixes() or workdir.remains()):
            workdir.check_trusted()
            workdir.check()
            return workdir
    if Workdir(start).prefixes() or Workdir(start).remains():
        Workdir(start).check_trusted()
        Workdir(start).check()
        return Workdir(start)
    near_by = _candidates(start)
    raise PrefixError(
        f"there is no environment in {start} or any directory above",
        details="\n".join(["below it there are:", *near_by]) if near_by else "",
        hint=f"lago --workdir-path {shlex.quote(near_by[0])}"
        if near_by
        else "lago init makes one; or give --workdir-path",
    )


def _candidates(start: str) -> list[str]:
    """Workdirs one level below, or in directories there."""
    try:
        names = sorted(os.listdir(start))
    except OSError:
        return []
    paths = [path for name in names for path in (name, os.path.join(name, DEFAULT_WORKDIR))]
    there = [path for path in paths if os.path.islink(os.path.join(start, path, CURRENT))]
    return [path for path in there if Workdir(os.path.join(start, path)).prefixes()]


def find_prefix(prefix_path: str | None, workdir_path: str | None, name: str) -> Prefix:
    """Find the prefix that the command line, or else the working directory, means.

    Args:
        prefix_path: a prefix, or a directory in or below which `.lago` is one; `auto` is the working directory.
        workdir_path: a workdir, or a directory in or below which `.lago` is one.
        name: of the prefix in its workdir, `current` for the current one.

    Raises:
        PrefixError: there is none, or it is not ours.
    """
    if prefix_path or (not workdir_path and is_prefix(os.getcwd())):
        start = os.path.abspath(prefix_path if prefix_path and prefix_path != "auto" else os.getcwd())
        found = next((path for path in _upwards(start) if is_prefix(path)), None)
        if found is None:
            raise PrefixError(f"{start} is not a prefix", hint="lago init makes one")
        return _ours(found)
    return find_workdir(workdir_path or os.getcwd()).get_prefix(name)

"""Putting what was unpacked from a guest, which is not to be trusted, into its places on this host."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from typing import Final

from .log import LOG

STAGE: Final = ".lago-"
"""How directories are called that hold what is under way."""


@contextlib.contextmanager
def stage(directory: str) -> Iterator[str]:
    """A new directory within another one, removed at the end with what is still in it.

    Raises:
        OSError: it can't be made.
    """
    path = tempfile.mkdtemp(prefix=STAGE, dir=directory)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def tame(path: str, within: str = "/") -> None:
    """Remove devices, pipes and sockets from a tree, which the guest calls `within`, and setuid and setgid bits."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                tame(entry.path, os.path.join(within, entry.name))
            elif entry.is_file(follow_symlinks=False):
                mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                if mode & (stat.S_ISUID | stat.S_ISGID):
                    os.chmod(entry.path, mode & ~(stat.S_ISUID | stat.S_ISGID))
            elif not entry.is_symlink():
                os.unlink(entry.path)
                LOG.warning("%s is neither a file nor a directory, it is left out", os.path.join(within, entry.name))


def distribute(path: str, targets: Sequence[tuple[str, str]]) -> None:
    """Move parts of the tree `path`, by their names within, to targets in the same file system.

    One part may be within another one. A file takes another's place; a tree is merged with one that is there.

    Raises:
        OSError: a target can't be written, or is a directory where a file should go, or the other way round.
    """
    parts = [(os.path.normpath(path + os.sep + name), target) for name, target in targets]
    # What is within another part goes first, as a copy.
    parts.sort(key=lambda part: len(part[0]), reverse=True)
    for number, (part, target) in enumerate(parts):
        if any(part == other or part.startswith(other + os.sep) for other, _ in parts[number + 1 :]):
            part = _copied(part, os.path.join(path, f"{STAGE}{number}"))
        # A link that is a target is meant to be followed, but not one within a tree, which a guest may have made.
        _place(part, os.path.realpath(target) if os.path.exists(target) else target)


def _copied(path: str, to: str) -> str:
    if os.path.isdir(path):
        shutil.copytree(path, to, symlinks=True)
    else:
        shutil.copy2(path, to)
    return to


def _place(path: str, target: str) -> None:
    if not (_is_tree(path) and _is_tree(target)):
        # The system refuses a file in a directory's place and the other way round.
        os.rename(path, target)
        return
    for name in os.listdir(path):
        _place(os.path.join(path, name), os.path.join(target, name))
    shutil.copystat(path, target)


def _is_tree(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)

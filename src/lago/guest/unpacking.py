"""Putting what was unpacked from a guest, which is not to be trusted, into its places on this host."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from ..errors import REMEDIES, LagoError, LockTimeout, VMError
from ..host.locks import lock_file
from ..host.tree import Here
from ..log import LOG

STAGE: Final = ".lago-"
"""How directories are called that hold what is under way."""

_UNFINISHED: Final = f"{STAGE}unpacking-"
_LOCK: Final = ".lock"

LONGEST_NAME: Final = 4096
"""Bytes of a path; no guest with Linux has a longer one (PATH_MAX)."""


class Part(NamedTuple):
    """A part of what came from a guest.

    Attributes:
        asked: the path that was asked for, for messages.
        told: what it is called in the tree that came, with a slash at its beginning. A guest may tell anything.
        target: the path of this host that it is to get.
    """

    asked: str
    told: str
    target: str


@contextlib.contextmanager
def on_this_host(what: str) -> Iterator[None]:
    """Context manager: what the system refuses is told as a LagoError: `what`, on this host."""
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename
        about = f": {name}" if isinstance(name, str) else ""
        hint = REMEDIES.get(error.errno or 0, "choose another place")
        raise LagoError(f"{what}, on this host", details=f"{error.strerror}{about}", hint=hint) from None


@contextlib.contextmanager
def stage(directory: str) -> Iterator[str]:
    """Context manager: a new directory within another one, removed at the end with what is still in it.

    Those of which the Lago was killed that had made them are removed as well.

    Raises:
        OSError: it can't be made.
    """
    _sweep(directory)
    with contextlib.ExitStack() as stack:
        path = _begin(directory, stack)
        try:
            yield path
        finally:
            _remove(path)


def _begin(directory: str, stack: contextlib.ExitStack) -> str:
    """Make a directory that is swept when we end, however that is."""
    while True:
        path = tempfile.mkdtemp(prefix=_UNFINISHED, dir=directory)
        try:
            stack.enter_context(lock_file(os.path.join(path, _LOCK), what=path, timeout=0))
        except (LockTimeout, FileNotFoundError):
            # Somebody swept before it was locked.
            continue
        except BaseException:
            _remove(path)
            raise
        return path


def _sweep(directory: str) -> None:
    """Remove what those left that were killed."""
    with contextlib.suppress(OSError):
        left = [one for one in os.listdir(directory) if one.startswith(_UNFINISHED)]
        for path in (os.path.join(directory, name) for name in left):
            with contextlib.suppress(LockTimeout, OSError):
                status = os.lstat(path)
                if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                    with lock_file(os.path.join(path, _LOCK), what=path, timeout=0):
                        _remove(path)


def _remove(path: str) -> None:
    try:
        with Here(path) as here:
            for name, status in here.everything():
                (os.rmdir if stat.S_ISDIR(status.st_mode) else os.unlink)(name, dir_fd=here.fd)
        os.rmdir(path)
    except OSError as error:
        LOG.warning("%s can't be removed: %s", path, error.strerror)


@contextlib.contextmanager
def tree(directory: str) -> Iterator[str]:
    """Context manager: a directory of a new stage, for what a guest sends; see `stage`.

    It is within the stage, which nobody else may enter, since the guest decides on its mode.
    """
    with stage(directory) as room:
        path = os.path.join(room, "tree")
        os.mkdir(path)
        yield path


def distribute(path: str, parts: Sequence[Part], what: str) -> None:
    """Move parts of what came from a guest to their targets, in the file system of `path`, which `tree` has made.

    One part may be within another one. A target that is a link is replaced, and a file by a file; a tree is merged with
    one that is there, and no link in that is followed. Nothing is moved unless all parts may be. Files lose their
    setuid and setgid bits, devices, pipes and sockets are left out.

    Args:
        what: what can't be done, with the guest's name, for messages.

    Raises:
        VMError: the guest did not send a file or a directory for a part.
        LagoError: a target is a link to a directory.
        OSError: a target can't be written, or is a directory where a file should go, or the other way round.
    """
    for part in parts:
        check_target(part.target, what)
        with _sent(path, part, what) as (here, name):
            _tame(here, name, part.asked)
    # What is within another part goes first, as a copy.
    ordered = sorted(parts, key=lambda part: len(part.told), reverse=True)
    for number, part in enumerate(ordered):
        directory, name_there = os.path.split(part.target)
        with _sent(path, part, what) as (here, name), Here(directory or os.curdir) as there:
            if any(_is_within(part.told, other.told) for other in ordered[number + 1 :]):
                with Here(os.path.dirname(path)) as room:
                    copy = f"{os.path.basename(path)}.{number}"
                    _place(here, name, room, copy, _copy)
                    _replace(room, copy, there, name_there)
            else:
                _replace(here, name, there, name_there)


def check_target(target: str, what: str) -> None:
    """Raise LagoError if a target is a link to a directory: which of the two is meant can't be told."""
    if os.path.islink(target) and os.path.isdir(target):
        raise LagoError(
            f"{what}, on this host",
            details=f"{target} is a symbolic link to a directory",
            hint=f"remove the link, or name the directory itself: {os.path.realpath(target)}",
        )


@contextlib.contextmanager
def _sent(path: str, part: Part, what: str) -> Iterator[tuple[Here, str]]:
    """Context manager: the directory that a part is in, and its name there.

    This alone decides whether a name that a guest tells is used: there must be a file or a directory of that name in
    what it sent, and no link on the way there.

    Raises:
        VMError: there is none.
    """
    with Here(os.path.dirname(path)) as here:
        names = [os.path.basename(path), *(part.told.split("/")[1:] if part.told != "/" else [])]
        if why := _refusal(here, part.told, names):
            raise VMError(f"{what}, on the guest", details=f"{part.asked}: {why}")
        yield here, names[-1]


def _refusal(here: Here, told: str, names: Sequence[str]) -> str:
    """Go to the directory where what is told is; return why it is not taken, empty if it is."""
    odd = any(name in ("", ".", "..") or "\0" in name for name in names)
    if odd or not told.startswith("/") or len(os.fsencode(told)) > LONGEST_NAME:
        return "the guest calls it by what is no plain path"
    try:
        for name in names[:-1]:
            here.enter(name)
        kind = here.look(names[-1]).st_mode
    except OSError:
        return "the guest did not send it, or sent a link on the way there"
    if stat.S_ISLNK(kind):
        return "the guest sent a symbolic link, and not what it leads to"
    return "" if stat.S_ISREG(kind) or stat.S_ISDIR(kind) else "it is neither a file nor a directory"


def _is_within(path: str, other: str) -> bool:
    return path == other or path.startswith(other.rstrip("/") + "/")


def _tame(here: Here, name: str, asked: str) -> None:
    """Take from a part, asked for as `asked`, what could harm: rights that files give, and what is no file."""
    _take_rights(here, name, here.look(name))
    if not here.has_directory(name):
        return
    above = here.path(name)
    here.enter(name)
    for inner, status in here.everything():
        kind = status.st_mode
        _take_rights(here, inner, status)
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)):
            os.unlink(inner, dir_fd=here.fd)
            told = os.path.join(asked, os.path.relpath(here.path(inner), above))
            LOG.warning("%s is neither a file nor a directory, it is left out", told)
    here.leave()


def _take_rights(here: Here, name: str, status: os.stat_result) -> None:
    rights = stat.S_ISUID | stat.S_ISGID
    if stat.S_ISREG(status.st_mode) and status.st_mode & rights:
        here.chmod(name, stat.S_IMODE(status.st_mode) & ~rights)


def _replace(source: Here, name: str, target: Here, to: str) -> None:
    """Move a part to its target; a link that is there is not followed."""
    if source.has_directory(name):
        # The system puts a file into a link's place by itself, but no directory.
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(target.look(to).st_mode):
                os.unlink(to, dir_fd=target.fd)
    _place(source, name, target, to, _move)


def _place(source: Here, name: str, target: Here, to: str, take: Callable[[Here, str, Here, str], bool]) -> None:
    """Move or copy a file or a tree to its place.

    Args:
        take: puts what has a name there under a name here, and says whether that is all; if not, both are directories,
            and what is in the one has to be put into the other.

    Raises:
        OSError: with the path of this host that can't be written.
    """
    todo = [[(name, to)]]
    while todo:
        if not todo[-1]:
            todo.pop()
            if todo:
                _, status = source.leave()
                target.leave(status)
            continue
        name, to = todo[-1].pop()
        try:
            if take(source, name, target, to):
                continue
            source.enter(name)
            target.enter(to)
        except OSError as error:
            raise OSError(error.errno, error.strerror, target.path(to)) from None
        todo.append([(inner, inner) for inner in os.listdir(source.fd)])


def _move(source: Here, name: str, target: Here, to: str) -> bool:
    if not source.has_directory(name):
        # The system refuses a file in a directory's place and the other way round.
        os.rename(name, to, src_dir_fd=source.fd, dst_dir_fd=target.fd)
        return True
    if target.has_directory(to):
        return False
    # A directory that is moved is written to: it has an entry for the one above.
    mode = stat.S_IMODE(source.give_access(name).st_mode)
    os.rename(name, to, src_dir_fd=source.fd, dst_dir_fd=target.fd)
    target.chmod(to, mode)
    return True


def _copy(source: Here, name: str, target: Here, to: str) -> bool:
    status = source.look(name)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(to, dir_fd=target.fd)
        return False
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source.fd), to, dir_fd=target.fd)
        return True
    source.give_access(name)
    with (
        open(source.open(name, os.O_RDONLY), "rb") as old,
        open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target.fd), "wb") as new,
    ):
        shutil.copyfileobj(old, new)
        new.flush()
        for file in (old, new):
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
    return True

"""Walking trees that somebody else made: no link is followed, and neither depth nor modes are in the way."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from .beneath import open_beneath
from .parallel import Closing

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OURS: Final = stat.S_IRWXU


class _Step(NamedTuple):
    name: str
    status: os.stat_result
    above: os.stat_result


class Here(Closing):
    """A directory, and the way back to it from what is below.

    One descriptor is open at a time, and names are looked up in it, so that trees may be deeper than processes may have
    files open and longer than paths may be. A directory gives us all access while we are in it; it gets back its mode
    and times when it is left.

    Attributes:
        fd: the directory we are in; all names are names in it.

    Raises:
        OSError: the directory can't be opened. It may be a link itself, those below may not.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._way: list[_Step] = []
        self.fd = os.open(path, _DIRECTORY)

    def close(self) -> None:
        """Go back to the beginning, as far as that is possible."""
        try:
            with contextlib.suppress(OSError):
                while self._way:
                    self.leave()
        finally:
            os.close(self.fd)

    def path(self, name: str) -> str:
        """The path of a name, for messages: it may be too long to be used."""
        return os.path.join(self._path, *(step.name for step in self._way), name)

    def look(self, name: str) -> os.stat_result:
        """The status of a name, which is not followed. Raises OSError."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def has_directory(self, name: str) -> bool:
        """Whether there is a directory of that name, and not a link to one."""
        try:
            return stat.S_ISDIR(self.look(name).st_mode)
        except FileNotFoundError:
            return False

    def open(self, name: str, flags: int) -> int:
        """Open what is there by a name; its descriptor. Raises OSError, also if it is a link."""
        return open_beneath(self.fd, name, flags)

    def chmod(self, name: str, mode: int) -> None:
        """Change the mode of a file or a directory. Raises OSError, also if it is a link."""
        fd = self.open(name, os.O_PATH)
        try:
            # This may be done without access to the file, but the descriptor itself does not take it.
            os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)

    def give_access(self, name: str) -> os.stat_result:
        """Let us read and change what has that name, and return its former status. Raises OSError."""
        status = self.look(name)
        if status.st_mode & _OURS != _OURS:
            self.chmod(name, stat.S_IMODE(status.st_mode) | _OURS)
        return status

    def enter(self, name: str) -> None:
        """Go into a directory. Raises OSError, also if it is a link."""
        if not self.has_directory(name):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        above = os.fstat(self.fd)
        status = self.give_access(name)
        fd = self.open(name, _DIRECTORY)
        self._way.append(_Step(name, status, above))
        os.close(self.fd)
        self.fd = fd

    def leave(self, status: os.stat_result | None = None) -> tuple[str, os.stat_result]:
        """Go back to the directory above; the name of the one that was left, and what it was.

        Args:
            status: has the mode and times that it is to have now, if not those it had before.

        Raises:
            OSError: the directory above is another one than it was, or the one that is left can't be changed.
        """
        up = os.open("..", _DIRECTORY, dir_fd=self.fd)
        step = self._way.pop()
        left, self.fd = self.fd, up
        try:
            if not os.path.samestat(os.fstat(up), step.above):
                self._way.clear()
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), step.name)
            now = status or step.status
            os.utime(left, ns=(now.st_atime_ns, now.st_mtime_ns))
            os.fchmod(left, stat.S_IMODE(now.st_mode))
        finally:
            os.close(left)
        return step.name, step.status

    def everything(self) -> Iterator[tuple[str, os.stat_result]]:
        """Walk through all that is below, and yield it with its status; we are in its directory meanwhile.

        What is in a directory comes before it.

        Raises:
            OSError: something can't be looked at.
        """
        todo = [os.listdir(self.fd)]
        while todo:
            if todo[-1]:
                name = todo[-1].pop()
                status = self.look(name)
                if stat.S_ISDIR(status.st_mode):
                    self.enter(name)
                    todo.append(os.listdir(self.fd))
                else:
                    yield name, status
            else:
                todo.pop()
                if todo:
                    yield self.leave()

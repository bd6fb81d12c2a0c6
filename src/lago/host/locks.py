"""Lock files, and which processes hold one.

A lock file may be written by whoever holds it, and is read by whoever waits. What it says is never taken for true: a
process is named, or ended, only if it holds the lock as the kernel sees it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from ..errors import LockTimeout, PrefixError
from ..log import LOG
from .waiting import pidfd, wait_for_end, within

_PACE: Final = 0.05
_QUIET: Final = 1.0
"""Seconds after which it is said that we wait."""

_held: ContextVar[frozenset[str]] = ContextVar("held", default=frozenset())


@contextlib.contextmanager
def lock_file(path: str, *, what: str, timeout: float = 120, shared: bool = False) -> Iterator[int]:
    """Context manager: the lock file at `path` is held; it stays on disk, and the kernel frees it however we end.

    The file holds the pid of its last exclusive holder, for the message when we wait in vain. Nobody else may open a
    new one, or he could hold it against us; a link in its place is not followed, or we would write to where it leads.

    Yields the descriptor: who inherits it holds the lock too.

    Args:
        what: what is locked, for the message.
        timeout: seconds to wait.

    Raises:
        LockTimeout: somebody else still holds it.
        PrefixError: a link stands in its place.
    """
    with contextlib.closing(_Lock(path, os.O_RDWR | os.O_CREAT)) as lock:
        lock.wait(fcntl.LOCK_SH if shared else fcntl.LOCK_EX, what, timeout)
        if not shared:
            os.ftruncate(lock.fd, 0)
            os.pwrite(lock.fd, f"{os.getpid()}\n".encode(), 0)
            _held.set(_held.get() | {os.path.abspath(path)})
        try:
            yield lock.fd
        finally:
            _held.set(_held.get() - {os.path.abspath(path)})


def held_here(path: str) -> bool:
    """Whether what runs now, maybe in a thread of `in_parallel`, is in a block that holds the lock file at `path`."""
    return os.path.abspath(path) in _held.get()


def lock_if_free(path: str) -> int | None:
    """Take the lock file at `path` until the descriptor is closed; None if somebody else has it."""
    lock = _Lock(path, os.O_RDWR | os.O_CREAT)
    if lock.take(fcntl.LOCK_EX):
        return lock.fd
    lock.close()
    return None


def locked_text(path: str) -> str | None:
    """What the lock file at `path` says, if somebody holds it; nothing is written, nor waited for."""
    try:
        lock = _Lock(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with contextlib.closing(lock):
        return None if lock.take(fcntl.LOCK_SH) else lock.text()


def holders(path: str) -> list[int]:
    """The processes that hold the lock file at `path`, of those that we may look into: root all, others their own.

    Who inherited the descriptor holds the lock as well. Source: proc(5), `/proc/PID/fdinfo` has the locks of each
    descriptor.
    """
    with contextlib.closing(_Lock(path, os.O_RDONLY)) as lock:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and lock.held_by(int(name))]


def end_holders(path: str, patience: float = 10.0) -> None:
    """Ask the processes that hold the lock file at `path` to end, and return when they have.

    Args:
        patience: seconds after which they are killed.
    """
    for pid in holders(path):
        with contextlib.suppress(ProcessLookupError), pidfd(pid) as process:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            if not wait_for_end(process, patience):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                wait_for_end(process, patience)


class _Lock:
    """An open lock file."""

    def __init__(self, path: str, flags: int) -> None:
        try:
            self.fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError:
            if os.path.islink(path):
                raise PrefixError(
                    f"{path} is a link, so it can't be locked", hint="look where it leads, and remove the link"
                ) from None
            raise
        self._found = os.fstat(self.fd)

    def close(self) -> None:
        os.close(self.fd)

    def text(self) -> str:
        return os.pread(self.fd, 32, 0).decode(errors="replace").strip()

    def take(self, kind: int) -> bool:
        """Take it if it is free, and say whether it was."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
            return True
        return False

    def wait(self, kind: int, what: str, timeout: float) -> None:
        told = False
        for left in within(timeout):
            if self.take(kind):
                return
            if not told and timeout - left > _QUIET:
                told = True
                LOG.warning("%s is in use by %s, waiting for it", what, _describe(self._holder()))
            # flock has no time-out and no event to wait for together with one.
            time.sleep(min(left, _PACE))
        pid = self._holder()
        raise LockTimeout(
            f"{what} is still in use by {_describe(pid)} after {timeout:g} s",
            hint=f"wait for it, or end it: kill {pid}" if pid else "wait for it",
        )

    def _holder(self) -> int | None:
        """The process that the file names, if it does hold the lock."""
        text = self.text()
        return int(text) if text.isascii() and text.isdigit() and self.held_by(int(text)) else None

    def held_by(self, pid: int) -> bool:
        """Whether a process that we may look into holds the lock."""
        with contextlib.suppress(OSError):
            return any(self._is_held(f"/proc/{pid}", fd) for fd in os.listdir(f"/proc/{pid}/fd"))
        return False

    def _is_held(self, process: str, fd: str) -> bool:
        with contextlib.suppress(OSError), open(f"{process}/fdinfo/{fd}", encoding="utf-8", errors="replace") as info:
            if any(line.startswith("lock:") and " FLOCK " in line for line in info):
                return os.path.samestat(os.stat(f"{process}/fd/{fd}"), self._found)
        return False


def _describe(pid: int | None) -> str:
    """A process for a person: its number, and what it was called with."""
    if pid is None:
        return "another process"
    words: list[str] = []
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
        words = file.read().rstrip("\0").split("\0")
    # Of `/usr/bin/python3 -I /usr/bin/lago start` the interpreter is of no interest.
    if len(words) > 1 and os.path.basename(words[0]).startswith("python"):
        words = [word for word in words[1:] if word not in ("-I", "-s", "-E", "-P", "-u")] or words
    text = " ".join([os.path.basename(words[0]), *words[1:]]) if words else ""
    return f"process {pid}" + (f" ({text[:77]}...)" if len(text) > 80 else f" ({text})" if text else "")

"""A machine's serial console: a terminal on it, and waiting for what it says."""

from __future__ import annotations

import contextlib
import os
import re
import select
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Any, Final

import libvirt

from ..errors import HypervisorError, VMError, VMNotReady, VMNotRunning
from ..guest import console_log
from ..host import long_logs
from ..host.programs import tail
from ..host.pump import write_all
from ..host.waiting import within
from .connection import refusals
from .machine import Machine
from .stuck import lines

LEAVE: Final = b"\x1d"
"""Control-]."""

_TAIL: Final = 25
_CHUNK: Final = 4096
_NOTHING_NOW: Final = -2


def interact(machine: Machine, stdin: int, stdout: int, *, force: bool = False) -> bool:
    """Connect a terminal with the console until Control-] is typed or the machine ends; whether the machine ended.

    The terminal is raw meanwhile, so that all other keys go to the machine. What the machine says is still logged.

    Args:
        stdin: descriptor of the terminal.
        stdout: descriptor where it is written what the machine says.
        force: end the session of somebody else who is at the console.

    Raises:
        VMNotRunning: the machine does not run.
        HypervisorError: somebody is at the console already.
    """
    domain = machine.running_domain()
    flags = libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else 0
    stream = machine.env.libvirt_con.newStream(libvirt.VIR_STREAM_NONBLOCK)
    hint = f"somebody is at it? lago console --force {machine.name()} takes it over"
    with refusals(f"{machine.name()}: there is no way to its console", hint):
        domain.openConsole(None, stream, flags)
    with _raw(stdin), _Received(stream) as received:
        return _exchange(stream, received, stdin, stdout)


def _exchange(stream: libvirt.virStream, received: _Received, stdin: int, stdout: int) -> bool:
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    poll.register(received, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            data = os.read(fd, _CHUNK)
            if fd != stdin:
                if not data:
                    return True
                write_all(stdout, data)
                continue
            typed, leave, _ = data.partition(LEAVE)
            if typed:
                with contextlib.suppress(libvirt.libvirtError):
                    stream.send(typed)
            if leave or not data:
                return False


class _Received:
    """What comes out of a stream, as something that can be polled: libvirt's event loop writes it to a pipe."""

    def __init__(self, stream: libvirt.virStream) -> None:
        self._stream = stream
        self._read, self._write = os.pipe()
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._read

    def __enter__(self) -> _Received:
        events = libvirt.VIR_STREAM_EVENT_READABLE | libvirt.VIR_STREAM_EVENT_HANGUP | libvirt.VIR_STREAM_EVENT_ERROR
        self._stream.eventAddCallback(events, self._on_event, None)
        return self

    def __exit__(self, *_: object) -> None:
        # Closed first: the event loop may be about to write to a full pipe.
        os.close(self._read)
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.eventRemoveCallback()
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.abort()
        self._end()

    def _end(self) -> None:
        with self._lock:
            if self._write >= 0:
                os.close(self._write)
                self._write = -1

    def _on_event(self, stream: libvirt.virStream, _events: int, _opaque: Any) -> None:
        try:
            data = stream.recv(_CHUNK)
            if data == _NOTHING_NOW:
                return
            if data:
                write_all(self._write, data)
                return
        except (libvirt.libvirtError, OSError):
            pass
        with contextlib.suppress(libvirt.libvirtError):
            stream.eventRemoveCallback()
        self._end()


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    try:
        # What was typed already is for the machine too.
        tty.setraw(fd, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


class ConsoleCursor:
    """How far a machine's console log was searched."""

    def __init__(self) -> None:
        self._log: tuple[int, int] | None = None
        self._line = 0
        """Where the line with the last match begins, in bytes."""
        self._end = 0
        """Where the match ends, in characters from there."""

    def search(self, wanted: re.Pattern[str], path: str) -> re.Match[str] | None:
        """Search behind the last match, and return the next one; a new log is searched from its start."""
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                if self._log != (found.st_dev, found.st_ino):
                    self._log, self._line, self._end = (found.st_dev, found.st_ino), 0, 0
                least = max(long_logs.begin(file.fileno()), found.st_size - long_logs.MOST)
                if self._line < least:
                    self._line, self._end = least, 0
                file.seek(self._line)
                data = file.read(long_logs.MOST)
        except FileNotFoundError:
            return None
        said = console_log.text(data)
        if (match := wanted.search(said, self._end)) is not None:
            lines_before = said.count("\n", 0, match.end())
            self._end = match.end() - (said.rfind("\n", 0, match.end()) + 1)
            self._line += len(b"".join(data.split(b"\n", lines_before)[:lines_before])) + lines_before
        return match


def wait_for_text(machine: Machine, cursor: ConsoleCursor, pattern: str, timeout: float) -> re.Match[str]:
    """Return when the machine has said on its console what matches a regular expression; the match.

    What it said since it was started counts, up to the match of the call before.

    Args:
        cursor: how far its log was searched before.
        pattern: for `re.search` with `re.MULTILINE`.
        timeout: seconds.

    Raises:
        VMNotRunning: it ended, or does not run, and has not said it.
        VMNotReady: it has not said it within `timeout`.
    """
    try:
        wanted = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise VMError(f"{pattern!r} is no regular expression: {error}") from None
    path = machine.console_log()
    with console_log.Follower({machine.name(): path}) as log:
        for left in within(timeout):
            # Asked first: what it said until it ended is in the log then.
            ended = not is_alive(machine)
            if (match := cursor.search(wanted, path)) is not None:
                return match
            if ended:
                what = f"{machine.name()} ended, or was not started, and did not say {pattern!r}"
                raise VMNotRunning(what, **_said(machine))
            log.wait(left)
    raise VMNotReady(f"{machine.name()} did not say {pattern!r} on its console within {timeout:g} s", **_said(machine))


def is_alive(machine: Machine) -> bool:
    """Whether a machine runs, or stands still; it may end, with all of libvirt, while that is asked."""
    # It, or all of its hypervisor, may end while libvirt is asked.
    with contextlib.suppress(libvirt.libvirtError, HypervisorError):
        return machine.alive()
    return False


def _said(machine: Machine) -> dict[str, str]:
    said = tail("\n".join(lines(machine.console_text())), _TAIL)
    return {"details": said and f"console:\n{said}", "hint": f"its whole console log: {machine.console_log()}"}

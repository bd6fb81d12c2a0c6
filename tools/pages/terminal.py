"""A terminal on which programs run: what a person would see of them."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

_ROWS = 1000
"""Of the screen: enough that nothing scrolls off it."""

_GRACE = 0.5
"""Seconds in which the kernel passes on what a command that has ended wrote last."""


class Terminal:
    """A shell's command that runs in a directory, on a screen `columns` wide.

    Args:
        seen: called with each piece of output, as it comes.
    """

    def __init__(
        self,
        command: str,
        place: Path,
        env: Mapping[str, str],
        *,
        columns: int = 160,
        seen: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._screen = pyte.Screen(columns, _ROWS)
        self._screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self._screen)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._seen = seen
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
        self._process = subprocess.Popen(
            ["bash", "-e", "-c", command],
            cwd=place,
            env={**env, "TERM": "xterm-256color"},
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._ended = os.pidfd_open(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._end(signal.SIGKILL)
            self._process.wait()
        os.close(self._ended)
        os.close(self._master)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def wait(self, seconds: float) -> int:
        """Exit status of the command.

        Raises:
            TimeoutError: it does not end in time.
        """
        self.read_until(lambda: False, seconds)
        return self._process.wait(seconds)

    def interrupt(self, seconds: float) -> int:
        """Exit status of the command after Ctrl-C."""
        self._end(signal.SIGINT)
        return self.wait(seconds)

    def read_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Read until a condition comes true, or the command has ended and all it said was read.

        Raises:
            TimeoutError: neither happens in time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            ready = select.select([self._master, self._ended], [], [], max(0, deadline - time.monotonic()))[0]
            if not ready:
                raise TimeoutError(f"not within {seconds:g} s; on the screen is\n{self.text}")
            if self._master not in ready and not select.select([self._master], [], [], _GRACE)[0]:
                return  # what goes on in the background has the terminal open, too
            try:
                data = os.read(self._master, 65536)
            except OSError:  # nobody has the other side any more
                return
            text = self._decode(data)
            self._stream.feed(text)
            self._seen(text)

    def _end(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

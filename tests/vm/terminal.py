"""`lago` on a terminal, as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Self

from .box import Box

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_PATIENCE = 200.0


class Terminal:
    """A program that runs on a terminal of its own, `size` rows and columns large."""

    def __init__(self, box: Box, *words: str, size: tuple[int, int] = (50, 150)) -> None:
        self._master, slave = pty.openpty()
        self.seen = ""
        self.resize(*size)
        # It is no process group leader, so setsid becomes the program.
        argv = ["setsid", "--ctty", *box.argv("lago", *words)]
        env = box.environment({"TERM": "xterm"})
        self._process = subprocess.Popen(argv, cwd=box.place, env=env, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    @property
    def fd(self) -> int:
        """Its other end, which has the same settings."""
        return self._master

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    def expect(self, text: str) -> None:
        """Wait until the text is shown, after what was expected before."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.seen!r}"
            assert self._read(), f"{text!r} is not in {self.seen!r}, and the program ended"
        self.seen = self.seen.partition(text)[2]

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._master, 4096)
        except OSError:
            return False
        self.seen += _CONTROL.sub("", data.decode(errors="replace"))
        return bool(data)

    def end(self, number: int) -> None:
        """Send the program a signal."""
        os.kill(self._process.pid, number)

    def wait(self) -> int:
        """Exit status of the program, when it has ended and all it said was read."""
        deadline = time.monotonic() + _PATIENCE
        while self._read():
            assert time.monotonic() < deadline, f"it does not end; it said {self.seen!r}"
        return self._process.wait(60)

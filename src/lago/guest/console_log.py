"""Console logs of machines while they grow.

A log is a file in the prefix's `logs`. When its machine starts, the one of the time before gets `.old` added to its
name and a new one is made; who follows a name goes on with the new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import IO, Final

from ..host import long_logs
from ..host.beneath import not_a_link
from ..host.inotify import Directory
from ..host.parallel import Closing

_FIRST: Final = 1 << 16
"""Bytes that are looked at first for the last lines."""

_LONGEST: Final = 1 << 20
"""Bytes of a line, after which it counts as complete."""


def tail(path: str, lines: int | None) -> list[str]:
    """The last lines of a log (all, if no number is given), as text; none if there is no log."""
    most = _FIRST
    try:
        while True:
            _, data = long_logs.end_of(path, most)
            found = text(data).splitlines()
            if len(data) < most or (lines is not None and len(found) > lines):
                return found if lines is None else found[max(0, len(found) - lines) :]
            most *= 4
    except FileNotFoundError:
        return []


def text(data: bytes) -> str:
    """What a machine wrote, with the ends of lines that files have."""
    return data.decode(errors="replace").replace("\r", "")


class Follower(Closing):
    """What is in some logs and what is written to them, named by the keys of `paths`, all in one directory.

    Args:
        paths: the logs; they need not exist yet.

    Raises:
        FileNotFoundError: there is no such directory.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = dict(paths)
        self._files: dict[str, IO[bytes]] = {}
        self._rest: dict[str, bytes] = {}
        self.gone = False
        """Whether the directory was removed: nothing will come any more."""
        [directory] = {os.path.dirname(path) for path in paths.values()}
        self._directory = Directory(directory)

    def close(self) -> None:
        """Stop following."""
        self._directory.close()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def lines(self) -> Iterator[tuple[str, list[str]]]:
        """The lines that were completed since the last time, by name; the last one of a log that was replaced too."""
        for name in self._paths:
            data = self._rest.pop(name, b"") + (self._files[name].read() if name in self._files else b"")
            if self._open_next(name):
                data += (b"" if data.endswith(b"\n") or not data else b"\n") + self._files[name].read()
            complete, end, rest = data.rpartition(b"\n")
            if len(rest) > _LONGEST:
                complete, end, rest = data, b"\n", b""
            self._rest[name] = rest
            if end:
                yield name, text(complete).split("\n")

    def _open_next(self, name: str) -> bool:
        """Whether there is a log that was not read before, which is open now."""
        try:
            found = open(self._paths[name], "rb", opener=not_a_link)  # noqa: SIM115 - closed by `close`, or the next one
        except FileNotFoundError:
            return False
        if name in self._files:
            if os.path.sameopenfile(found.fileno(), self._files[name].fileno()):
                found.close()
                return False
            self._files[name].close()
        found.seek(long_logs.begin(found.fileno()))
        self._files[name] = found
        return True

    def wait(self, timeout: float | None = None) -> None:
        """Return when something may have been written, or a log was closed; at the latest after `timeout` seconds."""
        self.gone |= self._directory.wait(None if timeout is None else max(0, timeout))

"""What machines say on their consoles, as lines for the journal, each once and no more of them than a journal is for.

Where the next line begins, and which states and addresses have been told, stands in a file, so that whoever comes after
one that was killed goes on there.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..host import long_logs, shape
from ..host.beneath import not_a_link
from ..host.files import beside, json_text
from ..paths import Paths

_BURST: Final = 512 << 10
_PER_SECOND: Final = 16 << 10
"""Bytes of the lines of one machine: at once, and in the long run. A boot is some 100 KiB."""

_LINE: Final = 96
"""Bytes that a line takes besides its text."""

_READ: Final = 256 << 10
"""Bytes that are read at once; who is further behind than that does not catch up."""

_LONGEST: Final = 64 << 10
_UNFINISHED: Final = 1.0
"""Seconds after which a line without an end, such as a prompt, counts as one."""

_TOLD: Final = 1.0
"""Seconds after which it is said again how much was left out."""

_READ_SEEN: Final = shape.record(
    {},
    {
        "consoles": shape.mapping(shape.text(), shape.listing(shape.whole)),
        "states": shape.mapping(shape.text(), shape.text()),
        "leases": shape.listing(shape.text()),
    },
)


class Seen:
    """What has been told already; it is a file of the prefix.

    Attributes:
        consoles: by machine, which file its console log was (its inode), and where the next line begins in it.
        states: the last state that was told of a machine.
        leases: addresses that were told of, each with the interface.
    """

    def __init__(self, paths: Paths) -> None:
        self._path = paths.watched()
        self.consoles: dict[str, list[int]] = {}
        self.states: dict[str, str] = {}
        self.leases: list[str] = []
        with contextlib.suppress(OSError, ValueError):
            with open(self._path, encoding="utf-8") as file:
                found = _READ_SEEN(shape.parse(file.read(shape.MOST)))
            places = found.get("consoles", {})
            self.consoles = {vm: place for vm, place in places.items() if len(place) == 2}
            self.states = found.get("states", {})
            self.leases = found.get("leases", [])

    def save(self) -> None:
        """Write it; it need not survive a power failure."""
        temporary = beside(self._path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(json_text({"consoles": self.consoles, "states": self.states, "leases": self.leases}))
        os.rename(temporary, self._path)

    @staticmethod
    def there(paths: Paths) -> bool:
        """Whether anything was ever told."""
        return os.path.exists(paths.watched())


class Consoles:
    """The console logs of machines.

    Args:
        paths: of the prefix.
        names: of its machines.
        seen: where to go on.
    """

    def __init__(self, paths: Paths, names: Iterable[str], seen: Seen) -> None:
        self._logs = {name: _Log(paths.console_log(name), name, seen.consoles) for name in names}

    def entries(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """The lines that came since the last time.

        Args:
            everything: those that have no end yet, too; nothing more will come.
        """
        return [entry for log in self._logs.values() for entry in log.entries(everything=everything)]

    @property
    def unfinished(self) -> bool:
        """Whether there is something that is to be told soon, whatever comes."""
        return any(log.unfinished for log in self._logs.values())

    def close(self) -> None:
        """Close the logs."""
        for log in self._logs.values():
            log.close()


class _Log:
    """The console log of a machine; `places` is where the next line begins, by machine."""

    def __init__(self, path: str, name: str, places: dict[str, list[int]]) -> None:
        self._path = path
        self._name = name
        self._places = places
        self._fd = -1
        self._at = 0
        self._rest = b""
        self._since = 0.0
        self._allowed = float(_BURST)
        self._looked = time.monotonic()
        self._left_out = 0
        self._told = 0.0

    @property
    def unfinished(self) -> bool:
        return bool(self._rest or self._left_out)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def entries(self, *, everything: bool) -> Iterator[dict[str, Any]]:
        now = time.monotonic()
        self._allowed = min(_BURST, self._allowed + (now - self._looked) * _PER_SECOND)
        self._looked = now
        if self._fd < 0:
            self._open_first()
        while self._fd >= 0:
            replaced = self._is_replaced()
            yield from self._more(everything=everything or replaced)
            if not replaced:
                break
            self.close()
            self._open(self._path, 0)
        if self._left_out and (everything or now - self._told >= _TOLD):
            self._told = now
            left_out, self._left_out = self._left_out, 0
            text = f"({left_out} bytes are left out here, the console log has more)"
            yield {"t": _now(), "kind": "console", "vm": self._name, "text": text, "left_out": left_out}

    def _open_first(self) -> None:
        """Open the log where the next line is, be it that of the time before."""
        inode, at = self._places.get(self._name, [0, 0])
        for path in (self._path, f"{self._path}.old"):
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == inode:
                    self._open(path, at)
                    return
        self._open(self._path, 0)

    def _open(self, path: str, at: int) -> None:
        with contextlib.suppress(OSError):
            fd = not_a_link(path, os.O_RDONLY)
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                os.close(fd)
                return
            self._fd, self._at, self._rest = fd, at, b""
            self._places[self._name] = [found.st_ino, at]

    def _is_replaced(self) -> bool:
        """Whether there is another log by now."""
        try:
            return os.lstat(self._path).st_ino != os.fstat(self._fd).st_ino
        except OSError:
            return False

    def _more(self, *, everything: bool) -> Iterator[dict[str, Any]]:
        size = os.fstat(self._fd).st_size
        if size < self._at:
            self._at, self._rest = 0, b""
        behind = size - self._at
        if behind > _READ or (behind and self._allowed <= 0):
            # What nobody will be told need not be read.
            skipped = behind - (_LONGEST if self._allowed > 0 else 0)
            self._left_out += skipped + len(self._rest)
            self._at, self._rest = self._at + skipped, b""
        begin = long_logs.begin(self._fd) if behind else 0
        if begin > self._at:
            self._left_out += begin - self._at
            self._at = begin
        now = time.monotonic()
        data = b"" if self._at >= size else os.pread(self._fd, size - self._at, self._at)
        self._at += len(data)
        if data:
            self._since = now
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (everything or len(self._rest) > _LONGEST or now - self._since >= _UNFINISHED):
            lines.append(self._rest)
            self._rest = b""
        self._places[self._name][1] = self._at - len(self._rest)
        for line in lines:
            yield from self._told_line(line)

    def _told_line(self, line: bytes) -> Iterator[dict[str, Any]]:
        if self._allowed <= 0:
            self._left_out += len(line) + 1
            return
        self._allowed -= min(len(line), _LONGEST) + _LINE
        text = line.decode(errors="replace").replace("\r", "")
        if text.strip():
            yield {"t": _now(), "kind": "console", "vm": self._name, "text": text}


def _now() -> float:
    return round(time.time(), 6)


def skip(paths: Paths, names: Iterable[str]) -> None:
    """Record that what machines have said so far is nothing of this journal, as of those of a new fork."""
    seen = Seen(paths)
    for name in names:
        with contextlib.suppress(OSError):
            found = os.stat(paths.console_log(name))
            seen.consoles[name] = [found.st_ino, found.st_size]
    seen.save()


def is_told(paths: Paths, names: Iterable[str]) -> bool:
    """Whether all lines have been told that machines have said by now."""
    places = Seen(paths).consoles
    return all(_has_told(paths.console_log(name), *places.get(name, (0, 0))) for name in names)


def _has_told(path: str, inode: int, at: int) -> bool:
    try:
        with open(path, "rb", buffering=0, opener=not_a_link) as file:
            found = os.fstat(file.fileno())
            behind = found.st_size - at
            if found.st_ino != inode or behind > _LONGEST:
                return False
            return behind <= 0 or b"\n" not in os.pread(file.fileno(), behind, at)
    except OSError:
        # There is none, or something else in its place, of which nothing is told.
        return True

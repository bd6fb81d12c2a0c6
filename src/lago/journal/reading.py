"""Reading a journal, whatever state its files are in, and whatever stands in them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from ..host.inotify import Directory
from . import files, kinds

_BLOCK: Final = 1 << 20

Entry = dict[str, Any]


class Span(NamedTuple):
    """What lasted, from its first line to its last.

    Attributes:
        opening: its first line.
        end: its last line; None if whoever did it was killed, or it is still going on.
    """

    opening: Entry
    end: Entry | None

    @property
    def kind(self) -> str:
        """Which kind it is."""
        return str(self.opening["kind"])

    @property
    def seconds(self) -> float | None:
        """How long it lasted; None if it has no end."""
        return None if self.end is None else max(0.0, self.end["t"] - self.opening["t"])

    @property
    def outcome(self) -> str | None:
        """How it ended: `ok`, `failed` or `interrupted`; None if it has no end."""
        return None if self.end is None else str(self.end["outcome"])


def entries(prefix_dir: str, since: float | None = None) -> Iterator[Entry]:
    """Read a journal, from its oldest line on.

    Lines that are torn or none, and values of another type than their key's, are left out. A line that is written
    meanwhile may be there or not.

    Args:
        prefix_dir: the directory of the prefix; where it has no journal, there are no lines.
        since: leave out what happened before, seconds since 1970.
    """
    with _Files(prefix_dir) as found:
        for fd in found.fds:
            for entry in _entries(_lines(fd)):
                if since is None or entry["t"] >= since:
                    yield entry


def spans(entries: Iterable[Entry]) -> list[Span]:
    """What lasted, in the order in which it began.

    Args:
        entries: lines of one journal or more.
    """
    open_: dict[str, Entry] = {}
    ended: dict[str, Entry] = {}
    for entry in entries:
        name = entry.get("id")
        if name is None:
            continue
        if entry["kind"] == "end":
            ended.setdefault(name, entry)
        else:
            open_.setdefault(name, entry)
    return [Span(entry, ended.get(name)) for name, entry in open_.items()]


def follow(prefix_dir: str, *, since: float | None = None, all_of_it: bool = False) -> Iterator[Entry]:
    """Yield lines as they are written, until the directory is gone.

    Args:
        prefix_dir: the directory of the prefix.
        since: yield first what is there already from then on, seconds since 1970.
        all_of_it: yield first all that is there already.

    Raises:
        FileNotFoundError: there is no such directory.
    """
    with contextlib.closing(Follower(prefix_dir, from_begin=all_of_it or since is not None)) as follower:
        while True:
            for entry in follower.entries():
                if since is None or entry["t"] >= since:
                    yield entry
            if follower.gone:
                return
            follower.wait()


class Follower:
    """The lines of a journal that were not there the last time.

    Args:
        prefix_dir: the directory of the prefix.
        from_begin: the first time are all that there are, otherwise those that come from now on.

    Raises:
        FileNotFoundError: there is no such directory.
    """

    def __init__(self, prefix_dir: str, *, from_begin: bool = False) -> None:
        self._prefix = prefix_dir
        self.gone = False
        """Whether the directory was removed: nothing will come any more."""
        self._directory = Directory(prefix_dir)
        self._rest = b""
        self._seen: os.stat_result | None = None
        self._at = 0
        if not from_begin:
            with contextlib.suppress(OSError):
                fd = files.opened(files.current(prefix_dir), os.O_RDONLY)
                try:
                    self._seen = os.fstat(fd)
                    self._at = _end_of_lines(fd, self._seen.st_size)
                finally:
                    os.close(fd)

    def close(self) -> None:
        """Stop following."""
        self._directory.close()

    def fileno(self) -> int:
        """Descriptor that can be read from when something may have come; `wait` takes it off."""
        return self._directory.fd

    def wait(self, timeout: float | None = None) -> None:
        """Return when something may have come, at the latest after `timeout` seconds."""
        self.gone |= self._directory.wait(timeout)

    def entries(self) -> Iterator[Entry]:
        """The lines that came since the last time."""
        with _Files(self._prefix) as found:
            known = [
                n
                for n, fd in enumerate(found.fds)
                if self._seen is not None and os.path.samestat(os.fstat(fd), self._seen)
            ]
            for fd in found.fds[known[0] if known else 0 :]:
                here = os.fstat(fd)
                if self._seen is None or not os.path.samestat(here, self._seen):
                    self._seen, self._at, self._rest = here, 0, b""
                yield from self._more(fd)

    def _more(self, fd: int) -> Iterator[Entry]:
        if os.fstat(fd).st_size < self._at:
            self._at, self._rest = 0, b""
        os.lseek(fd, self._at, os.SEEK_SET)
        while data := os.read(fd, _BLOCK):
            self._at += len(data)
            *complete, rest = (self._rest + data).split(b"\n")
            # One that is too long is none, and nobody keeps it.
            self._rest = rest if len(rest) <= files.LONGEST else b"\0" * files.LONGEST
            yield from _entries(complete)


class _Files:
    """The files of a journal, oldest first, open while a block lasts."""

    def __init__(self, prefix_dir: str) -> None:
        self._prefix = prefix_dir
        self.fds: list[int] = []

    def __enter__(self) -> _Files:
        # From the youngest on: what becomes an older one meanwhile is met again, and not missed.
        seen: set[tuple[int, int]] = set()
        for path in [
            files.current(self._prefix),
            *(files.older(self._prefix, number) for number in files.numbers(self._prefix)),
        ]:
            with contextlib.suppress(OSError):
                fd = files.opened(path, os.O_RDONLY)
                found = os.fstat(fd)
                if (found.st_dev, found.st_ino) in seen:
                    os.close(fd)
                else:
                    seen.add((found.st_dev, found.st_ino))
                    self.fds.insert(0, fd)
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def _lines(fd: int) -> Iterator[bytes]:
    """The whole lines of a file, without their ends; of one that is too long nothing is kept."""
    rest = b""
    while data := os.read(fd, _BLOCK):
        *complete, rest = (rest + data).split(b"\n")
        yield from complete
        if len(rest) > files.LONGEST:
            rest = b"\0" * files.LONGEST


def _end_of_lines(fd: int, size: int) -> int:
    """Where the last line that is whole ends."""
    begin = max(0, size - files.LONGEST)
    return begin + os.pread(fd, size - begin, begin).rfind(b"\n") + 1


def _entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    for line in lines:
        if line and len(line) < files.LONGEST and (entry := _entry(line)) is not None:
            yield entry


def _entry(line: bytes) -> Entry | None:
    try:
        found = json.loads(line.decode(), parse_constant=_refuse)
    # A number of thousands of digits, and a depth of thousands, are told by these.
    except (ValueError, RecursionError):
        return None
    return kinds.checked(found) if isinstance(found, dict) else None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")

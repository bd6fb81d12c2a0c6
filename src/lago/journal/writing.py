"""Writing a journal: a line at a time, by many at once, and without anybody waiting for it.

A line is appended by one `write` under a shared lock; who begins a new file holds it alone. Locks are tried and not
waited for: at worst a line stands in a file that is older by one. What can't be written is left out, as whoever does
something with the environment must not fail for it. A line that was torn, by a kill or a full disk, is ended by the
next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import cached_property
from types import TracebackType
from typing import Any, Final, Self

from .. import config
from ..errors import LagoError
from ..host.files import beside
from ..log import LOG
from . import files, kinds
from .masks import Masks

_LONG: Final = 4096
"""Characters of a text; those that are whole command lines may be longer."""

_LONGER: Final = {"text": 16384, "args": 16384, "words": 16384}
_NAMES: Final = frozenset(("kind", "id", "parent", "vm", "net", "t"))
"""Keys whose values are nobody's secrets, and no texts."""

_LOOKS: Final = 5
_TOPOLOGY: Final = b',"kind":"topology",'
"""How such a line has its kind; in no text, where a quotation mark has a backslash."""

_inside: ContextVar[str | None] = ContextVar("inside", default=None)
"""The span that encloses what happens now."""


class Journal:
    """The journal of a prefix, to be written. It is made by the first line.

    Args:
        prefix_dir: the directory of the prefix.
        secrets: says which passwords are known, so that they stay out.
    """

    def __init__(self, prefix_dir: str, secrets: Callable[[], Iterable[str]] = tuple) -> None:
        self._prefix = os.path.abspath(prefix_dir)
        self._masks = Masks(secrets, config.get("journal_mask").split())

    @cached_property
    def _limit(self) -> int:
        """Bytes that one of its files may have; 0 if none is kept."""
        return int(config.get("journal_limit") << 20) // files.PARTS

    def event(self, kind: str, **keys: Any) -> None:
        """Write a line.

        Args:
            kind: which; `lago.journal.kinds` has them.
            keys: what it has. One that is None is left out. `t` is when it happened, without it now.
        """
        entry = {"t": round(keys.pop("t", None) or time.time(), 6), "kind": kind}
        if kind not in ("end", "journal", "topology") and "parent" not in keys and (parent := _inside.get()):
            entry["parent"] = parent
        self.events([{**entry, **keys}])

    def events(self, entries: Iterable[dict[str, Any]]) -> None:
        """Write many lines at once.

        Args:
            entries: each with `t`, `kind` and what else it has.
        """
        if not self._limit:
            return
        try:
            self._append([_line(self._clean(entry)) for entry in entries])
        # Whatever is wrong with it is no reason to fail for whoever does something.
        except (OSError, ValueError, TypeError, RecursionError, LagoError) as error:
            LOG.debug("the journal of %s is not written to: %s", self._prefix, error)

    def span(self, kind: str, **keys: Any) -> Span:
        """Write the first line of what lasts.

        As a context manager it is closed at the end of the block, and whatever is written in the block is a part of it.

        Args:
            kind: which.
            keys: what the line has, as for `event`.
        """
        span = Span(self, os.urandom(8).hex())
        self.event(kind, id=span.id, **keys)
        return span

    def masked(self, text: str) -> str:
        """Return a text without the secrets that are found in it."""
        return self._masks(text)

    def _clean(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A line without secrets, and with texts of the length that they may have."""
        clean: dict[str, Any] = {}
        for key, value in entry.items():
            if isinstance(value, str) and key not in _NAMES:
                most = _LONGER.get(key, _LONG)
                # What begins a secret is one, too.
                text = self._masks(value[: most + _LONG])
                if len(text) > most:
                    clean["cut"] = True
                clean[key] = text[:most]
            elif value is not None:
                clean[key] = value
        return clean

    def _append(self, lines: list[bytes]) -> None:
        fd = self._open()
        try:
            _write(fd, lines)
            if (size := os.fstat(fd).st_size) > self._limit:
                self._begin_anew(fd, insist=size > self._limit + self._limit // 4)
        finally:
            os.close(fd)

    def _open(self) -> int:
        path = files.current(self._prefix)
        fd = -1
        # Who has opened a file just before it became an older one opens the new one.
        for _ in range(3):
            if fd >= 0:
                os.close(fd)
            try:
                fd = files.opened(path, os.O_RDWR | os.O_APPEND)
            except FileNotFoundError:
                self._make(path)
                fd = files.opened(path, os.O_RDWR | os.O_APPEND)
            if _lock(fd, fcntl.LOCK_SH) and _is_at(fd, path):
                break
        return fd

    def _begin_anew(self, fd: int, *, insist: bool) -> None:
        """Begin a new file, if nobody else does, and nobody writes just now; then whoever writes next does.

        Args:
            insist: do it even if somebody writes; that is then in an older file.
        """
        path = files.current(self._prefix)
        directory = os.open(self._prefix, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not (_lock(directory, fcntl.LOCK_EX) and (_lock(fd, fcntl.LOCK_EX) or insist) and _is_at(fd, path)):
                return
            for number in reversed(files.numbers(self._prefix)):
                if number >= files.PARTS - 1:
                    os.unlink(files.older(self._prefix, number))
                else:
                    os.rename(files.older(self._prefix, number), files.older(self._prefix, number + 1))
            os.rename(path, files.older(self._prefix, 1))
            self._make(path)
        finally:
            os.close(directory)

    def _make(self, path: str) -> None:
        """Make the file with the lines that it begins with, so that nobody finds it without them."""
        lines = [_line({"t": round(time.time(), 6), "kind": "journal", **self._facts()})]
        if known := _last_topology(files.older(self._prefix, 1)):
            lines.append(known)
        temporary = beside(path)
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(fd, 0o600)
                os.write(fd, b"".join(lines))
            finally:
                os.close(fd)
            # Whoever was faster has written to his already.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _facts(self) -> dict[str, Any]:
        from ..version import installed

        facts: dict[str, Any] = {"version": kinds.VERSION}
        with contextlib.suppress(OSError, LagoError):
            from ..host import trust

            facts["prefix"] = trust.read_uuid(os.path.join(self._prefix, "uuid"))
        return {
            **facts,
            "name": os.path.basename(self._prefix),
            "path": self._prefix,
            "lago": installed(),
            "pid": os.getpid(),
        }


class Span:
    """Something that lasts, in a journal; `Journal.span` makes it.

    Attributes:
        id: what its lines have in common.
    """

    def __init__(self, journal: Journal, name: str) -> None:
        self.id = name
        self._journal = journal
        self._more: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._open = True

    def fields(self, **keys: Any) -> None:
        """Say what its last line is to have.

        Args:
            keys: what; None is left out.
        """
        self._more.update(keys)

    def close(self, outcome: str = "ok", **keys: Any) -> None:
        """Write its last line, unless that was done.

        Args:
            outcome: `ok`, `failed` or `interrupted`.
            keys: what else the line has.
        """
        with self._lock:
            was, self._open = self._open, False
        if was:
            self._journal.event("end", id=self.id, outcome=outcome, **{**self._more, **keys})

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Context manager: what is written now is a part of it; it stays open."""
        outside = _inside.set(self.id)
        try:
            yield
        finally:
            _inside.reset(outside)

    def __enter__(self) -> Self:
        self._outside = _inside.set(self.id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _inside.reset(self._outside)
        if error is None:
            self.close()
        else:
            self.close(outcome_of(error), error=self._more.get("error") or said_by(error))


def outcome_of(error: BaseException) -> str:
    """How what ended by an error has ended: an interrupt is none of its own."""
    return "failed" if isinstance(error, Exception) else "interrupted"


def said_by(error: BaseException) -> str:
    """What an error says, for a journal."""
    return str(error) or type(error).__name__


def _write(fd: int, lines: list[bytes]) -> None:
    data = b"".join(lines)
    os.write(fd, b"\n" + data if _is_torn(fd) else data)


def _is_torn(fd: int) -> bool:
    """Whether the last line has no end. One that somebody just writes is given the time for it."""
    for _ in range(_LOOKS):
        size = os.fstat(fd).st_size
        if not size or os.pread(fd, 1, size - 1) == b"\n":
            return False
        os.sched_yield()
    return True


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _last_topology(path: str) -> bytes:
    """The last line of its kind in a file, as it is of now; none if there is none."""
    import json
    import mmap

    with contextlib.suppress(OSError, ValueError):
        fd = files.opened(path, os.O_RDONLY)
        try:
            with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
                at = data.rfind(_TOPOLOGY)
                begin, end = data.rfind(b"\n", 0, max(at, 0)) + 1, data.find(b"\n", max(at, 0)) + 1
                if at >= 0 and 0 < end - begin <= files.LONGEST:
                    return _line({**json.loads(data[begin:end]), "t": round(time.time(), 6)})
        finally:
            os.close(fd)
    return b""


def _line(entry: dict[str, Any]) -> bytes:
    most = _LONG
    while len(data := _encoded(entry)) > files.LONGEST:
        entry = {**_shorter(entry, most), "cut": True}
        most //= 2
    return data


def _encoded(entry: dict[str, Any]) -> bytes:
    import json

    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def _shorter(value: Any, most: int) -> Any:
    """The value with texts of so many characters at most, and half of what there are more than that many of."""
    if isinstance(value, str):
        return value[:most]
    if isinstance(value, dict):
        return {str(key)[:_LONG]: _shorter(one, most) for key, one in list(value.items())[: max(most // 8, 8)]}
    if isinstance(value, list | tuple):
        return [_shorter(one, most) for one in value[: max(most // 8, 1)]]
    return value

"""What is known of a capture, and the file beside its packets that says so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ...host import shape, trust
from ...host.locks import locked_text
from ...paths import Paths
from . import ring

_SUFFIX: Final = ".json"
_READ: Final = {
    "net": shape.text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "a net"),
    "filter": shape.text(),
    "program": shape.text(),
    "since": shape.number,
    "owner": shape.text(r"[a-z]*", "a word"),
}
_MAYBE: Final = {
    "until": shape.optional(shape.number),
    "packets": shape.optional(shape.whole),
    "dropped": shape.optional(shape.whole),
    "error": shape.optional(shape.text(r".*", "text")),
}


class Capture(NamedTuple):
    """A capture that runs, or has ended.

    Attributes:
        net: whose packets these are.
        files: paths of its pcapng files, oldest first.
        since: when it began, in seconds since 1970.
        running: whether it goes on.
        until: when it ended; None as long as it goes on, or if it was killed.
        filter: expression of libpcap that packets must meet; all do if it is empty.
        program: what captures.
        packets: how many there were, of which the oldest may be gone; None as long as it goes on.
        dropped: how many packets the kernel dropped, as the program could not follow; None if that is not known.
        error: why it ended by itself, if something failed.
        owner: who began it, if that was no person: `pytest`. Captures of several owners don't mind each other.
    """

    net: str
    files: Sequence[str]
    since: float
    running: bool
    until: float | None = None
    filter: str = ""
    program: str = ""
    packets: int | None = None
    dropped: int | None = None
    error: str | None = None
    owner: str = ""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        found = 0
        for path in self.files:
            with contextlib.suppress(FileNotFoundError):
                found += os.stat(path).st_size
        return found


def state_of(path: str) -> str:
    """Path of the file that says what is known of a capture, by that of its packets."""
    return path.removesuffix(ring.SUFFIX) + _SUFFIX


def runs(paths: Paths, net: str, owner: str) -> bool:
    """Whether a net is captured now, for somebody; it is asked of its lock."""
    return locked_text(paths.capture_lock(net, owner)) is not None


def load(paths: Paths) -> list[Capture]:
    """The captures of a prefix whose files are there, oldest first; what can't be read is none."""
    try:
        names = sorted(os.listdir(paths.captures()))
    except FileNotFoundError:
        return []
    found = [_load(paths, name) for name in names if name.endswith(_SUFFIX)]
    captures = sorted((one for one in found if one is not None), key=lambda one: one.since)
    last = {(one.net, one.owner): one for one in captures if one.until is None}
    return [
        one._replace(running=last.get((one.net, one.owner)) is one and runs(paths, one.net, one.owner))
        for one in captures
    ]


def _load(paths: Paths, name: str) -> Capture | None:
    path = paths.captures(name)
    files = ring.files(path.removesuffix(_SUFFIX) + ring.SUFFIX)
    try:
        raw = shape.parse(trust.read(path))
        if not files or not isinstance(raw, dict):
            return None
        known: dict[str, Any] = {key: read(raw.get(key)) for key, read in {**_READ, **_MAYBE}.items()}
    except (OSError, ValueError):
        return None
    return Capture(files=files, running=False, **known)

"""A report of an environment is written."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..errors import PrefixError
from ..host.files import write_out
from ..journal import files, reading

FORMATS: Final = ("html", "perfetto", "junit-properties")
"""What there is to write."""

_BLOCK: Final = 1 << 20


class Written(NamedTuple):
    """What was written.

    Attributes:
        file: where.
        format: one of `FORMATS`.
        events: lines of the journal that are in it.
        left_out: lines of the journal that are none, such as one that a killed process did not finish.
        bytes: size of the file.
    """

    file: str
    format: str
    events: int
    left_out: int
    bytes: int


def write_html(prefix_dir: str, path: str) -> Written:
    """Write what happened in an environment as one HTML file.

    Args:
        prefix_dir: the directory of its prefix, or another one with a journal.
        path: the file.

    Raises:
        PrefixError: there is no journal.
        OSError: it can't be written.
    """
    return write(prefix_dir, path, "html")


def write(prefix_dir: str, path: str, form: str) -> Written:
    """Write what happened in an environment in one of the `FORMATS`; else as `write_html`."""
    text, events, left_out = made(prefix_dir, form)
    data = text.encode()
    write_out(path, data)
    return Written(path, form, events, left_out, len(data))


def made(prefix_dir: str, form: str) -> tuple[str, int, int]:
    """Return a report, how many lines of the journal are in it, and how many of its lines are none.

    Raises:
        PrefixError: there is no journal.
    """
    lines = _count(prefix_dir)
    entries = list(reading.entries(prefix_dir))
    if not entries:
        raise _nothing(prefix_dir, lines)
    return _text(prefix_dir, entries, form), len(entries), max(0, lines - len(entries))


def _text(prefix_dir: str, entries: list[dict[str, Any]], form: str) -> str:
    if form == "perfetto":
        from .perfetto import trace

        return json.dumps(trace(entries), separators=(",", ":"))
    if form == "junit-properties":
        from .junit import document

        return document(entries, path=os.path.abspath(prefix_dir), journal=os.path.abspath(files.current(prefix_dir)))
    from .html import page
    from .pictures import of

    return page(entries, of(Path(prefix_dir), entries))


def _nothing(prefix_dir: str, lines: int) -> PrefixError:
    if lines:
        return PrefixError(
            f"nothing of the journal in {prefix_dir} can be read",
            details="It is damaged, or was not written by Lago.",
            hint=f"rm {files.current(prefix_dir)}; the next command begins a new one",
        )
    return PrefixError(
        f"{prefix_dir} has no journal, so there is nothing to report",
        details="A journal is written from an environment's first command on, unless journal_limit is 0. Environments "
        "of earlier releases have one from the next command on.",
        hint="lago status, or name a directory that has one: lago report DIR",
    )


def _count(prefix_dir: str) -> int:
    """Return how many lines its files have, whether they can be read or not."""
    count = 0
    for path in (files.current(prefix_dir), *(files.older(prefix_dir, one) for one in files.numbers(prefix_dir))):
        with contextlib.suppress(OSError), open(files.opened(path, os.O_RDONLY), "rb") as file:
            last = b"\n"
            while block := file.read(_BLOCK):
                count += block.count(b"\n")
                last = block[-1:]
            count += last != b"\n"
    return count

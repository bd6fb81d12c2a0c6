"""Logging: named tasks on the console, everything in the prefix's `logs/lago.log`.

A task is one step a person waits for. The console shows it when it begins and when it ends, indented by depth, as
earlier releases did:

    @ Start Prefix:
      # Start nets:
      # Start nets: Success (in 0:00:01)
    @ Start Prefix: Success (in 0:00:05)

Use it as a context manager: `with log.task("Start Prefix"): ...`
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

LOG = logging.getLogger("lago")

_MARKS = "@#*-~"
_FILE_FORMAT = "%(asctime)s::%(filename)s::%(funcName)s::%(lineno)s::%(name)s::%(levelname)s::%(message)s"
_depth: contextvars.ContextVar[int] = contextvars.ContextVar("depth", default=0)
_console: _Console | None = None


class _Console:
    """Where tasks are shown; `logdepth` levels of them, -1 for all."""

    def __init__(self, stream: TextIO, logdepth: int) -> None:
        self.stream = stream
        self.logdepth = logdepth
        self.lock = threading.Lock()

    def show(self, depth: int, text: str) -> None:
        if 0 <= self.logdepth <= depth:
            return
        with self.lock:
            self.stream.write(f"{'  ' * depth}{_MARKS[depth % len(_MARKS)]} {text}\n")
            self.stream.flush()


def setup_console(level: str = "info", logdepth: int = 3, stream: TextIO | None = None) -> None:
    """Show tasks and records of `level` and above on `stream` (default: standard error)."""
    global _console
    out = stream or sys.stderr
    # A log that can't be written, on a full disk for one, is no reason for a traceback beside the real error.
    logging.raiseExceptions = False
    _console = _Console(out, logdepth) if level in ("info", "debug") else None
    LOG.setLevel(logging.DEBUG)
    for old in [h for h in LOG.handlers if h.get_name() == "lago-console"]:
        LOG.removeHandler(old)
    handler = logging.StreamHandler(out)
    handler.set_name("lago-console")
    # Tasks are shown by `task`; of the plain records a person sees warnings, or all when asking for debug.
    handler.setLevel(logging.DEBUG if level == "debug" else max(logging.WARNING, _level(level)))
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    LOG.addHandler(handler)


def _level(name: str) -> int:
    return logging.getLevelNamesMapping()[name.upper()]


def file_handler(path: str) -> logging.Handler:
    """A handler that appends to `path` in the form of `lago.log`; the file is made by the first record."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter(_FILE_FORMAT))
    return handler


@contextlib.contextmanager
def to_file(path: str) -> Iterator[None]:
    """Append every record to `path` while the context lasts."""
    handler = file_handler(path)
    LOG.setLevel(logging.DEBUG)
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def task(name: str) -> Iterator[None]:
    """A named step that a person waits for, shown with its duration and outcome."""
    depth = _depth.get()
    outside = _depth.set(depth + 1)
    began = time.monotonic()
    outcome = "ERROR"
    try:
        LOG.debug("%s: started", name)
        if _console:
            _console.show(depth, f"{name}: ")
        yield
        outcome = "Success"
    finally:
        _depth.reset(outside)
        seconds = time.monotonic() - began
        minutes, rest = divmod(int(seconds), 60)
        ending = f"{name}: {outcome} (in {minutes // 60}:{minutes % 60:02d}:{rest:02d})"
        LOG.debug("%s: %s after %.3f s", name, outcome, seconds)
        if _console:
            _console.show(depth, ending)


def say(text: str) -> None:
    """A line for the person who waits, at the depth of the step under way."""
    LOG.debug("%s", text)
    if _console:
        _console.show(_depth.get(), text)


def console_shown() -> bool:
    """Whether a person watches steps on the console."""
    return _console is not None


@contextlib.contextmanager
def quiet_console() -> Iterator[None]:
    """Show no steps while something else shows what happens."""
    global _console
    kept, _console = _console, None
    try:
        yield
    finally:
        _console = kept

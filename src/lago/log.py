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
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from .errors import printable

_HANDLER = "lago-console"
_MARKS = "@#*-~"
FILE_FORMAT = "%(asctime)s::%(filename)s::%(funcName)s::%(lineno)s::%(name)s::%(levelname)s::%(message)s"
_depth: contextvars.ContextVar[int] = contextvars.ContextVar("depth", default=0)
_files: contextvars.ContextVar[tuple[logging.Handler, ...]] = contextvars.ContextVar("files", default=())
_console: _Console | None = None


class _Logger(logging.Logger):
    """A logger that hands records to the files of the context first, whatever its own level is.

    Two environments in one process write to their own files only, and a program that uses Lago as a library sees what
    its own settings ask for.
    """

    def isEnabledFor(self, level: int) -> bool:
        return bool(_files.get()) or super().isEnabledFor(level)

    def callHandlers(self, record: logging.LogRecord) -> None:
        for handler in _files.get():
            if record.levelno >= handler.level:
                handler.handle(record)
        if super().isEnabledFor(record.levelno):
            super().callHandlers(record)


LOG = logging.getLogger("lago")
# The program may have asked for it by name before, so it may have another class already.
LOG.__class__ = _Logger
LOG.addHandler(logging.NullHandler())


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
            self.stream.write(f"{'  ' * depth}{_MARKS[depth % len(_MARKS)]} {printable(text)}\n")
            self.stream.flush()


def setup_console(level: str = "info", logdepth: int = 3, stream: TextIO | None = None) -> None:
    """Show tasks and records of `level` and above on `stream` (default: standard error)."""
    global _console
    out = stream or sys.stderr
    # A log that can't be written, on a full disk for one, is no reason for a traceback beside the real error.
    logging.raiseExceptions = False
    _console = _Console(out, logdepth) if level in ("info", "debug") else None
    LOG.setLevel(logging.DEBUG)
    for old in [h for h in LOG.handlers if h.get_name() == _HANDLER]:
        LOG.removeHandler(old)
    handler = logging.StreamHandler(out)
    handler.set_name(_HANDLER)
    # Tasks are shown by `task`; of the plain records a person sees warnings, or all when asking for debug.
    handler.setLevel(logging.DEBUG if level == "debug" else max(logging.WARNING, _level(level)))
    handler.setFormatter(_ForTerminals("%(levelname)s: %(message)s"))
    LOG.addHandler(handler)


class _ForTerminals(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _level(name: str) -> int:
    return logging.getLevelNamesMapping()[name.upper()]


class _Own(logging.FileHandler):
    """A log that nobody else may read, whatever the umask; who broke out of a machine may put a link or pipe there."""

    def _open(self) -> io.TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return open(os.open(self.baseFilename, flags, 0o600), "a", encoding=self.encoding, errors=self.errors)


def file_handler(path: str) -> logging.Handler:
    """Make a handler that appends to `path` in the form of `lago.log`; the file is made by the first record."""
    handler = _Own(path, encoding="utf-8", errors="backslashreplace", delay=True)
    handler.setFormatter(logging.Formatter(FILE_FORMAT))
    return handler


@contextlib.contextmanager
def to_file(path: str, level: int = logging.DEBUG) -> Iterator[None]:
    """Context manager: records of `level` and above that are made in this context are appended to `path`."""
    handler = _Own(path, encoding="utf-8", errors="backslashreplace", delay=True)
    handler.setFormatter(logging.Formatter(FILE_FORMAT))
    handler.setLevel(level)
    outside = _files.set((*_files.get(), handler))
    try:
        yield
    finally:
        _files.reset(outside)
        handler.close()


@contextlib.contextmanager
def task(name: str) -> Iterator[None]:
    """Context manager: a step that a person waits for is under way, shown with its duration and outcome."""
    depth = _depth.get()
    outside = _depth.set(depth + 1)
    began = time.monotonic()
    outcome = "ERROR"
    try:
        LOG.info("%s: started", name)
        if _console:
            _console.show(depth, f"{name}: ")
        yield
        outcome = "Success"
    finally:
        _depth.reset(outside)
        seconds = time.monotonic() - began
        minutes, rest = divmod(int(seconds), 60)
        ending = f"{name}: {outcome} (in {minutes // 60}:{minutes % 60:02d}:{rest:02d})"
        LOG.info("%s: %s after %.3f s", name, outcome, seconds)
        if _console:
            _console.show(depth, ending)


def say(text: str) -> None:
    """Show a line to the person who waits, at the depth of the step under way."""
    LOG.debug("%s", text)
    if _console:
        _console.show(_depth.get(), text)


def no_phase(_vm: str, _phase: str) -> None:
    """Do nothing, for those who don't want to hear what a machine does now."""


def console_shown() -> bool:
    """Whether a person watches steps on the console."""
    return _console is not None


@contextlib.contextmanager
def quiet_console() -> Iterator[None]:
    """Context manager: no steps are shown, as something else shows what happens; warnings go to `sys.stderr` of now."""
    global _console
    kept, _console = _console, None
    handlers = [h for h in LOG.handlers if h.get_name() == _HANDLER and isinstance(h, logging.StreamHandler)]
    streams = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        _console = kept
        for handler, stream in zip(handlers, streams, strict=True):
            if stream is not None:
                handler.setStream(stream)

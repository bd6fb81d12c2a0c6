"""Talk to a program that runs: feed it, keep what it says, and pass that on as it comes."""

from __future__ import annotations

import codecs
import io
import os
import selectors
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, Any, Final

from .programs import DEVNULL, PIPE, CommandStatus, spawn
from .waiting import within

_CHUNK: Final = 1 << 16

MOST = 256 << 20
"""Bytes of what a program says that are kept, the last ones: a guest may say as much as it likes."""


def keep(kept: bytearray, data: bytes) -> None:
    """Add what a program said to what is kept of it."""
    kept.extend(data)
    # Twice as much, so that not all is moved each time.
    if len(kept) > 2 * MOST:
        _cut(kept)


def _cut(kept: bytearray) -> bytes:
    """What is kept in the end."""
    if len(kept) > MOST:
        del kept[:-MOST]
    return bytes(kept)


def converse(argv: Sequence[str], data: bytes | None, *, show: bool, timeout: float | None) -> CommandStatus:
    """Run a program to its end, and keep the last `MOST` bytes that it says; when anything interrupts us it is killed.

    Args:
        data: what it reads; without it its input is closed.
        show: write its output to ours, and its error output to ours, as it comes.
        timeout: seconds.

    Raises:
        HostError: the program is not installed.
        TimeoutError: it did not end in time; it is killed then. The argument is what it had said, bytes.
    """
    out, err = bytearray(), bytearray()
    stdin = DEVNULL if data is None else PIPE
    with (
        spawn(argv, stdin=stdin, stdout=PIPE, stderr=PIPE, ask=signal.SIGKILL) as process,
        selectors.DefaultSelector() as selector,
    ):
        for stream, kept, ours in ((process.stdout, out, sys.stdout), (process.stderr, err, sys.stderr)):
            sink: Callable[[bytes], None] = writer(ours, kept) if show else partial(keep, kept)
            selector.register(stream or -1, selectors.EVENT_READ, sink)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, memoryview(data or b""))
        for left in within(timeout):
            for key, _ in selector.select(left):
                _move(selector, key)
            # It has closed its output, which is its end.
            if not selector.get_map():
                break
        else:
            raise TimeoutError(_cut(out or err))
        process.wait()
    return CommandStatus(process.returncode, _cut(out), _cut(err))


def writer(stream: IO[Any], kept: bytearray) -> Callable[[bytes], None]:
    """A function that writes to a text or binary stream at once, and adds to what is kept."""
    # What is below a text stream takes any bytes as they are, in the middle of a character too.
    below: IO[Any] = getattr(stream, "buffer", stream)
    text = isinstance(below, io.TextIOBase)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    stream.flush()

    def write(data: bytes) -> None:
        keep(kept, data)
        below.write(decoder.decode(data) if text else data)
        below.flush()

    return write


def _move(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Pass on what a stream has, or takes; forget the stream at its end."""
    if isinstance(key.data, memoryview):
        try:
            rest = key.data[os.write(key.fd, key.data[:_CHUNK]) :]
        except BrokenPipeError:
            rest = memoryview(b"")
        if rest:
            selector.modify(key.fileobj, selectors.EVENT_WRITE, rest)
            return
    elif data := os.read(key.fd, _CHUNK):
        key.data(data)
        return
    selector.unregister(key.fileobj)
    key.fileobj.close()  # type: ignore[union-attr]

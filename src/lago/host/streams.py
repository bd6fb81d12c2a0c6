"""Talk to a program that runs: feed it, keep what it says, and pass that on as it comes."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from .channels import writer
from .programs import CommandStatus

_CHUNK: Final = 1 << 16


def converse(
    process: subprocess.Popen[bytes], data: bytes | None, *, show: bool, timeout: float | None
) -> CommandStatus:
    """Follow a program to its end; its standard streams are pipes.

    Args:
        data: what it reads.
        show: write its output to ours, and its error output to ours, as it comes.
        timeout: seconds.

    Raises:
        TimeoutError: it did not end in time; it is killed then. The argument is what it had said, bytes.
    """
    out, err = bytearray(), bytearray()
    deadline = None if timeout is None else time.monotonic() + timeout
    with _killed_in_the_end(process), selectors.DefaultSelector() as selector:
        for stream, kept, ours in ((process.stdout, out, sys.stdout), (process.stderr, err, sys.stderr)):
            sink: Callable[[bytes], None] = writer(ours, kept) if show else kept.extend
            selector.register(stream or -1, selectors.EVENT_READ, sink)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, memoryview(data or b""))
        while selector.get_map():
            ready = selector.select(None if deadline is None else max(0, deadline - time.monotonic()))
            if not ready and deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(bytes(out or err))
            for key, _ in ready:
                _move(selector, key)
        # It has closed its output, which is its end.
        process.wait()
    return CommandStatus(process.returncode, bytes(out), bytes(err))


@contextlib.contextmanager
def _killed_in_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


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

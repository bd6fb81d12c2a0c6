"""A terminal of the page: a program on a pseudoterminal, whose ends a websocket has."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import threading
from collections.abc import Sequence
from typing import Any, Final, Protocol

from ..host.programs import spawn

_CHUNK: Final = 16 << 10
_GRACE: Final = 1.5
_MOST_CELLS: Final = 1000


class Socket(Protocol):
    """What a websocket has."""

    async def receive(self) -> Any:
        """The next message."""

    async def send_bytes(self, data: bytes) -> None:
        """Send, and return when the other side has taken enough."""


def command(prefix: str, vm: str, how: str) -> list[str]:
    """The program of a terminal, a `shell` or on the serial `console` of a machine."""
    word = ["console", "--", vm] if how == "console" else ["shell", vm]
    return [sys.executable, "-m", "lago", "-p", prefix, *word]


async def serve(socket: Socket, argv: Sequence[str]) -> None:
    """Run a program until it ends, or the websocket does, and with it the program.

    Bytes are typed; a text of the form `COLUMNSxROWS` is the size. Nothing is read of the program while the other side
    takes nothing.
    """
    ours, theirs = pty.openpty()
    ended = asyncio.Event()
    over = threading.Event()
    thread = threading.Thread(
        target=_run, args=(argv, theirs, over, asyncio.get_running_loop(), ended), name="terminal", daemon=True
    )
    thread.start()
    os.set_blocking(ours, False)
    tasks = [
        asyncio.create_task(_say(ours, socket)),
        asyncio.create_task(_take(ours, socket)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The kernel hangs up, and what is in the foreground ends.
        os.close(ours)
        over.set()
        await asyncio.shield(ended.wait())


def _run(
    argv: Sequence[str],
    terminal: int,
    over: threading.Event,
    loop: asyncio.AbstractEventLoop,
    ended: asyncio.Event,
) -> None:
    """Have the program run; it ends with this thread, so this one waits for it."""
    env = {**os.environ, "TERM": "xterm-256color"}
    try:
        with (
            contextlib.suppress(_Over),
            spawn(
                ["setsid", "--ctty", "--wait", *argv],
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                env=env,
                dies_with_us=signal.SIGHUP,
                ask=signal.SIGHUP,
                grace=_GRACE,
            ) as process,
        ):
            os.close(terminal)
            terminal = -1
            over.wait()
            if process.poll() is None:
                raise _Over
    except Exception as error:
        if terminal >= 0:
            os.write(terminal, f"{error}\r\n".encode())
    finally:
        if terminal >= 0:
            os.close(terminal)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)


class _Over(Exception):
    """Nobody is at the terminal any more."""


async def _ready(fd: int, *, to_write: bool = False) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)


async def _say(fd: int, socket: Socket) -> None:
    while True:
        await _ready(fd)
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            continue
        except OSError:
            # The program and all that it started have closed it (EIO).
            return
        if not data:
            return
        await socket.send_bytes(data)


async def _take(fd: int, socket: Socket) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if (text := message.get("text")) is not None:
            _resize(fd, text)
            continue
        data = message.get("bytes") or b""
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                await _ready(fd, to_write=True)
            except OSError:
                return


def _resize(fd: int, text: str) -> None:
    columns, _, rows = text.partition("x")
    if columns.isdecimal() and rows.isdecimal() and 0 < int(columns) <= _MOST_CELLS and 0 < int(rows) <= _MOST_CELLS:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))

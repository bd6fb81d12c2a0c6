"""Talk over a paramiko channel: feed a command and collect what it says, or hand it the terminal.

Who has a channel has paramiko, which Lago itself does without.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final

from ..errors import SSHError
from .programs import CommandStatus
from .streams import writer

if TYPE_CHECKING:
    from paramiko import Channel

_CHUNK: Final = 32768
_PACE: Final = 0.05
"""Seconds between two looks at a channel that takes no more input just now, which is no event to wait for."""

_PATIENCE: Final = 1.0
_READABLE: Final = select.POLLIN | select.POLLHUP | select.POLLERR


def drain_ssh_channel(
    chan: Channel, stdin: IO[Any] | None = None, stdout: IO[Any] | None = None, stderr: IO[Any] | None = None
) -> CommandStatus:
    """Follow a command that runs on a channel to its end.

    Args:
        chan: a channel on which a command or a shell was started.
        stdin: what the command reads, text or bytes; without it the command's input is closed.
        stdout: where its output goes as it comes, a text or binary stream; default: ours.
        stderr: the same for its error output.

    Returns:
        Its exit status with all it wrote. Bytes that are no UTF-8 are replaced in text streams only.

    Raises:
        SSHError: the connection was lost before the command's end.
    """
    out, err = bytearray(), bytearray()
    sinks = (
        (chan.recv_ready, chan.recv, writer(sys.stdout if stdout is None else stdout, out)),
        (chan.recv_stderr_ready, chan.recv_stderr, writer(sys.stderr if stderr is None else stderr, err)),
    )
    source = _Source(chan, stdin)
    while True:
        said = False
        for ready, receive, write in sinks:
            while ready():
                write(receive(_CHUNK))
                said = True
        if not said and (chan.eof_received or chan.closed):
            # What came between the last look and the end is still there to be read.
            if chan.recv_ready() or chan.recv_stderr_ready():
                continue
            break
        source.send()
        source.wait()
    code = chan.recv_exit_status()
    transport = chan.get_transport()
    if code == -1 and (transport is None or not transport.is_active()):
        raise SSHError("the connection was lost before the command ended", details=err.decode(errors="replace"))
    return CommandStatus(code, bytes(out), bytes(err))


class _Source:
    """What is fed to the command: a file we can wait for, or a stream that never makes us wait."""

    def __init__(self, chan: Channel, stdin: IO[Any] | None) -> None:
        self._chan = chan
        self._stdin = stdin
        self._fd: int | None = None
        self._pending = b""
        if stdin is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                self._fd = stdin.fileno()
        if stdin is None:
            self._end()

    def _end(self) -> None:
        self._stdin = None
        with contextlib.suppress(OSError):
            self._chan.shutdown_write()

    def _readable(self) -> bool:
        # poll, not select: a file of ours may have a number of 1024 and more.
        poll = select.poll()
        poll.register(self._fd or 0, select.POLLIN)
        return bool(poll.poll(0))

    def send(self) -> None:
        """Send as much as the channel takes now."""
        while self._stdin is not None and self._chan.send_ready():
            if not self._pending:
                if self._fd is not None and not self._readable():
                    return
                data = os.read(self._fd, _CHUNK) if self._fd is not None else self._stdin.read(_CHUNK)
                self._pending = data.encode() if isinstance(data, str) else data
                if not self._pending:
                    self._end()
                    return
            try:
                sent = self._chan.send(self._pending)
            except OSError:
                # The command reads no more.
                self._stdin = None
                return
            self._pending = self._pending[sent:]

    def wait(self) -> None:
        """Until the command says something, or there is more to send."""
        poll = select.poll()
        poll.register(self._chan.fileno(), _READABLE)
        stuck = self._stdin is not None and not self._chan.send_ready()
        if self._stdin is not None and self._fd is not None and not stuck:
            poll.register(self._fd, _READABLE)
        poll.poll(1000 * (_PACE if stuck else _PATIENCE))


def interactive_ssh_channel(chan: Channel, command: str | None = None, stdin: IO[Any] | None = None) -> CommandStatus:
    """Run a command, or a shell, on a fresh channel with our terminal, if `stdin` is one.

    The guest's side gets a terminal of the same type and size then, and ours is raw meanwhile: keys, Ctrl-C among them,
    go to the guest.

    Args:
        chan: a channel on which nothing was started yet.
        command: for the guest's shell; without it an interactive shell is started.
        stdin: what it reads; default: our standard input.

    Returns:
        Its exit status with all it wrote.

    Raises:
        SSHError: the connection was lost before the command's end.
    """
    source: IO[Any] = sys.stdin if stdin is None else stdin
    with contextlib.ExitStack() as stack:
        if source.isatty():
            stack.enter_context(_terminal(chan, source.fileno()))
        if command is None:
            chan.invoke_shell()
        else:
            chan.exec_command(command)
        return drain_ssh_channel(chan, source)


@contextlib.contextmanager
def _terminal(chan: Channel, fd: int) -> Iterator[None]:
    """Context manager: the channel has a terminal like ours, and of its size; ours is raw."""

    def size() -> os.terminal_size:
        found = os.get_terminal_size(fd)
        return found if found.columns and found.lines else os.terminal_size((80, 24))

    def resized(_number: int, _frame: object) -> None:
        with contextlib.suppress(OSError):
            chan.resize_pty(*size())

    chan.get_pty(os.environ.get("TERM") or "vt100", *size())
    settings = termios.tcgetattr(fd)
    # Only the main thread may handle signals; elsewhere the size stays as it is.
    handled = contextlib.suppress(ValueError)
    before: Any = None
    with handled:
        before = signal.signal(signal.SIGWINCH, resized)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, settings)
        if before is not None:
            signal.signal(signal.SIGWINCH, before)

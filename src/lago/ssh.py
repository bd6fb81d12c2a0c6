"""Guests over the OpenSSH client, one shared connection each.

A master process holds the connection; every further command is a client of the master and costs milliseconds, whichever
process asks. Where a guest's network is not the host's, `wrap` puts the master where it is.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

from .errors import HostError, SSHError
from .log import LOG
from .utils import CommandStatus, package_hint, run

_PASSWORD = "LAGO_GUEST_PASSWORD"  # noqa: S105 - the name of a variable


class Guest(NamedTuple):
    """How to log in to a guest.

    Attributes:
        name: for messages.
        key: path of the private key.
        control: path of the master's socket; short.
        password: what to log in with where the key is not taken.
        wrap: turns a command into one that runs where the guest's network is.
    """

    name: str
    user: str
    address: str
    key: str
    control: str
    wrap: Callable[[Sequence[str]], list[str]]
    password: str | None = None

    def _options(self) -> list[str]:
        # The guest's host key is as young as the guest, and nothing but the environment is between it and us.
        settings = {
            "ControlPath": self.control,
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
        }
        return ["-F", "/dev/null", *(f"-o{key}={value}" for key, value in settings.items())]

    def connected(self) -> bool:
        """Whether a master is there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(self.control)
            except OSError:
                return False
        return True

    def open(self, timeout: float, given_up: Callable[[], bool] = lambda: False) -> None:
        """Start a master unless there is one; `timeout` in seconds covers connecting and the key exchange.

        It is asked again and again whether we have `given_up`.

        Raises:
            SSHError: the guest can't be logged in to.
            HostError: there is no ssh.
        """
        if self.connected():
            return
        if shutil.which("ssh") is None:
            raise HostError("the program ssh is not installed", hint=package_hint("ssh"))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.control)
        log = f"{self.control}.log"
        settings = {
            "ControlMaster": "yes",
            "ControlPersist": "yes",
            "ConnectTimeout": str(max(1, int(timeout))),
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            **self._authentication(),
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "3",
            "ForwardAgent": "no",
            "ForwardX11": "no",
        }
        options = [*self._options(), *(f"-o{key}={value}" for key, value in settings.items())]
        argv = self.wrap(["ssh", *options, "-E", log, "-N", "-f", f"{self.user}@{self.address}"])
        # Not captured: the master keeps what it inherits open for as long as it lives.
        LOG.debug("run: %s", shlex.join(argv))
        master = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment(),
        )
        try:
            ended = _ends(master.pid, timeout + 5, given_up)
        finally:
            if master.poll() is None:
                master.kill()
            code = master.wait()
        if not ended:
            raise self._error(f"no answer within {timeout:g} s", log)
        if code != 0:
            raise self._error("can't be logged in to", log)

    def _authentication(self) -> dict[str, str]:
        if self.password is None:
            return {"BatchMode": "yes", "PreferredAuthentications": "publickey"}
        return {
            "PreferredAuthentications": "publickey,password,keyboard-interactive",
            "NumberOfPasswordPrompts": "1",
        }

    def _environment(self) -> dict[str, str] | None:
        """The environment of the master: with a password, a program that tells it."""
        if self.password is None:
            return None
        program = f"{self.control}.askpass"
        with open(os.open(program, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nprintf '%s\\n' \"${_PASSWORD}\"\n")
        return {**os.environ, "SSH_ASKPASS": program, "SSH_ASKPASS_REQUIRE": "force", _PASSWORD: self.password}

    def _error(self, what: str, log: str) -> SSHError:
        said = ""
        with contextlib.suppress(OSError), open(log, encoding="utf-8", errors="replace") as file:
            said = file.read()
        return SSHError(f"{self.name}: {self.user}@{self.address}: {what}", details=said)

    def argv(self, command: str | None = None, *, tty: bool = False) -> list[str]:
        """The command line of a client of the master; it never connects by itself."""
        options = [*self._options(), "-oControlMaster=no", "-oProxyCommand=false"]
        return ["ssh", *options, "-t" if tty else "-T", f"{self.user}@{self.address}", *([command] if command else [])]

    def terminal_argv(self, command: str) -> list[str]:
        """The command line of a client with a terminal.

        It tells the master by a signal that the size has changed, so it must see the pids that the master sees.
        """
        return self.wrap(self.argv(command, tty=True))

    def run(
        self, command: str | Sequence[str], *, data: bytes | None = None, timeout: float | None = None
    ) -> CommandStatus:
        """Run a command over the master and return how it ended; a list is quoted, a string is for the guest's shell.

        Raises:
            SSHError: the connection is not there, or was lost.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        with _window_changes_kept_away():
            status = run(self.argv(line), input_data=data, check=False, timeout=timeout)
        self.check(status.code, status.err.decode(errors="replace"))
        return status

    def feed(self, command: str, stdin: IO[bytes] | int) -> int:
        """Run a command with `stdin`, its output going where ours goes; the exit status."""
        with _window_changes_kept_away():
            code = subprocess.run(self.argv(command), stdin=stdin, check=False).returncode
        self.check(code)
        return code

    def check(self, code: int, details: str = "") -> None:
        """Raise SSHError if a client's exit status is ssh's own and not the guest command's."""
        if code == 255 and not self.connected():
            raise SSHError(
                f"{self.name}: the connection to {self.user}@{self.address} was lost",
                details=details,
                hint="lago status tells whether the machine runs; its console log is in the prefix's logs",
            )

    def close(self) -> None:
        """End the master, if there is one."""
        if self.connected():
            run(["ssh", *self._options(), "-O", "exit", f"{self.user}@{self.address}"], check=False)


def keep_window_changes_away() -> None:
    """Programs we become, or run, get no SIGWINCH.

    A client of the master would pass it on to a pid that is the master's in its own pid namespace, and anybody's in
    ours.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})


@contextlib.contextmanager
def _window_changes_kept_away() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    keep_window_changes_away()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ends(pid: int, timeout: float, given_up: Callable[[], bool]) -> bool:
    """Whether a process ends within `timeout` seconds, and before we give up."""
    deadline = time.monotonic() + timeout
    fd = os.pidfd_open(pid)
    try:
        while (left := deadline - time.monotonic()) > 0 and not given_up():
            if select.select([fd], [], [], min(left, 0.5))[0]:
                return True
    finally:
        os.close(fd)
    return False

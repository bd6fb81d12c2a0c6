"""Guests over the OpenSSH client, one shared connection each.

A master process holds the connection; every further command is a client of the master and costs milliseconds, whichever
process asks. Where a guest's network is not the host's, `wrap` puts the master where it is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import IO, Final, NamedTuple

from ..errors import HostError, SSHError, VMError
from ..host import waiting
from ..host.files import beside
from ..host.locks import lock_file, lock_if_free
from ..host.programs import DEVNULL, CommandStatus, package_hint, run, spawn, which
from ..host.ssh_option import command as ssh_command
from ..host.ssh_option import quote
from ..host.streams import converse

_GRACE = 5.0
"""Seconds that the client may take beyond what it is given."""

_PATIENCE = 60.0
"""Seconds that one more connection may take."""

_QUEUE = 0.3
"""Seconds after which a command no longer waits for others to end, but for a connection of its own."""

_MOST_CONNECTIONS: Final = 10
"""How many are made for one command."""

_IDLE = "600"
"""Seconds after which a connection that is not the environment's own ends, if nobody uses it."""

_CHANGES: Final = os.WEXITED | os.WSTOPPED | os.WNOWAIT
_PACE = 0.02
_SHOWN = 2000
"""Characters of a command's last words in an error."""

_NSENTER_FAILED = 1
"""Where the guest's network is has ended, which is told by who watches that."""

_MISTOLD: Final = r"unknown key %|env var \$\{"
"""What ssh says of values that it understands only after it has begun its log."""

_REFUSED = "Permission denied"

_PASSWORD = "LAGO_GUEST_PASSWORD"  # noqa: S105 - the name of a variable
_ASKPASS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "askpass")
"""The program that tells it. It is installed with us: no program runs from where our sockets are, on many hosts."""


UNKNOWN_HOST: Final = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR"}
"""Settings of ssh for guests: a host key is as young as its guest, and nothing but the environment is between."""


class Guest(NamedTuple):
    """How to log in to a guest.

    Attributes:
        name: for messages.
        key: path of the private key.
        control: path of the master's socket; short.
        passwords: what to log in with where the key is not taken, one after the other.
        wrap: turns a command into one that runs where the guest's network is.
        settings: of ssh, for how the guest is known and reached.
        outside: whether its network is this host's, and none of the environment.
    """

    name: str
    user: str
    address: str
    key: str
    control: str
    wrap: Callable[[Sequence[str]], list[str]]
    passwords: tuple[str, ...] = ()
    settings: Mapping[str, str] = UNKNOWN_HOST
    outside: bool = False

    def _options(self) -> list[str]:
        settings = {"ControlPath": quote(self.control), **self.settings}
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
            HostError: there is no ssh, or it does not take its command line: no other try would end better.
        """
        if self.connected():
            return
        if which("ssh") is None:
            raise HostError("the program ssh is not installed", hint=package_hint("ssh"))
        what = f"{self.name}: the connection that is being made"
        with lock_file(f"{self.control}.lock", what=what, timeout=timeout + 2 * _GRACE):
            if not self.connected():
                self._open_by_any(timeout, given_up)

    def _open_by_any(self, timeout: float, given_up: Callable[[], bool]) -> None:
        """Start a master by the key, or the first password that is taken."""
        end = time.monotonic() + timeout
        for password in self.passwords[:-1]:
            try:
                return self._open(password, end - time.monotonic(), given_up)
            except SSHError as error:
                if not refuses(error) or given_up() or time.monotonic() >= end:
                    raise
        return self._open(self.passwords[-1] if self.passwords else None, end - time.monotonic(), given_up)

    def _open(self, password: str | None, timeout: float, given_up: Callable[[], bool]) -> None:
        log = f"{self.control}.log"
        for old in (self.control, log):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)
        settings = {
            "ControlMaster": "yes",
            # Nobody ends one outside when the environment ends in an unforeseen way.
            "ControlPersist": _IDLE if self.outside else "yes",
            "ConnectTimeout": str(max(1, int(timeout))),
            "IdentityFile": quote(self.key),
            "IdentitiesOnly": "yes",
            **_authentication(password),
            # Nobody is between us and a guest; what sshd prefers takes an emulated one a quarter of a second more.
            "KexAlgorithms": "^curve25519-sha256,curve25519-sha256@libssh.org",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "3",
            "ForwardAgent": "no",
            "ForwardX11": "no",
        }
        options = [*self._options(), *(f"-o{key}={value}" for key, value in settings.items())]
        argv = self.wrap(["ssh", *options, "-E", log, "-N", "-f", "--", f"{self.user}@{self.address}"])
        # No pipe: the master keeps what it inherits open for as long as it lives.
        with open(os.memfd_create("stderr"), "w+b", buffering=0) as stderr:
            env = _environment(password)
            with (
                spawn(argv, stdout=DEVNULL, stderr=stderr, env=env, ask=signal.SIGKILL) as master,
                waiting.pidfd(master.pid) as process,
            ):
                ended = waiting.wait_for_end(process, timeout + _GRACE, given_up)
                if not ended:
                    master.kill()
            code = master.returncode
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")
        with contextlib.suppress(OSError), open(log, encoding="utf-8", errors="replace") as file:
            said += file.read()
        if not ended:
            raise self._error(f"no answer within {timeout:g} s", said)
        if code != 0:
            # ssh begins its log when it has read the command line, and connects when it has understood it.
            if (code != _NSENTER_FAILED and not os.path.exists(log)) or re.search(_MISTOLD, said):
                raise HostError(
                    f"{self.name}: ssh can't be used to log in, it does not take its command line",
                    details=said,
                    hint="lago -l debug shows it; what is unusual in the path of the environment?",
                )
            raise self._error("can't be logged in to", said)

    def _error(self, what: str, said: str) -> SSHError:
        return SSHError(f"{self.name}: {self.user}@{self.address}: {what}", details=said)

    def argv(self, command: str | None = None, *, tty: bool = False, otherwise: str = "false") -> list[str]:
        """The command line of a client of the master; it never connects by itself.

        Args:
            otherwise: a command that is run if the master does not take the client.
        """
        options = [*self._options(), "-oControlMaster=no", f"-oProxyCommand={otherwise}"]
        target = ["--", f"{self.user}@{self.address}", *([command] if command else [])]
        return ["ssh", *options, "-t" if tty else "-T", *target]

    def terminal_argv(self, command: str) -> list[str]:
        """The command line of a client with a terminal.

        It tells the master by a signal that the size has changed, so it must see the pids that the master sees.
        """
        return self.wrap(self.argv(command, tty=True))

    def run(
        self,
        command: str | Sequence[str],
        *,
        data: bytes | None = None,
        show: bool = False,
        timeout: float | None = None,
    ) -> CommandStatus:
        """Run a command over the master and return how it ended; a list is quoted, a string is for the guest's shell.

        Args:
            data: what it reads; without it its input is closed.
            show: write its output to ours as it comes.
            timeout: seconds that it may take.

        Raises:
            SSHError: the connection is not there, or was lost.
            VMError: it did not end in time. Whether it goes on there is up to the guest.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        said = CommandStatus(0, b"", b"")

        def talk(argv: list[str]) -> int:
            nonlocal said
            said = converse(argv, data, show=show, timeout=timeout)
            return said.code

        try:
            code = self.session(line, talk)
        except TimeoutError as error:
            raise VMError(
                f"{self.name}: the command did not end within {timeout:g} s: {line}",
                details=b"".join(error.args).decode(errors="replace")[-_SHOWN:],
            ) from None
        self.check(code, said.error_text)
        return said

    def session(self, command: str, attempt: Callable[[list[str]], int]) -> int:
        """Run a command by a client over a connection of its own while it lasts; see `_idle`.

        Args:
            attempt: runs the client, a command line, to its end and returns its exit status. What the client would
                read is still there if it is run again.

        Raises:
            SSHError: there is no connection.
        """
        refused: set[int] = set()
        while True:
            with self._idle(refused) as number:
                one = self._numbered(number)
                mark = beside(f"{one.control}.refused")
                argv = one.argv(command, otherwise=ssh_command(["touch", mark]))
                with _window_changes_kept_away():
                    code = attempt(argv)
            # Terminals have sessions too; sshd allows some ten at once over one connection (MaxSessions).
            if code != 255 or not _was_there(mark) or not one.connected():
                return code
            refused.add(number)
            if len(refused) >= _MOST_CONNECTIONS:
                raise SSHError(
                    f"{self.name}: {self.user}@{self.address} lets us log in, and refuses to run a command each time",
                    hint="what does MaxSessions say in its sshd_config?",
                )

    def _numbered(self, number: int) -> Guest:
        """The same guest by another connection; 0 is the one that there always is."""
        return self._replace(control=f"{self.control}+{number}") if number else self

    @contextlib.contextmanager
    def _idle(self, avoid: Collection[int]) -> Iterator[int]:
        """Context manager: a connection is held over which no command runs, of this process or another one.

        dropbear loses a connection over which several commands end at about the same time (it fails the assertion
        `!channel->sent_close`), and with it all of them. So commands wait a little for each other, and if they are not
        short, there are more connections.
        """
        if not self.connected():
            raise self._lost()
        patience = time.monotonic() + (0 if avoid else _QUEUE)
        while True:
            for number in itertools.count():
                one = self._numbered(number)
                if number and not one.connected():
                    break
                if number not in avoid and (fd := lock_if_free(f"{one.control}.busy")) is not None:
                    try:
                        yield number
                    finally:
                        os.close(fd)
                    return
            opening = lock_if_free(f"{self.control}.opening") if time.monotonic() >= patience else None
            if opening is not None:
                try:
                    one.open(_PATIENCE)
                finally:
                    os.close(opening)
            else:
                # A lock that is freed is no event to wait for together with one of several.
                time.sleep(_PACE)

    def feed(self, command: str, stdin: IO[bytes] | int) -> int:
        """Run a command with `stdin`, its output going where ours goes; the exit status."""
        code = self.session(command, lambda argv: _code(argv, stdin))
        self.check(code)
        return code

    def interact(self, command: str | Sequence[str]) -> int:
        """Run a command with our standard streams, in a terminal of its own if ours is one; the exit status."""
        line = command if isinstance(command, str) else shlex.join(command)
        if not sys.stdin.isatty():
            return self.feed(line, sys.stdin.fileno())
        with spawn(self.terminal_argv(line), stdin=None, ask=signal.SIGKILL) as client:
            # `~^Z` stops the client, and we stand for it in the shell that we were started from.
            while (now := os.waitid(os.P_PID, client.pid, _CHANGES)) is not None and now.si_code == os.CLD_STOPPED:
                os.waitid(os.P_PID, client.pid, os.WSTOPPED)
                os.kill(os.getpid(), signal.SIGSTOP)
            code = client.wait()
        self.check(code)
        return code

    def check(self, code: int, details: str = "") -> None:
        """Raise SSHError if a client's exit status is ssh's own and not the guest command's."""
        if code == 255 and not self.connected():
            raise self._lost(details)

    def _lost(self, details: str = "") -> SSHError:
        return SSHError(
            f"{self.name}: the connection to {self.user}@{self.address} was lost",
            details=details,
            hint="lago status tells whether the machine runs; its console log is in the prefix's logs",
        )

    def close(self) -> None:
        """End the masters that there are."""
        for number in itertools.count():
            one = self._numbered(number)
            if one.connected():
                run(["ssh", *one._options(), "-O", "exit", "--", f"{self.user}@{self.address}"], check=False)
            elif not os.path.exists(f"{one.control}.lock"):
                return


def _authentication(password: str | None) -> dict[str, str]:
    if password is None:
        return {"BatchMode": "yes", "PreferredAuthentications": "publickey"}
    return {
        "PreferredAuthentications": "publickey,password,keyboard-interactive",
        "NumberOfPasswordPrompts": "1",
    }


def _environment(password: str | None) -> dict[str, str] | None:
    """The environment of a master: with a password, a program that tells it."""
    if password is None:
        return None
    return {**os.environ, "SSH_ASKPASS": _ASKPASS, "SSH_ASKPASS_REQUIRE": "force", _PASSWORD: password}


def last_words(error: SSHError) -> str:
    """What ssh said of the last try; its log has all of them."""
    return error.details.rstrip().rpartition("\n")[2]


def refuses(error: Exception | None) -> bool:
    """Whether a guest answered, and took neither key nor password."""
    return isinstance(error, SSHError) and _REFUSED in last_words(error)


def _code(argv: Sequence[str], stdin: IO[bytes] | int | None) -> int:
    """Run a program whose output goes where ours goes; its exit status."""
    with spawn(argv, stdin=stdin, ask=signal.SIGKILL) as process:
        return process.wait()


def _was_there(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def keep_window_changes_away() -> None:
    """Block SIGWINCH in programs that we become, or run.

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

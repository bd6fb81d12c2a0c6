"""What a tester says of a machine: this command succeeds, that port opens, this file appears.

Waiting is a loop in the guest, one command over ssh however long it lasts.
"""

from __future__ import annotations

import abc
import shlex
from collections.abc import Iterable, Sequence
from json import loads
from typing import Any, Final, Literal, overload

from ..errors import VMError
from ..host.programs import CommandStatus, tail

_PATIENCE: Final = 300.0
_GRACE: Final = 30.0
_SHOWN: Final = 20

# By the kernel's clock, as that of the day may jump.
_LOOP: Final = """
now() { read up rest </proc/uptime; echo "${up%.*}"; }
end=$(($(now) + $1))
until said=$(sh -c "$2" 2>&1); do
    [ "$(now)" -lt $end ] || { printf '%s\n' "$said"; exit 1; }
    sleep 0.2 2>/dev/null || sleep 1
done
printf '%s\n' "$said"
"""


class Tester(abc.ABC):
    """The tester's commands of a machine. All raise VMError if it is not as they say, and those of `ssh`."""

    @abc.abstractmethod
    def name(self) -> str:
        """Name that it has in the init file."""

    @abc.abstractmethod
    def console_log(self) -> str:
        """Path of what it wrote on its console."""

    @abc.abstractmethod
    def ssh(
        self,
        command: str | Sequence[str],
        data: bytes | None = None,
        show_output: bool = True,
        propagate_fail: bool = True,
        tries: int | None = None,
        timeout: float | None = None,
    ) -> CommandStatus:
        """Run a command on it."""

    @overload
    def succeed(
        self, *commands: str | Sequence[str], timeout: float | None = None, json: Literal[False] = False
    ) -> str: ...
    @overload
    def succeed(self, *commands: str | Sequence[str], timeout: float | None = None, json: Literal[True]) -> Any: ...
    def succeed(self, *commands: str | Sequence[str], timeout: float | None = None, json: bool = False) -> Any:
        """Run commands, one after the other, that must succeed, and return their output as text.

        Args:
            commands: each a list of words, which is quoted, or a text for the guest's shell.
            timeout: seconds that each may take; without it there is no limit.
            json: return the value that their output is as JSON, all of it together, in place of the text.

        Raises:
            VMError: one fails, or does not end in time; those behind it are not run. Or their output is no JSON.
            VMNotRunning, VMNotReady, SSHError: it can't be reached, or no longer.
        """
        said = "".join(self._try(command, timeout, fails=False) for command in commands)
        return self._value(said, commands) if json else said

    def fail(self, *commands: str | Sequence[str], timeout: float | None = None) -> str:
        """Run commands, one after the other, that must fail, and return their output as text.

        Args:
            commands: each a list of words, which is quoted, or a text for the guest's shell.
            timeout: seconds that each may take; without it there is no limit.

        Raises:
            VMError: one succeeds, or does not end in time; those behind it are not run.
            VMNotRunning, VMNotReady, SSHError: it can't be reached, or no longer.
        """
        return "".join(self._try(command, timeout, fails=True) for command in commands)

    def wait_until_succeeds(self, command: str | Sequence[str], timeout: float = _PATIENCE) -> str:
        """Run a command again and again until it succeeds, and return what it said then.

        Args:
            command: a list of words, which is quoted, or a text for the guest's shell.
            timeout: seconds after which it is not run again.

        Raises:
            VMError: it has not succeeded by then; has what it said last.
            VMNotRunning, VMNotReady, SSHError: it can't be reached, or no longer.
        """
        line = _line(command)
        return self._wait(line, f"the command did not succeed: {line}", timeout)

    def wait_until_fails(self, command: str | Sequence[str], timeout: float = _PATIENCE) -> str:
        """Run a command again and again until it fails, and return what it said then.

        Args:
            command: a list of words, which is quoted, or a text for the guest's shell.
            timeout: seconds after which it is not run again.

        Raises:
            VMError: it has not failed by then; has what it said last.
            VMNotRunning, VMNotReady, SSHError: it can't be reached, or no longer.
        """
        line = _line(command)
        return self._wait(f"! {{\n{line}\n}}", f"the command did not fail: {line}", timeout)

    def wait_for_unit(self, unit: str, timeout: float = _PATIENCE) -> None:
        """Return when a systemd unit is active. One that has failed is not waited for.

        Args:
            unit: its name, such as `sshd.service`; without an ending it is a service.
            timeout: seconds to wait.

        Raises:
            VMError: it has failed, or is not active by then; has the end of its log.
            VMNotRunning, VMNotReady, SSHError: it can't be reached, or no longer.
        """
        quoted = shlex.quote(unit)
        look = f"""
        state=$(systemctl is-active -- {quoted})
        [ "$state" = active ] && exit
        systemctl status --no-pager --full --lines={_SHOWN} -- {quoted}
        [ "$state" = failed ]
        """
        if said := self._wait(look, f"the unit {unit} is not active", timeout).strip():
            raise self._objection(f"the unit {unit} has failed", said)

    def wait_for_open_port(self, port: int, timeout: float = _PATIENCE) -> None:
        """Return when something in it listens at a TCP port.

        Args:
            port: the number of the port; of which address is not looked at.
            timeout: seconds to wait.

        Raises:
            VMError: nothing listens there by then.
            VMNotRunning, VMNotReady, SSHError: it can't be reached, or no longer.
        """
        self._wait(_listening(port), f"nothing listens at port {port}", timeout)

    def wait_for_closed_port(self, port: int, timeout: float = _PATIENCE) -> None:
        """Return when nothing in it listens at a TCP port.

        Args:
            port: the number of the port; of which address is not looked at.
            timeout: seconds to wait.

        Raises:
            VMError: something still listens there then.
            VMNotRunning, VMNotReady, SSHError: it can't be reached, or no longer.
        """
        self._wait(f"! {_listening(port)}", f"something listens at port {port}", timeout)

    def wait_for_file(self, path: str, timeout: float = _PATIENCE) -> None:
        """Return when there is a file, or whatever else, at a path.

        Args:
            path: the path on the guest.
            timeout: seconds to wait.

        Raises:
            VMError: nothing is there by then.
            VMNotRunning, VMNotReady, SSHError: it can't be reached, or no longer.
        """
        self._wait(f"test -e {shlex.quote(path)}", f"there is no {path}", timeout)

    def _try(self, command: str | Sequence[str], timeout: float | None, *, fails: bool) -> str:
        status = self.ssh(command, show_output=False, timeout=timeout)
        if bool(status) is not fails:
            said = status.text + status.error_text
            ended = "succeeded" if fails else f"failed with status {status.code}"
            raise self._objection(f"the command {ended}: {_line(command)}", said)
        return status.text

    def _value(self, said: str, commands: Iterable[str | Sequence[str]]) -> Any:
        """The value that output is as JSON. Raises VMError."""
        try:
            return loads(said)
        except ValueError as error:
            line = "; ".join(map(_line, commands))
            raise self._objection(f"the output is no JSON, {error}: {line}", said) from None

    def _wait(self, line: str, otherwise: str, timeout: float) -> str:
        loop = ["sh", "-c", _LOOP, "sh", str(round(timeout)), line]
        status = self.ssh(loop, show_output=False, timeout=timeout + _GRACE)
        said = status.text + status.error_text
        if status:
            raise self._objection(f"{otherwise} within {timeout:g} s", said)
        return said

    def _objection(self, what: str, said: str) -> VMError:
        return VMError(
            f"{self.name()}: {what}", details=tail(said, _SHOWN), hint=f"its console log: {self.console_log()}"
        )


def _line(command: str | Sequence[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)


def _listening(port: int) -> str:
    # proc(5): address:port of both ends in hexadecimal digits, and the state, 0A for one that listens.
    return f"grep -q ':{port:04X} [0-9A-F]*:0000 0A ' /proc/net/tcp /proc/net/tcp6"

"""Running programs: the one runner of all of Lago."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import CommandError, HostError
from ..log import LOG


class CommandStatus(NamedTuple):
    """How a command ended. Its truth value is "it failed", as in earlier releases."""

    code: int
    out: bytes
    err: bytes

    def __bool__(self) -> bool:
        return self.code != 0


def run(
    argv: Sequence[str],
    *,
    input_data: bytes | None = None,
    check: bool = True,
    capture: bool = True,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    hint: str = "",
) -> CommandStatus:
    """Run a program to its end and return how it ended.

    Standard input is `input_data` or closed. The program is terminated, and waited for, when anything interrupts us.

    Args:
        argv: program and arguments; no shell.
        check: raise `CommandError` on a non-zero exit status.
        capture: collect its output; otherwise it goes where ours goes.
        timeout: seconds; `CommandError` when it passes.
        env: variables added to ours.
        hint: what to do if it fails.

    Raises:
        HostError: the program is not installed.
        CommandError: it failed; details are the end of its error output.
    """
    LOG.debug("run: %s", shlex.join(argv))
    pipe = subprocess.PIPE if capture else None
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if input_data is None else subprocess.PIPE,
            stdout=pipe,
            stderr=pipe,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        if error.filename != argv[0]:
            raise
        raise HostError(f"the program {argv[0]} is not installed", hint=package_hint(argv[0])) from None
    with process:
        try:
            out, err = process.communicate(input_data, timeout=timeout)
        except BaseException as error:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandError(
                    argv,
                    -signal.SIGTERM,
                    details=f"it did not end within {timeout:g} s: {shlex.join(argv)}",
                    hint=hint,
                ) from None
            raise
    status = CommandStatus(process.returncode, out or b"", err or b"")
    LOG.debug("ended: %s: %d", argv[0], status.code)
    if check and status:
        text = (status.err or status.out).decode(errors="replace")
        raise CommandError(argv, status.code, details=_tail(text), hint=hint)
    return status


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])


_PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "newuidmap": "uidmap",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "pasta": "passt",
    "dot": "graphviz",
    "systemctl": "systemd",
    "createrepo_c": "createrepo-c",
    "dnf": "dnf dnf-plugins-core",
}


def package_hint(program: str) -> str:
    """What to install to get `program` on Debian and its relatives."""
    return f"apt-get install {_PACKAGES.get(program, program)}"

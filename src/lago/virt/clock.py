"""Clocks of guests that stood still, or went back: each is told the time of the moment when it is told.

What comes before that, such as a login or the start of a program there, is over by then, so a clock that is told once
is behind by less than the answer took to come. One that answered late is told again.
"""

from __future__ import annotations

import json
import math
import os
import select
import shlex
import signal
import time
from typing import Any, Final

import libvirt
import libvirt_qemu

from ..errors import LagoError
from ..host import shape, waiting
from ..host.programs import DEVNULL, PIPE, Process, spawn
from ..log import LOG
from .machine import Machine

_PATIENCE: Final = 30.0
_AGENTS_PATIENCE: Final = 10
_CLOSE: Final = 0.05
"""Seconds by which a clock may be behind before it is told again."""

_TIMES: Final = 4

_SET: Final = "set"
_REFUSED: Final = "refused"
_WHOLE: Final = "whole"
_READY: Final = "ready"

# GNU's date is asked for by its path, since busybox's shell takes its own; that one knows whole seconds only.
_LISTEN: Final = f"""\
date=/bin/date
test -x $date || date=date
becomes() {{ $date -u -s "@$1" || sudo -n $date -u -s "@$1"; }} >/dev/null 2>&1
counts() {{ $date -u -d @0.5; }} >/dev/null 2>&1
echo {_READY}
while read now; do
    if becomes "$now"; then echo {_SET}; elif counts; then echo {_REFUSED}; else echo {_WHOLE}; fi
done
exit 0
"""


def put_right(machine: Machine) -> None:
    """Tell a guest that runs what time it is, by its connection or else by its agent, as far as it lets us."""
    if not machine.running():
        return
    try:
        if machine.guest.connected():
            answers(machine)
        else:
            _by_agent(machine)
    except (LagoError, OSError, libvirt.libvirtError) as error:
        LOG.debug("the clock of %s: %s", machine.name(), error)


def answers(machine: Machine) -> bool:
    """Tell a guest by its connection what time it is, and return whether it runs commands.

    If its user may not set the clock, its agent is told.

    Raises:
        SSHError: the connection is not there, or was lost.
        OSError: it has not answered in time.
    """
    answer = _by_ssh(machine)
    if answer in (_REFUSED, _WHOLE) and not _by_agent(machine):
        LOG.warning(
            "%s: its clock stays behind, as its user %s may not set it, and it has no guest agent that does",
            machine.name(),
            machine.guest.user,
        )
    return answer != ""


def _by_ssh(machine: Machine) -> str:
    """Tell a guest, and return its last answer; nothing if it does not listen."""
    answer = ""

    def talk(argv: list[str]) -> int:
        nonlocal answer
        with spawn(argv, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, ask=signal.SIGKILL) as process:
            answer = _tell(process)
            _close_input(process)
            return process.wait(_PATIENCE)

    machine.guest.check(machine.guest.session(shlex.join(["sh", "-c", _LISTEN]), talk))
    return answer


def _tell(process: Process) -> str:
    if _read(process) != _READY:
        return ""
    answer, whole = "", False
    for _ in range(_TIMES):
        now = _next_second() if whole else time.time()
        _write(process, f"{now:.0f}" if whole else f"{now:.3f}")
        answer = _read(process)
        if answer == _WHOLE and not whole:
            whole = True
        elif answer != _SET or time.time() - now <= _CLOSE:
            break
    return answer


def _next_second() -> float:
    """Wait until a second begins, and return it: that of a clock that is told of whole seconds only."""
    time.sleep(1 - time.time() % 1)
    return float(round(time.time()))


def _read(process: Process) -> str:
    """Return a line that a program says; nothing if it has ended. Raises TimeoutError."""
    output = process.stdout.fileno() if process.stdout else -1
    if not waiting.readable([output], _PATIENCE):
        raise TimeoutError(f"no answer within {_PATIENCE:g} s")
    return os.read(output, select.PIPE_BUF).decode(errors="replace").strip()


def _write(process: Process, line: str) -> None:
    if process.stdin:
        process.stdin.write(f"{line}\n".encode())
        process.stdin.flush()


def _close_input(process: Process) -> None:
    if process.stdin:
        process.stdin.close()


def _by_agent(machine: Machine) -> bool:
    """Tell the agent of a guest, and return whether that has helped.

    It sets the clock first, and then waits for a program that sets the one that the guest boots by. Where that can't
    be, it complains though all is done; so it is asked for the time.
    """
    try:
        # It may have to be woken up, before the time counts.
        _ask(machine, "guest-ping")
        for _ in range(_TIMES):
            try:
                _ask(machine, "guest-set-time", time=time.time_ns())
            except libvirt.libvirtError as error:
                LOG.debug("the agent of %s: %s", machine.name(), error)
            if _behind(machine) <= _CLOSE:
                return True
    except libvirt.libvirtError as error:
        LOG.debug("the agent of %s: %s", machine.name(), error)
    return False


def _behind(machine: Machine) -> float:
    """Seconds by which the clock of a guest is behind ours at least."""
    now = time.time()
    return now - seconds(_ask(machine, "guest-get-time"))


def seconds(answer: str) -> float:
    """What an agent answers to `guest-get-time`, in seconds since 1970; never, if it answers anything else."""
    try:
        return float(shape.record({"return": shape.number})(shape.parse(answer))["return"]) / 1e9
    except ValueError as error:
        LOG.debug("an agent tells no time: %s", error)
        return -math.inf


def _ask(machine: Machine, command: str, **arguments: Any) -> str:
    request = json.dumps({"execute": command, "arguments": arguments})
    return str(libvirt_qemu.qemuAgentCommand(machine.domain(), request, _AGENTS_PATIENCE, 0))

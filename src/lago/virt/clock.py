"""Clocks of guests that stood still, or went back: each is told the time of the moment when it is told.

That is this host's, or another one where the clock is to be wrong (`on_purpose`).

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

from ..errors import LagoError, VMError
from ..host import shape, waiting
from ..host.programs import DEVNULL, PIPE, Process, spawn
from ..log import LOG
from .inside import as_root
from .machine import Machine
from .on_purpose import Clock

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


def _of(machine: Machine) -> Clock:
    return machine.env.on_purpose(machine.name()).clock


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
    if answer not in ("", _SET) and not _by_agent(machine):
        LOG.warning(
            "%s: its clock stays behind, as its user %s may not set it, and it has no guest agent that does",
            machine.name(),
            machine.guest.user,
        )
    return answer != ""


def tell(machine: Machine) -> None:
    """Tell a guest what time it is, by its connection if there is one, or else by its agent.

    Raises:
        VMError: neither its user nor its agent sets the clock.
        SSHError: the connection was lost.
        OSError: it has not answered in time.
    """
    if (machine.guest.connected() and _by_ssh(machine) == _SET) or _by_agent(machine):
        return
    raise VMError(
        f"{machine.name()}: its clock can't be set",
        hint=f"its user {machine.guest.user} must be root, or be allowed all by sudo; or it must have qemu-guest-agent",
    )


def _by_ssh(machine: Machine) -> str:
    """Tell a guest, and return its last answer; nothing if it does not listen."""
    answer, clock = "", _of(machine)

    def talk(argv: list[str]) -> int:
        nonlocal answer
        with spawn(argv, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, ask=signal.SIGKILL) as process:
            answer = _tell(process, clock)
            _close_input(process)
            return process.wait(_PATIENCE)

    machine.guest.check(machine.guest.session(shlex.join(["sh", "-c", _LISTEN]), talk))
    return answer


def _tell(process: Process, clock: Clock) -> str:
    if _read(process) != _READY:
        return ""
    answer, whole = "", False
    for _ in range(_TIMES):
        now = _next_second(clock) if whole else time.time()
        _write(process, f"{clock.at(now):.0f}" if whole else f"{clock.at(now):.3f}")
        answer = _read(process)
        if answer == _WHOLE and not whole:
            whole = True
        elif answer != _SET or time.time() - now <= _CLOSE:
            break
    return answer


def _next_second(clock: Clock) -> float:
    """Wait until a second begins by a clock that is told of whole seconds only, and return when that is by ours."""
    time.sleep(1 - clock.at(time.time()) % 1)
    return time.time()


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
    clock = _of(machine)
    try:
        # It may have to be woken up, before the time counts.
        _ask(machine, "guest-ping")
        for _ in range(_TIMES):
            try:
                _ask(machine, "guest-set-time", time=round(clock.at(time.time()) * 1e9))
            except libvirt.libvirtError as error:
                LOG.debug("the agent of %s: %s", machine.name(), error)
            if abs(_behind(machine, clock)) <= _CLOSE:
                return True
    except libvirt.libvirtError as error:
        LOG.debug("the agent of %s: %s", machine.name(), error)
    return False


def _behind(machine: Machine, clock: Clock) -> float:
    """Seconds by which the clock of a guest is behind what it shall show, at least."""
    now = clock.at(time.time())
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


_TICK: Final = 10000
_STEP: Final = 100
"""Microseconds between ticks of a kernel's clock when it is right, and parts in a million of one more of them."""

# A tick is of whole microseconds, and the rest is said in parts of 2^-16 of a millionth: adjtimex(2). Busybox has the
# program; Perl is in any Debian, and Python in what has cloud-init or dnf.
_RATE: Final = """
for program in adjtimex "busybox adjtimex"; do
    $program -t "$1" -f "$2" >/dev/null 2>&1 && exit
done
perl -e '
    my $t = pack("L x4 q4 l x4 q6", 0x4002, 0, $ARGV[1], (0) x 8, $ARGV[0]) . "\\0" x 128;
    exit(syscall(159, $t) < 0);
' "$1" "$2" 2>/dev/null && exit
python3 -c '
import ctypes, struct, sys
tick, frequency = map(int, sys.argv[1:])
fields = struct.pack("I4x4qi4x6q", 0x4002, 0, frequency, *[0] * 8, tick) + bytes(128)
sys.exit(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(fields)) < 0)
' "$1" "$2" && exit
echo "it has neither adjtimex nor busybox, perl or python3" >&2
exit 1
"""


def set_rate(machine: Machine) -> None:
    """Let the clock of a guest that is logged in to run as fast as it shall, until it boots again.

    Raises:
        VMError: it has no program for that, or its user may not.
        SSHError: the connection is not there, or was lost.
    """
    millionths = _of(machine).drift * 1e6
    ticks = round(millionths / _STEP)
    rest = round((millionths - ticks * _STEP) * 65536)
    as_root(machine, _RATE, str(_TICK + ticks), str(rest), what="its clock can't be made to run at another rate")

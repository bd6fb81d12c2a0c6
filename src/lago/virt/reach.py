"""Who reaches whom: asked of the guests themselves, by what they have for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ..errors import LagoError, VMError
from ..host.programs import CommandStatus

PATIENCE: Final = 5.0
"""Seconds that an answer may take."""

_GRACE: Final = 6.0
"""Seconds that a machine may take to be asked, times 5 when emulated."""

_SSH_PORT: Final = 22
_PING: Final = "ping"

# All targets side by side. A refusal is an answer: it shows that the other end is reached. busybox calls itself bash.
_PROBE: Final = r"""
most=$1 port=$2
shift 2
has() { command -v "$1" >/dev/null 2>&1; }
tcp=
if has bash && has timeout && bash -c '[ -n "$BASH_VERSION" ]' 2>/dev/null; then tcp=bash
elif has python3; then tcp=python3
elif has nc; then tcp=nc
fi
connect() {
    case $tcp in
    bash) LC_ALL=C timeout "$most" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" ;;
    python3) python3 -c 'import socket, sys; socket.create_connection(sys.argv[1:3], int(sys.argv[3]))' \
        "$1" "$2" "$most" ;;
    nc) LC_ALL=C nc -v -n -z -w "$most" "$1" "$2" ;;
    esac </dev/null 2>&1
}
tell() {
    if [ "$port" != 0 ]; then
        [ "$tcp" ] || { echo "$1 unknown -"; return; }
        connect "$2" "$port" >/dev/null && echo "$1 yes $tcp" || echo "$1 no $tcp"
    elif has ping; then
        if ping -c 1 -W 1 "$2" >/dev/null 2>&1 || ping -c 1 -W "$most" "$2" >/dev/null 2>&1; then
            echo "$1 yes ping"
        else
            echo "$1 no ping"
        fi
    elif [ "$tcp" ]; then
        said=$(connect "$2" SSH_PORT) && { echo "$1 yes $tcp"; return; }
        case $said in *[Rr]efused*) echo "$1 yes $tcp" ;; *) echo "$1 no $tcp" ;; esac
    else
        echo "$1 unknown -"
    fi
}
number=0
for address; do
    tell $number "$address" &
    number=$((number + 1))
done
wait
""".replace("SSH_PORT", str(_SSH_PORT))


@dataclass(frozen=True)
class Reach:
    """Whether a machine reaches another one; true in a condition if it does, on all nets that were asked for.

    Attributes:
        nets: whether it does, by net.
        by: the program of the guest that tried it: `ping`, `bash`, `python3` or `nc`.
        why: why it is not known, or there was nothing to try.
        together: whether both are on a net over which it could be tried.
    """

    nets: Mapping[str, bool] = field(default_factory=dict)
    by: str = ""
    why: str = ""
    together: bool = True

    @property
    def reached(self) -> bool | None:
        """Whether it does, on all of the nets; None if that is not known."""
        return all(self.nets.values()) if self.nets else None

    def __bool__(self) -> bool:
        return bool(self.reached)

    def __str__(self) -> str:
        if self.reached is None:
            return "?" if self.together else "-"
        well = [net for net, reached in self.nets.items() if reached]
        return "yes" if self.reached else f"{', '.join(well)} only" if well else "no"

    def data(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {"reached": self.reached, "nets": dict(self.nets), "by": self.by, "why": self.why}


class Reachability(dict[str, dict[str, Reach]]):
    """Who reaches whom: for each machine by name what it reaches, each a `Reach`, by name."""

    @property
    def whole(self) -> bool:
        """Whether each reaches all others that are on a net together with it."""
        return all(reach for row in self.values() for reach in row.values() if reach.together)

    def data(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {name: {other: reach.data() for other, reach in row.items()} for name, row in self.items()}

    def rows(self) -> list[list[str]]:
        """A table in words: a row for each machine with its name first, and a column for each that is reached."""
        others = self.others()
        return [[name, *(str(row[other]) if other in row else "-" for other in others)] for name, row in self.items()]

    def others(self) -> list[str]:
        """The machines that were to be reached."""
        return list(dict.fromkeys([*self, *(other for row in self.values() for other in row)]))

    def notes(self) -> list[str]:
        """Why something is not known, and by what the rest was tried."""
        why = [
            f"{name}: {reason}"
            for name, row in self.items()
            for reason in dict.fromkeys(reach.why for reach in row.values() if reach.why and reach.together)
        ]
        means = dict.fromkeys(reach.by for row in self.values() for reach in row.values() if reach.by)
        return [*why, *([f"by {', '.join(means)}"] if means else [])]

    def __str__(self) -> str:
        table = [["from \\ to", *self.others()], *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        return "\n".join([*(line.rstrip() for line in lines), *self.notes()])


class Asked(Protocol):
    """A machine that can be asked, as `lago.virt.VM` can."""

    @property
    def time_factor(self) -> float:
        """Factor by which things take longer in it than in one that is not emulated."""

    def name(self) -> str:
        """Name that it has in the init file."""

    def nets(self) -> list[str]:
        """Names of the nets that it is on."""

    def ips_in_net(self, net_name: str) -> list[str]:
        """Addresses that it has on a net."""

    def ssh(self, command: Sequence[str], *, show_output: bool, timeout: float) -> CommandStatus:
        """Run a command on it."""


def ask(vm: Asked, others: Sequence[Asked], port: int | None, net: str | None, timeout: float) -> dict[str, Reach]:
    """Ask a machine which of some others it reaches, by their names.

    Raises:
        VMError: it has nothing to try that with.
        VMNotRunning, VMNotReady, SSHError: it can't be asked.
    """
    targets = [(other, on, ip) for other in others for on, ip in _shared(vm, other, net)]
    found: dict[str, Reach] = {}
    for (other, on, _), (reached, means) in zip(targets, _probe(vm, targets, port, timeout), strict=True):
        nets = {**found.get(other.name(), Reach()).nets, on: reached}
        found[other.name()] = Reach(nets, means if port or means == _PING else f"{means} to port {_SSH_PORT}")
    return {other.name(): found.get(other.name(), _nothing(other, net)) for other in others}


def _probe(
    vm: Asked, targets: Sequence[tuple[Asked, str, str]], port: int | None, timeout: float
) -> list[tuple[bool, str]]:
    """Whether a machine reaches each of some addresses, and by what it tried."""
    if not targets:
        return []
    script = ["sh", "-c", _PROBE, "sh", str(max(1, round(timeout))), str(port or 0), *(ip for _, _, ip in targets)]
    # The second try of a ping comes after the first.
    status = vm.ssh(script, show_output=False, timeout=2 * timeout + _GRACE * vm.time_factor)
    said = {line.split()[0]: line.split()[1:] for line in status.text.splitlines() if len(line.split()) == 3}
    answers = [said.get(str(number), [""]) for number in range(len(targets))]
    if any(answer[0] == "unknown" for answer in answers):
        raise VMError(
            f"{vm.name()} has nothing to try with whom it reaches",
            hint="install one of ping, bash with timeout, python3 and nc in it",
        )
    if status or not all(answer[0] for answer in answers):
        raise VMError(f"{vm.name()} can't be asked whom it reaches", details=status.tail())
    return [(answer[0] == "yes", answer[1]) for answer in answers]


def check(port: int | None, timeout: float) -> None:
    """Raise LagoError if nobody can be asked that."""
    if port is not None and not 0 < port < 1 << 16:
        raise LagoError(f"{port} is no TCP port", hint="ports are numbers from 1 to 65535")
    if timeout <= 0:
        raise LagoError(f"{timeout:g} is no time to wait for an answer", hint="give seconds, such as 5")


def _nothing(other: Asked, net: str | None) -> Reach:
    where = "a net with addresses" if net is None else f"the net {net}"
    return Reach(why=f"it is not on {where} together with {other.name()}", together=False)


def _shared(vm: Asked, other: Asked, net: str | None) -> list[tuple[str, str]]:
    """The nets that both are on, or the one that is asked for, each with an address that the other one has there."""
    wanted = [one for one in vm.nets() if one == net or net is None]
    return [(one, ips[0]) for one in wanted if (ips := other.ips_in_net(one))]

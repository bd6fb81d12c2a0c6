"""What the kernel's netem does to packets on their way to a machine: tc-netem(8).

Each device of a machine gets classes, one for each combination of faults that packets to it are subject to; nftables
says which class a packet is of, by its priority (tc-htb(8)). So what is subject to no fault, and Lago's own way in, is
as ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ...constants import PROGRAMS_OF_ROOT
from ...errors import HypervisorError
from ...host.programs import run
from .model import Fault
from .rules import BETWEEN, OUTWARD, Rule

if TYPE_CHECKING:
    from ...virt import VirtEnv

BY: Final = "netem"
"""How `means` of a fault that is done so begins."""

SETTINGS: Final = frozenset({"delay", "jitter", "duplicate", "reorder", "corrupt", "rate"})
_HANDLE: Final = "1a60"
_OUTSIDE: Final = ""
_PATH: Final = f"PATH=$PATH:{PROGRAMS_OF_ROOT}"
_TRY: Final = f"{_PATH}; tc qdisc add dev lo root netem limit 1 && tc qdisc del dev lo root"
_TAKE_AWAY: Final = f"tc qdisc show dev $1 root | grep -q 'htb {_HANDLE}:' && tc qdisc del dev $1 root; true"


def possible(env: VirtEnv) -> bool:
    """Whether the kernel has netem, which is loaded by asking for it."""
    return not run(env.hypervisor.command(["sh", "-c", _TRY]), check=False)


@dataclass
class Plan:
    """What netem has to do.

    Attributes:
        rules: what tells packets apart.
        classes: by device, the combinations of faults of packets to it.
    """

    rules: list[Rule] = field(default_factory=list)
    classes: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)


Way = tuple[str, str]
"""Where packets come from and go to, by devices; from outside if the first is empty."""


def plan(ways: Iterable[tuple[Fault, Way]]) -> Plan:
    """Plan what is done for faults.

    Args:
        ways: faults with the ways that they are about.
    """
    by_way: dict[Way, list[tuple[Fault, float]]] = {}
    for fault, way in ways:
        # What goes outside passes no device of a machine, so all of its delay is on the way back.
        by_way.setdefault(way, []).append((fault, 1.0 if way[0] == _OUTSIDE else 0.5))
    found = Plan()
    for (source, target), subject in by_way.items():
        classes = found.classes.setdefault(target, [])
        classes.append(words(subject))
        mark = f"meta priority set {_HANDLE}:{len(classes):x}"
        if source == _OUTSIDE:
            found.rules.append(Rule(OUTWARD, (), (target,), "", mark))
        else:
            found.rules.append(Rule(BETWEEN, (source,), (target,), "", mark))
    return found


def words(subject: Sequence[tuple[Fault, float]]) -> tuple[str, ...]:
    """The words that tell netem of all faults that a packet is subject to.

    Args:
        subject: faults, each with the part of its delay that is on this way.
    """
    settings = [(one.settings, part) for one, part in subject]
    delay = sum(one.get("delay", 0.0) * part for one, part in settings)
    jitter = sum(one.get("jitter", 0.0) * part for one, part in settings)
    found = ["limit", "100000"]
    if delay:
        found += ["delay", f"{delay * 1e6:.0f}us", *([f"{jitter * 1e6:.0f}us"] if jitter else [])]
    for name in ("duplicate", "corrupt", "reorder"):
        shares = [one[name] for one, _ in settings if name in one]
        if shares:
            found += [name, f"{100 * (1 - math.prod(1 - one for one in shares)):.6g}%"]
    rates = [one["rate"] for one, _ in settings if "rate" in one]
    return (*found, *(["rate", f"{min(rates)}bit"] if rates else []))


def commands(classes: Mapping[str, Sequence[tuple[str, ...]]], leaf: str = "netem") -> Iterator[str]:
    """What `tc -batch` reads.

    Args:
        leaf: the discipline that gets the words.
    """
    for device, found in classes.items():
        yield f"qdisc replace dev {device} root handle {_HANDLE}: htb"
        for number, said in enumerate(found, 1):
            here = f"{_HANDLE}:{number:x}"
            yield f"class replace dev {device} parent {_HANDLE}: classid {here} htb rate 100gbit quantum 60000"
            yield f"qdisc replace dev {device} parent {here} {leaf} {' '.join(said)}"


def load(env: VirtEnv, devices: Iterable[str], classes: Mapping[str, Sequence[tuple[str, ...]]]) -> None:
    """Let the kernel do what is planned, and nothing else, to these devices. Raises HypervisorError if it refuses."""
    script = "\n".join(f"set -- {device}; {_TAKE_AWAY}" for device in devices)
    batch = "".join(f"{line}\n" for line in commands(classes))
    done = run(
        env.hypervisor.command(["sh", "-c", f"{_PATH}\n{script}\ntc -batch -"]), input_data=batch.encode(), check=False
    )
    if done:
        raise HypervisorError(
            "the kernel does not shape packets as the faults say", details=f"{done.complaint}\n{batch}"
        )

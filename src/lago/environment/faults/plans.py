"""Random faults at random times: the same plan from the same seed and the same machines."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from ...errors import LagoError
from ...host.suggest import near

if TYPE_CHECKING:
    from ...topology.model import Topology

_LONGEST: Final = 30.0
_SHORTEST: Final = 2.0
_AWAY: Final = ("freeze", "power-cut")
_PAUSE: Final = 10.0


class Step(NamedTuple):
    """A fault of a plan, in words, with the seconds after the begin at which it comes and goes."""

    at: float
    until: float
    fault: str


@dataclass(frozen=True)
class _World:
    """What can be broken: machines by name with their nics, in the order of the init file, and by whom it is chosen."""

    vms: Mapping[str, Sequence[str]]
    by: random.Random

    def one(self) -> str:
        return self.by.choice(list(self.vms))

    def two(self) -> str:
        return "/".join(self.by.sample(list(self.vms), 2))


def _cut(world: _World) -> str:
    vm = world.one()
    nics = world.vms[vm]
    return f"cut {world.by.choice([vm, *(f'{vm}:{nic}' for nic in nics[1:])])}"


def _partition(world: _World) -> str:
    names = world.by.sample(list(world.vms), len(world.vms))
    size = world.by.randint(1, len(names) - 1)
    one_way = " --one-way" if world.by.random() < 0.2 else ""
    return f"partition {','.join(names[:size])} / {','.join(names[size:])}{one_way}"


def _slow(world: _World) -> str:
    how = world.by.choice(["delay", "loss", "rate"])
    if how == "delay":
        return f"slow {world.one()} --delay {world.by.randrange(50, 1000, 50)}ms"
    link = world.two() if len(world.vms) > 1 and world.by.random() < 0.5 else world.one()
    return f"slow {link} --loss {world.by.randrange(5, 60, 5)}%" if how == "loss" else f"slow {link} --rate 1mbit"


def _drop(world: _World) -> str:
    return f"drop {world.two()} --protocol {world.by.choice(['tcp', 'udp', 'icmp'])}"


def _dns(_world: _World) -> str:
    return "dns --fail"


def _of_machine(kind: str) -> Callable[[_World], str]:
    return lambda world: f"{kind} {world.one()}"


def _cpu(world: _World) -> str:
    return f"cpu {world.one()} {world.by.randrange(5, 50, 5)}%"


MAKERS: Final[Mapping[str, tuple[int, Callable[[_World], str]]]] = {
    "cut": (1, _cut),
    "partition": (2, _partition),
    "slow": (1, _slow),
    "drop": (2, _drop),
    "dns": (1, _dns),
    "freeze": (1, _of_machine("freeze")),
    "power-cut": (1, _of_machine("power-cut")),
    "cpu": (1, _cpu),
}
"""By kind, how many machines it takes, and what makes one up."""


def _at_once(faults: Sequence[str], vms: Mapping[str, object]) -> bool:
    """Whether faults can hold at once: none is about a machine that another takes away."""
    named = [set(re.split(r"[ ,/:]", fault)) & set(vms) for fault in faults]
    away = [fault.startswith(_AWAY) for fault in faults]
    return not any(
        away[one] and named[one] & named[other]
        for one in range(len(faults))
        for other in range(len(faults))
        if one != other
    )


def plan(topology: Topology, seed: int, seconds: float, kinds: Sequence[str] = ()) -> list[Step]:
    """Make a plan: faults one after another and some at once, with pauses in which all is well.

    Args:
        seconds: how long it takes.
        kinds: those that faults are of; without them all that there are for so many machines.

    Raises:
        LagoError: there is no such kind for plans, or there are too few machines.
    """
    vms = {name: [nic.name for nic in vm.nics] for name, vm in topology.domains.items() if vm.nics}
    for kind in kinds:
        if kind not in MAKERS:
            raise LagoError(f"there are no plans with {kind}", hint=near(kind, MAKERS))
        if len(vms) < MAKERS[kind][0]:
            raise LagoError(f"{kind} takes {MAKERS[kind][0]} machines with nics, and there are {len(vms)}")
    usable = list(kinds) or [kind for kind, (least, _) in MAKERS.items() if len(vms) >= least]
    if not vms or not usable:
        raise LagoError("there is no machine with a nic, so nothing can be broken")
    by = random.Random(seed)  # noqa: S311 - it is to be the same again
    world = _World(vms, by)
    steps: list[Step] = []
    at = by.uniform(0, min(_PAUSE, seconds / 4))
    while at < seconds - 1:
        until = min(seconds, at + by.uniform(_SHORTEST, _LONGEST))
        made = [MAKERS[by.choice(usable)][1](world) for _ in range(by.choice([1, 1, 1, 2]))]
        steps += [Step(round(at, 1), round(until, 1), fault) for fault in (made if _at_once(made, vms) else made[:1])]
        at = until + by.uniform(_SHORTEST, _PAUSE)
    return steps

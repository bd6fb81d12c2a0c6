"""Faults of the network: how soon a command's takes effect and is healed, and twenty of them on ten machines at once.

The floor of a command is starting Python and telling nftables; that of twenty faults is telling nftables the same rules
and asking the monitor of each machine once. Both have a limit in seconds as well.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from common import PYTHON, compare, finish, options, report, timed
from common.environment import Environment, environment

from lago.host.parallel import in_parallel
from lago.host.programs import run, which
from lago.virt.migration import ask

COMMAND_SECONDS = 0.3
"""Beside the start of a program that does nothing but look at the environment."""

MANY_SECONDS = 1.0
MANY_BUDGET = 1.5
_VMS = 10
_SMALL = "add table bridge bench\ndelete table bridge bench\n"


def told(one: Environment, rules: str) -> float:
    """Seconds to tell nftables rules."""
    argv = one.prefix.hypervisor.command([which("nft") or "nft", "-f", "-"])
    began = time.perf_counter()
    run(argv, input_data=rules.encode())
    return time.perf_counter() - began


def command(one: Environment, *words: str) -> float:
    """Seconds of a command, which the other one undoes."""
    seconds = one.lago(*words)
    one.lago(*(("heal",) if words[0] == "fault" else ("fault", "cut", "vm0")))
    return seconds


def command_floor(one: Environment) -> float:
    """Seconds of starting Python, and of telling nftables something."""
    return timed(PYTHON, "-c", "pass") + told(one, _SMALL)


def wanted() -> list[str]:
    """Twenty faults of four kinds on ten machines."""
    pairs = [(f"vm{n}", f"vm{(n + 1) % _VMS}") for n in range(_VMS)]
    return [
        *(f"drop {one}/{other} --tcp 5432" for one, other in pairs[:8]),
        *(f"slow {one}/{other} --loss 10%" for one, other in pairs[:8]),
        "partition vm0,vm1,vm2 / vm3,vm4",
        "cut vm8",
        "cut vm9",
        "slow vm5 --rate 10mbit",
    ]


def many(one: Environment) -> float:
    """Seconds to inflict them in one call, in a program that runs; they are healed again."""
    prefix = one.prefix
    prefix.virt_env.states()
    began = time.perf_counter()
    broken = prefix.inflict(*wanted())
    seconds = time.perf_counter() - began
    broken.heal()
    prefix.virt_env.close()
    return seconds


def many_floor(one: Environment) -> float:
    """Seconds to tell nftables as many rules, and to ask all monitors once."""
    env = one.prefix.virt_env
    domains = [vm.domain() for vm in env.get_vms().values()]
    lines = [f'iifname "vnet{n}" oifname "vnet{n + 1}" meta l4proto tcp th dport 5432 drop' for n in range(40)]
    chain = "\n".join(["chain between { type filter hook forward priority 0;", *lines, "}"])
    rules = f"{_SMALL}table bridge bench {{\n{chain}\n}}\n"
    began = time.perf_counter()
    in_parallel(lambda domain: ask(domain, "query-status", {}), domains, what="ask")
    seconds = time.perf_counter() - began + told(one, rules)
    told(one, _SMALL)
    env.close()
    return seconds


def limited(result: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The result, with a limit in seconds beside its budget."""
    return {**result, "limit": seconds, "ok": result["ok"] and result["seconds"] <= seconds}


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    with environment(_VMS) as one:
        one.init()
        one.lago("start")
        against = partial(compare, repeat=args.repeat)
        status = one.lago("status")
        limit = COMMAND_SECONDS + status
        floor = partial(command_floor, one)
        results = [
            limited(against("lago fault cut", partial(command, one, "fault", "cut", "vm0"), floor, budget=15), limit),
            limited(against("lago heal", partial(command, one, "heal"), floor, budget=15), limit),
            limited(
                against("20 faults, 10 machines", partial(many, one), partial(many_floor, one), budget=MANY_BUDGET),
                MANY_SECONDS,
            ),
        ]
        one.destroy()
    return report("faults", args, results, limit_of_commands="0.3 s beside lago status")


if __name__ == "__main__":
    finish(main)

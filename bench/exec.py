"""What a command on a guest costs from Python: many in a row on one machine, and on several machines at once.

The floor is plain `ssh` over a shared connection, the same number of commands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from common import compare, finish, options, report, say, timed
from common.environment import environment, fetch_template

from lago.virt import VM

BUDGET = 1.3
COMMANDS = 200
VMS = 8


def row(run: Callable[[], object], number: int) -> float:
    """Seconds of as many calls, one after the other."""
    began = time.perf_counter()
    for _ in range(number):
        run()
    return time.perf_counter() - began


def at_once(runs: Sequence[Callable[[], object]], number: int) -> float:
    """Seconds of as many calls of each, side by side."""
    began = time.perf_counter()
    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(lambda run: row(run, number), runs))
    return time.perf_counter() - began


def ours(vm: VM) -> Callable[[], object]:
    """A command by Lago."""
    return lambda: vm.ssh(["true"], show_output=False)


def plain(vm: VM) -> Callable[[], object]:
    """The same by plain ssh, over the connection that Lago has made."""
    guest = vm.guest
    argv = ["ssh", "-F", "/dev/null", f"-oControlPath={guest.control}", f"{guest.user}@{guest.address}", "true"]
    return lambda: timed(*argv)


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    fetch_template()
    with environment(VMS) as one:
        one.init()
        one.lago("start")
        env = one.prefix.virt_env
        vms = list(env.get_vms().values())
        say("one command on each machine, which is not counted")
        for vm in vms:
            ours(vm)()
        # The same number in all, spread over the machines.
        share = COMMANDS // VMS
        results = [
            compare(
                f"{COMMANDS} in a row",
                lambda: row(ours(vms[0]), COMMANDS),
                lambda: row(plain(vms[0]), COMMANDS),
                repeat=args.repeat,
                budget=BUDGET,
            ),
            compare(
                f"{VMS} machines at once",
                lambda: at_once([ours(vm) for vm in vms], share),
                lambda: at_once([plain(vm) for vm in vms], share),
                repeat=args.repeat,
                budget=BUDGET,
            ),
        ]
        env.close()
    return report("exec", args, results, commands=COMMANDS, vms=VMS)


if __name__ == "__main__":
    finish(main)

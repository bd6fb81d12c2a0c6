"""Snapshots, reverts, forks and warm starts of `mini` and `debian12`, against plain libvirt and against a cold start.

Where the floor is a cold `lago start`, the budget is the part of it that may be needed: 0.2 is five times as fast.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from common import LAGO, MIB, compare, finish, options, report, room, say, timed
from common.environment import Environment, environment

from lago.virt import VM

PAUSE_BUDGET = 0.5
REVERT_BUDGET = 1.3
COLD_REVERT_BUDGET = 1 / 5
BIG_REVERT_BUDGET = 1 / 10
COLD_FORK_BUDGET = 1 / 4
WARM_BUDGET = 1 / 8
FORKS_BUDGET = 3.0
DISK_BUDGET = 5.0
_VMS = 3


def pause(one: Environment) -> float:
    """Seconds for which machines stand still during a snapshot, which is not kept."""
    taken = one.prefix.create_snapshots("bench")
    one.prefix.delete_snapshot("bench")
    return taken.pause


def _saved(one: Environment, vms: list[VM]) -> tuple[float, float]:
    """Seconds to save one machine, as `virsh save` does, and to bring all back until they answer ssh."""
    files = {vm.name(): str(one.room / f"{vm.name()}.saved") for vm in vms}
    began = time.perf_counter()
    vms[0].domain().save(files[vms[0].name()])
    save = time.perf_counter() - began
    for vm in vms[1:]:
        vm.domain().save(files[vm.name()])
    for vm in vms:
        vm.guest.close()
    began = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        list(pool.map(partial(_back, files), vms))
    restore = time.perf_counter() - began
    for file in files.values():
        os.unlink(file)
    return save, restore


def _back(files: dict[str, str], vm: VM) -> None:
    with vm.env.lifecycle.starting(vm.libvirt_name()):
        vm.env.libvirt_con.restore(files[vm.name()])
    vm.wait_for_ssh()


def plain(one: Environment, which: int) -> float:
    """What libvirt needs by itself: 0 for saving one machine, 1 for bringing three back."""
    env = one.prefix.virt_env
    try:
        return _saved(one, list(env.get_vms().values()))[which]
    finally:
        env.close()


def cold(one: Environment) -> float:
    """Seconds of a cold start, with machines stopped before."""
    one.lago("stop")
    return one.lago("start")


def fork(one: Environment, number: int) -> float:
    """Seconds of so many forks of now at once, which are removed again."""
    began = time.perf_counter()
    names = [f"fork{index}" for index in range(number)]
    running = [subprocess.Popen([LAGO, "-p", str(one.path), "fork", name], stderr=subprocess.DEVNULL) for name in names]
    codes = [process.wait() for process in running]
    seconds = time.perf_counter() - began
    for name in names:
        subprocess.run(
            [LAGO, "-p", str(one.path.with_name(name)), "destroy", "--yes"], stderr=subprocess.DEVNULL, check=True
        )
    if any(codes):
        raise RuntimeError(f"lago fork ended with {codes}")
    return seconds


def own_disk(path: Path) -> int:
    """Bytes that only this directory holds, memory images aside."""
    files = [file.stat() for file in path.rglob("*") if file.is_file() and file.suffix not in (".mem", ".state")]
    return sum(file.st_blocks * 512 for file in files if file.st_nlink == 1)


def fork_disk(one: Environment) -> dict[str, Any]:
    """Disk space of a fork before its guests write anything to speak of."""
    one.lago("fork", "disk")
    mib = own_disk(one.path.with_name("disk")) / MIB
    subprocess.run(
        [LAGO, "-p", str(one.path.with_name("disk")), "destroy", "--yes"], stderr=subprocess.DEVNULL, check=True
    )
    return {"name": "disk space of a fork", "MiB": round(mib, 2), "budget": DISK_BUDGET, "ok": mib <= DISK_BUDGET}


def _big(repeat: int) -> dict[str, Any]:
    """A machine with a whole distribution."""
    with environment(1, "debian12", 512) as one:
        one.init()
        one.lago("start")
        one.lago("snapshot", "base")
        revert = partial(one.lago, "revert", "base")
        revert()
        name = "revert of debian12, against a cold start"
        return compare(name, revert, partial(cold, one), repeat=repeat, budget=BIG_REVERT_BUDGET)


def _warm(repeat: int) -> dict[str, Any]:
    """`lago up --warm` with something kept, against the same with nothing kept."""
    with room() as where:
        os.environ["XDG_CACHE_HOME"] = str(where / "cache")
        script = where / "script.sh"
        script.write_text("head -c 8000000 /dev/urandom >/root/data; sha256sum /root/data >/root/sum; sync\n")
        one = Environment(where, _VMS, scripts=[script])

        def up() -> float:
            seconds = one.up()
            one.destroy()
            return seconds

        def first() -> float:
            timed(LAGO, "warm", "prune", "--all")
            return up()

        try:
            first()
            return compare("second up --warm, against the first", up, first, repeat=repeat, budget=WARM_BUDGET)
        finally:
            one.destroy()


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    with environment(_VMS) as one:
        one.init()
        one.lago("start")
        one.lago("snapshot", "base")
        one.lago("revert", "base")
        against = partial(compare, repeat=args.repeat)
        revert: Callable[[], float] = partial(one.lago, "revert", "base")
        results = [
            against("pause of a snapshot", partial(pause, one), partial(plain, one, 0), budget=PAUSE_BUDGET),
            against("revert, against virsh restore", revert, partial(plain, one, 1), budget=REVERT_BUDGET),
            against("revert, against a cold start", revert, partial(cold, one), budget=COLD_REVERT_BUDGET),
            against("fork, against a cold start", partial(fork, one, 1), partial(cold, one), budget=COLD_FORK_BUDGET),
            against("four forks, against one", partial(fork, one, 4), partial(fork, one, 1), budget=FORKS_BUDGET),
            fork_disk(one),
        ]
        say("removing all")
        one.destroy()
    results += [_big(args.repeat), _warm(args.repeat)]
    return report("snapshot", args, results, warm_up="a snapshot and a revert")


if __name__ == "__main__":
    finish(main)

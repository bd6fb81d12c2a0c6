"""Memory that a running environment costs beside its guests: everything in its namespaces but QEMU.

It is the proportional set size (PSS): of memory that several processes share, each is counted with its part. So it is
less while the same programs run elsewhere, which is reported; this script's Python may be one. Reported, too, but no
part of it, is what QEMU takes beyond the memory of its guest; under TCG most of that is translated code.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from pathlib import Path

from common import MIB, finish, options, report, say
from common.environment import MEMORY_MIB, Environment, environment

from lago.hypervisor.private import Private

BUDGET_MIB = 80
VMS = 3
_SETTLE = 5.0
_PROC = Path("/proc")


def processes(one: Environment) -> list[int]:
    """What belongs to the environment: all in its process or network namespace, and who made these and waits."""
    hypervisor = one.prefix.hypervisor
    assert isinstance(hypervisor, Private)
    supervisor = hypervisor.pid()
    if supervisor is None:
        raise RuntimeError("the environment does not run")
    ours = _namespaces(supervisor)
    pids = [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]
    status = (_PROC / str(supervisor) / "status").read_text(encoding="utf-8")
    parent = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
    return [pid for pid in pids if ours & _namespaces(pid) or (pid == parent and program(pid) == "unshare")]


def _namespaces(pid: int) -> set[str]:
    try:
        return {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "net")}
    except OSError:
        return set()


def program(pid: int) -> str:
    """Name of the program that a process runs."""
    return (_PROC / str(pid) / "comm").read_text(encoding="utf-8").strip()


def pss(pid: int) -> int:
    """Bytes of memory of a process."""
    text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8")
    return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:"))


def guest_memory(pid: int) -> int:
    """Bytes of a QEMU that are memory of its guest: its mappings that are as large as that."""
    found, size = 0, 0
    for line in (_PROC / str(pid) / "smaps").read_text(encoding="utf-8").splitlines():
        if line.startswith("Size:"):
            size = int(line.split()[1]) << 10
        elif line.startswith("Pss:") and size == MEMORY_MIB * MIB:
            found += int(line.split()[1]) << 10
    return found


def elsewhere(pids: list[int]) -> dict[str, int]:
    """How many processes run the same programs as `pids` and are not among them."""
    names = Counter(_name(int(path.name)) for path in _PROC.iterdir() if path.name.isdigit())
    names.subtract(_name(pid) for pid in pids)
    return {name: names[name] for name in sorted({_name(pid) for pid in pids}) if name and names[name] > 0}


def _name(pid: int) -> str:
    """Name of a program without its version: python3.11 is python."""
    try:
        return program(pid).rstrip("0123456789.")
    except OSError:
        return ""


def measure(one: Environment) -> tuple[Counter[str], list[int]]:
    """Bytes by program, and of each QEMU beyond its guest's memory."""
    by_program: Counter[str] = Counter()
    overhead = []
    for pid in processes(one):
        name = program(pid)
        if name.startswith("qemu-system"):
            overhead.append(pss(pid) - guest_memory(pid))
        else:
            by_program[name] += pss(pid)
    return by_program, overhead


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    runs, overheads, others = [], [], {}
    breakdown: Counter[str] = Counter()
    with environment(VMS) as one:
        say(f"lago init and start of {VMS} VMs")
        one.init()
        for number in range(args.repeat):
            one.lago("start")
            time.sleep(_SETTLE)
            breakdown, overhead = measure(one)
            others = elsewhere(processes(one))
            one.lago("stop")
            runs.append(round(breakdown.total() / MIB, 2))
            overheads.append(round(statistics.mean(overhead) / MIB, 2))
            say(f"run {number + 1} of {args.repeat}: {runs[-1]} MiB, QEMU's overhead {overheads[-1]} MiB per guest")
    value = statistics.median(runs)
    result = {
        "name": f"{VMS} VMs running",
        "MiB": value,
        "floor": None,
        "ratio": None,
        "budget": BUDGET_MIB,
        "ok": value <= BUDGET_MIB,
        "runs": runs,
        "floor_runs": [],
        "breakdown_of_last_run": {name: round(size / MIB, 2) for name, size in breakdown.most_common()},
        "same_programs_elsewhere_in_last_run": others,
        "qemu_overhead_per_guest_MiB": statistics.median(overheads),
    }
    return report("footprint", args, [result])


if __name__ == "__main__":
    finish(main)

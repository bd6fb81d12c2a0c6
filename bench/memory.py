"""What snapshots, reverts and forks cost where machines are large: memory, pauses, and going back again and again.

Machines have 128 MiB, or 2 GiB of which their guests have touched 1.3. The budget of a snapshot of what changed is
against "a copy": to write, while machines stand still, all memory that guests have touched, which is what a snapshot
did before memory was mapped. A copy of as many bytes from tmpfs is measured, to a file that has them already as it had
then, and without what QEMU does beside it.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree as ET

import libvirt_qemu
from common import LAGO, MIB, compare, compared, finish, options, report, say, timed, undisturbed
from common.environment import MEMORY_MIB, Environment, environment
from footprint import processes, program, pss

from lago.virt import VM, alike

FORK_BUDGET = 1.3
OWN_BUDGET_MIB = 8
DELTA_BUDGET = 1.5
DELTA_COPY_BUDGET = 0.25
FIRST_BUDGET = 0.3
DISK_BUDGET = 1.3
DISK_BUDGET_MIB = 2
IN_PLACE_BUDGET = 1.5
RESTORE_BUDGET = 0.5
COLD_BUDGET = 1 / 6
EIGHT_BUDGET = 4.0
SLOWER_BUDGET = 1.2
GROWTH_MIB = 8
"""For each machine; what QEMU holds beside the memory of its guest goes up and down by as much."""

PARTS = ("pauses", "first", "forks", "reverts", "row", "many")
LARGE_MIB = 2048
_TOUCHED = 1200
_CHANGED = 10
_VMS = 3
_REVERTS = 20
_FILL = "/mnt/fill"
_GOES_ON = "::Wait for ssh: started"


@contextmanager
def machines(vms: int, memory: int) -> Iterator[Environment]:
    """Context manager: an environment whose machines, of `memory` MiB each, came from its snapshot `base` just now."""
    with environment(vms, memory=memory) as one:
        say(f"{vms} x {memory} MiB: init, start, snapshot, revert")
        one.init()
        boot(one, memory)
        one.lago("snapshot", "base")
        one.lago("revert", "base")
        yield one


def boot(one: Environment, memory: int) -> None:
    """Start all machines, and have the guests of large ones touch their memory."""
    one.lago("start")
    times = _TOUCHED // _CHANGED if memory == LARGE_MIB else 1
    # Pages that are all the same, such as zeros, would be no memory to speak of.
    fill = (
        f"mkdir -p {_FILL} && mount -t tmpfs -o size=95% fill {_FILL} && cd {_FILL} && "
        f"dd if=/dev/urandom of=first bs=1M count={_CHANGED} && for i in $(seq {times}); do cat first; done >more"
    )
    in_guests(one, fill)


def in_guests(one: Environment, command: str) -> None:
    """Run a command in all guests at once."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: one.lago("shell", name, "-c", command), one.prefix.topology.domains))


def change(one: Environment) -> None:
    """Have each guest write so many MiB where it had others."""
    in_guests(one, f"dd if=/dev/urandom of={_FILL}/more bs=1M count={_CHANGED} conv=notrunc")


def qemus(one: Environment) -> dict[str, int]:
    """Process id of the QEMU of each machine."""
    found = {}
    for pid in processes(one):
        name = re.search(r"\0guest=[^,]*-(vm\d+),", Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
        if name and program(pid).startswith("qemu-system"):
            found[name[1]] = pid
    if len(found) != len(one.prefix.topology.domains):
        raise RuntimeError(f"these machines run: {', '.join(found)}")
    return found


def own(pid: int) -> float:
    """MiB of its guest's memory that a QEMU holds for itself.

    Where a file is mapped privately these are the pages that it wrote; where it is mapped shared nobody else has it.
    """
    sizes = {MEMORY_MIB * MIB, LARGE_MIB * MIB}
    held, mapping, counted = 0, False, "Anonymous"
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if "-" in words[0]:
            begin, end = (int(word, 16) for word in words[0].split("-"))
            mapping = end - begin in sizes
            counted = "Rss" if words[1].endswith("s") else "Anonymous"
        elif mapping and words[0] == f"{counted}:":
            held += int(words[1]) << 10
    return held / MIB


def fork(one: Environment, number: int = 1) -> tuple[float, list[float]]:
    """Fork `base` so often at once.

    Returns:
        Seconds from the start of the first process until all machines run, and of each of them what `own` says when all
        have answered ssh.
    """
    names = [f"fork{index}" for index in range(number)]
    forks = [one.fork(name) for name in names]
    argv = [LAGO, "--prefix-path", str(one.path), "fork", "--from", "base"]
    began = time.time()
    running = [subprocess.Popen([*argv, name], stderr=subprocess.DEVNULL) for name in names]
    codes = [process.wait() for process in running]
    try:
        if any(codes):
            raise RuntimeError(f"lago fork ended with {codes}")
        held = [own(pid) for each in forks for pid in qemus(each).values()]
        return max(map(_went_on, forks)) - began, held
    finally:
        with undisturbed():
            for each in forks:
                each.destroy()


def _went_on(one: Environment) -> float:
    """When the machines of a fork ran, which its log tells: they are waited for from then on."""
    text = (one.path / "logs" / "lago.log").read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line.endswith(_GOES_ON)]
    return datetime.strptime(line.partition("::")[0], "%Y-%m-%d %H:%M:%S,%f").timestamp()


def forks(repeat: int, small: Environment, large: Environment) -> list[dict[str, Any]]:
    """Forks of large machines, against forks of small ones."""
    found: dict[int, list[tuple[float, list[float]]]] = {MEMORY_MIB: [], LARGE_MIB: []}
    for number in range(repeat):
        for memory, one in ((MEMORY_MIB, small), (LARGE_MIB, large)):
            found[memory].append(fork(one))
            took, mibs = found[memory][-1]
            each = ", ".join(f"{mib:.1f}" for mib in mibs)
            say(f"fork: run {number + 1} of {repeat}: {memory} MiB: {took:.3f} s, own {each} MiB")
    seconds = {memory: [one[0] for one in runs] for memory, runs in found.items()}
    kept = {memory: statistics.median(mib for one in runs for mib in one[1]) for memory, runs in found.items()}
    what = f"fork of {_VMS} x 2 GiB to all running, against {_VMS} x 128 MiB"
    return [
        compared(what, seconds[LARGE_MIB], seconds[MEMORY_MIB], budget=FORK_BUDGET),
        *(
            {
                "name": f"memory of its own of a fork's machine of {memory} MiB",
                "MiB": round(mib, 2),
                "budget": OWN_BUDGET_MIB,
                "ok": mib <= OWN_BUDGET_MIB,
            }
            for memory, mib in kept.items()
        ),
    ]


def pause(one: Environment) -> float:
    """Seconds for which machines stand still during a snapshot, which is not kept."""
    taken = one.prefix.create_snapshots("bench")
    one.prefix.delete_snapshot("bench")
    return taken.pause


def used(one: Environment) -> int:
    """Bytes that a prefix has on disk."""
    files = [path.stat() for path in one.path.rglob("*") if path.is_file()]
    return sum({file.st_ino: file.st_blocks * 512 for file in files}.values())


def second(one: Environment) -> tuple[float, int]:
    """Seconds of pause and bytes on disk of a snapshot when so many MiB have changed since the last."""
    one.lago("revert", "base")
    change(one)
    before = used(one)
    taken = one.prefix.create_snapshots("bench")
    grown = used(one) - before
    one.prefix.delete_snapshot("bench")
    return taken.pause, grown


class Copy:
    """A copy of what a guest has touched, as its first snapshot has it; `close` removes it."""

    def __init__(self, one: Environment) -> None:
        saved = max((one.path / "snapshots").iterdir(), key=lambda path: path.stat().st_blocks)
        self._source = Path("/dev/shm", f"{one.room.name}.memory")
        self._dest = one.room / "copy"
        _copy(saved, self._source)
        self.seconds()

    def seconds(self) -> float:
        """Seconds that it takes to a file that has it already."""
        began = time.perf_counter()
        _copy(self._source, self._dest)
        return time.perf_counter() - began

    def close(self) -> None:
        self._source.unlink(missing_ok=True)
        self._dest.unlink(missing_ok=True)


def _copy(source: Path, dest: Path) -> None:
    """Copy a file over another but for its holes."""
    with (
        open(source, "rb", buffering=0) as read,
        open(os.open(dest, os.O_RDWR | os.O_CREAT), "r+b", buffering=0) as write,
    ):
        size = os.fstat(read.fileno()).st_size
        write.truncate(size)
        hole = 0
        while hole < size:
            try:
                at = os.lseek(read.fileno(), hole, os.SEEK_DATA)
            except OSError:
                break
            hole = os.lseek(read.fileno(), at, os.SEEK_HOLE)
            os.lseek(write.fileno(), at, os.SEEK_SET)
            while at < hole:
                at += os.sendfile(write.fileno(), read.fileno(), at, hole - at)


def pauses(repeat: int, small: Environment, large: Environment) -> list[dict[str, Any]]:
    """Snapshots of one machine of which a part has changed."""
    little, much, copies = [], [], []
    with closing(Copy(large)) as copy:
        for number in range(repeat):
            little.append(second(small)[0])
            much.append(second(large))
            copies.append(copy.seconds())
            took, grown = much[-1]
            say(
                f"snapshot of {_CHANGED} MiB: run {number + 1} of {repeat}: 2 GiB {took:.3f} s, {grown / MIB:.1f} MiB "
                f"on disk; 128 MiB {little[-1]:.3f} s; copy {copies[-1]:.3f} s"
            )
    large_ones = [one[0] for one in much]
    mib = statistics.median(one[1] for one in much) / MIB
    allowed = DISK_BUDGET * _CHANGED + DISK_BUDGET_MIB
    what = f"pause of a snapshot with {_CHANGED} MiB changed, 2 GiB"
    disk = {"name": f"disk space of a snapshot with {_CHANGED} MiB changed", "MiB": round(mib, 2), "budget": allowed}
    return [
        compared(f"{what}, against 128 MiB", large_ones, little, budget=DELTA_BUDGET),
        compared(f"{what}, against a copy", large_ones, copies, budget=DELTA_COPY_BUDGET),
        {**disk, "ok": mib <= allowed},
    ]


def first(repeat: int, large: Environment) -> list[dict[str, Any]]:
    """First snapshots of a machine that was booted, against those of which all memory is written in the pause.

    Which is so where files can't be compared.
    """

    def taken() -> float:
        large.lago("stop")
        boot(large, LARGE_MIB)
        return pause(large)

    def written() -> float:
        with patch.object(alike, "local", return_value=False):
            return taken()

    what = "pause of the first snapshot of a booted machine of 2 GiB, against one that writes all"
    found = compare(what, taken, written, repeat=repeat, budget=FIRST_BUDGET)
    large.lago("revert", "base")
    return [found]


class Reverts:
    """Reverts of an environment; `ended` is how many of them ended machines and started them again."""

    def __init__(self, one: Environment) -> None:
        self._one = one
        self.ended = 0

    def seconds(self) -> float:
        """Seconds of one, from the start of the process until all answer ssh."""
        before = qemus(self._one)
        seconds = self._one.lago("revert", "base")
        self.ended += qemus(self._one) != before
        return seconds

    def judged(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result for the report, which is bad if any of them was not in place."""
        return {**result, "ok": result["ok"] and not self.ended, "not_in_place": self.ended}


def connected(one: Environment) -> float:
    """Seconds of `true` by ssh in each guest at once, over a connection that is new."""
    guests = [one.prefix.guest(name) for name in one.prefix.topology.domains]
    for guest in guests:
        guest.close()

    def true(number: int) -> None:
        guests[number].open(60)
        timed(*guests[number].argv("true"))

    began = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        list(pool.map(true, range(len(guests))))
    return time.perf_counter() - began


def restored(one: Environment) -> float:
    """Seconds of a `virsh restore` of each machine at once, until all answer ssh."""
    virsh = ["virsh", "-q", "-c", one.prefix.hypervisor.uri]
    prefix = one.prefix
    with closing(prefix.virt_env) as env:
        vms = list(env.get_vms().values())
        files = {vm.name(): _save(virsh, one.room, vm) for vm in vms}
        began = time.perf_counter()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda vm: _restore(virsh, files[vm.name()], vm), vms))
        seconds = time.perf_counter() - began
    for saved, description in files.values():
        saved.unlink()
        description.unlink()
    # Only then do the machines come from `base` again.
    one.lago("revert", "base")
    return seconds


def _save(virsh: list[str], where: Path, vm: VM) -> tuple[Path, Path]:
    """The file that `virsh save` writes of a machine, and its description with memory that is no file.

    A machine that maps a file is read into page by page, each of which has to be copied first.
    """
    saved, description = where / f"{vm.name()}.saved", where / f"{vm.name()}.xml"
    vm.guest.close()
    timed(*virsh, "save", vm.libvirt_name(), saved)
    text = subprocess.run([*virsh, "save-image-dumpxml", saved], capture_output=True, check=True).stdout
    root = ET.fromstring(text)
    for word in root.iter("{http://libvirt.org/schemas/domain/qemu/1.0}arg"):
        if "mem-path" in (value := word.get("value", "")):
            backend = {**json.loads(value), "qom-type": "memory-backend-ram"}
            word.set("value", json.dumps({key: backend[key] for key in backend.keys() - {"mem-path", "share"}}))
    description.write_bytes(ET.tostring(root))
    return saved, description


def _restore(virsh: list[str], files: tuple[Path, Path], vm: VM) -> None:
    with vm.env.lifecycle.starting(vm.libvirt_name()):
        timed(*virsh, "restore", files[0], "--xml", files[1])
    vm.wait_for_ssh()


def reverts(repeat: int, large: Environment) -> list[dict[str, Any]]:
    """Reverts in place of large machines."""

    def against(what: str, floor: Callable[[Environment], float], budget: float) -> dict[str, Any]:
        measured = Reverts(large)
        name = f"revert in place of {_VMS} x 2 GiB, against {what}"
        return measured.judged(compare(name, measured.seconds, partial(floor, large), repeat=repeat, budget=budget))

    return [against("ssh", connected, IN_PLACE_BUDGET), against("virsh restore", restored, RESTORE_BUDGET)]


def held(one: Environment) -> dict[str, float]:
    """What must not grow: MiB of QEMUs, descriptors of all processes, files and layers of disks, nodes of QEMU's."""
    pids = qemus(one)
    with closing(one.prefix.virt_env) as env:
        domains = [vm.domain() for vm in env.get_vms().values()]
        query = json.dumps({"execute": "query-named-block-nodes", "arguments": {"flat": True}})
        nodes = [json.loads(libvirt_qemu.qemuMonitorCommand(domain, query, 0))["return"] for domain in domains]
    return {
        "MiB": round(sum(map(pss, pids.values())) / MIB, 1),
        "descriptors": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in processes(one)),
        "files": sum(path.is_file() for name in ("images", "snapshots") for path in (one.path / name).iterdir()),
        "block nodes": sum(map(len, nodes)),
    }


def in_a_row(repeat: int, small: Environment) -> list[dict[str, Any]]:
    """Many reverts in place one after the other: the last ten against the first ten, and what they leave."""
    number = max(20, _REVERTS * repeat)
    measured = Reverts(small)
    runs, seen = [], {}
    for done in range(1, number + 1):
        runs.append(measured.seconds())
        if done in (10, number):
            seen[done] = held(small)
            say(f"{done} reverts: {statistics.median(runs[-10:]):.3f} s each, {seen[done]}")
    grown = {name: round(seen[number][name] - seen[10][name], 1) for name in seen[number]}
    result = compared(f"{number} reverts in a row, the last ten", runs[-10:], runs[:10], budget=SLOWER_BUDGET)
    allowed = {name: GROWTH_MIB * _VMS if name == "MiB" else 0 for name in grown}
    grows = [name for name in grown if grown[name] > allowed[name]]
    result["ok"] = result["ok"] and not grows
    return [{**measured.judged(result), "grown_since_the_tenth": grown, "grows": grows}]


def cold(one: Environment) -> float:
    """Seconds of a cold start, with machines stopped before."""
    one.lago("stop")
    return one.lago("start")


def forked(one: Environment, number: int) -> float:
    """Seconds until the machines of so many forks at once run."""
    return fork(one, number)[0]


def answered(one: Environment) -> float:
    """Seconds of a fork until its machines answer ssh."""
    seconds = one.lago("fork", "--from", "base", "answers")
    one.fork("answers").destroy()
    return seconds


def many(repeat: int, small: Environment) -> list[dict[str, Any]]:
    """Forks of small machines."""
    started = compare(
        "fork of three mini, against a cold start",
        partial(answered, small),
        partial(cold, small),
        repeat=repeat,
        budget=COLD_BUDGET,
    )
    small.lago("revert", "base")
    at_once = compare(
        "eight forks to all running, against one",
        partial(forked, small, 8),
        partial(forked, small, 1),
        repeat=repeat,
        budget=EIGHT_BUDGET,
    )
    return [started, at_once]


def main() -> int:
    """Measure and report."""
    args = options(__doc__, parts=PARTS)
    parts = set(args.only or PARTS)
    results: list[dict[str, Any]] = []
    if parts & {"pauses", "first"}:
        with machines(1, MEMORY_MIB) as small, machines(1, LARGE_MIB) as large:
            if "pauses" in parts:
                results += pauses(args.repeat, small, large)
            if "first" in parts:
                results += first(args.repeat, large)
    if parts - {"pauses", "first"}:
        with machines(_VMS, MEMORY_MIB) as small:
            if parts & {"forks", "reverts"}:
                with machines(_VMS, LARGE_MIB) as large:
                    if "forks" in parts:
                        results += forks(args.repeat, small, large)
                    if "reverts" in parts:
                        results += reverts(args.repeat, large)
            if "row" in parts:
                results += in_a_row(args.repeat, small)
            if "many" in parts:
                results += many(args.repeat, small)
    return report(
        "memory", args, results, warm_up="a snapshot and a revert", touched_MiB=_TOUCHED, changed_MiB=_CHANGED
    )


if __name__ == "__main__":
    finish(main)

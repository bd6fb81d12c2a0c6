"""Faults of machines: how those of a machine are made true.

What a machine has from outside, such as its disks, is always set to what all its faults together say, so that healing
one leaves the others. Its clock and its memory are changed inside, which needs a guest that answers; a saved memory has
both as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ...errors import LagoError, VMNotRunning
from ...host.parallel import in_parallel
from ...host.suggest import near
from ...log import LOG
from ...virt import checkpoint, clock, disk_fault, panic, squeeze, starve
from ...virt.connection import refusals
from .model import Fault
from .network import NETWORK
from .places import must_run, once
from .plain import CLOCK, CPU, DISK, FREEZE, MEMORY, PANIC, POWER, RESET
from .purpose import judge
from .values import spell_share

if TYPE_CHECKING:
    from ...topology.model import Disk
    from ...virt import VM, VirtEnv

_FAILS: Final = ("error", "read_only", "detach", "full")
_LEAST_SHARE: Final = 0.01
_INSIDE: Final = frozenset({CLOCK, MEMORY})
_SOON: Final = 2.0
"""Seconds for which a guest is tried that may not be able to answer, on a machine that is not emulated."""


class Machines:
    """What makes faults of machines true."""

    def check(self, env: VirtEnv, fault: Fault) -> str:
        """As of `Means`."""
        for target in fault.targets:
            disks(env, target) if fault.kind == DISK else env.get_vm(target)
        once(fault.targets)
        must_run(env, sorted(fault.machines))
        if fault.kind in _INSIDE | {PANIC}:
            for name in sorted(fault.machines):
                _must_go_on(env.get_vm(name))
        return _MEANS[fault.kind](env, fault)

    def change(self, env: VirtEnv, gone: Sequence[Fault], new: Sequence[Fault], now: Sequence[Fault]) -> None:
        """Make faults true and undo others, those of each machine together and machines side by side."""
        names = sorted({name for one in (*gone, *new) for name in one.machines} & {*env.get_vms()})
        told = [_Change(env.get_vm(name), gone, new, now) for name in names]
        dark = [one for one in told if POWER in one.ended and not one.vm.alive()]
        todo = [partial(_change, one) for one in told if one not in dark]
        in_parallel(lambda do: do(), [partial(_give_power, env, dark, now), *todo], what="change what is broken")


def _must_go_on(vm: VM) -> None:
    """Raise VMNotRunning if a machine stands still, so that its guest can't do anything."""
    if not vm.running():
        by = vm.env.on_purpose(vm.name()).silent
        raise VMNotRunning(
            f"{vm.name()} is {vm.state()}, so nothing inside of it can be changed", hint=f"lago heal {by}".rstrip()
        )


class _Change:
    """What changes for a machine.

    Attributes:
        ended: the kinds of faults that hold no longer.
        begun: those that are to hold, and may do so already.
        gone: those of which a fault holds no longer, though others may.
        now: all faults that hold then.
        inside: which of them are inside of its guest.
        answers: it need not have answered, and now shall.
    """

    def __init__(self, vm: VM, gone: Iterable[Fault], new: Iterable[Fault], now: Iterable[Fault]) -> None:
        self.vm = vm
        away, self.now = ([one for one in some if vm.name() in one.machines] for some in (gone, now))
        self.gone = {one.kind for one in away}
        self.begun = {one.kind for one in new if vm.name() in one.machines}
        self.ended = self.gone - {one.kind for one in self.now}
        self.inside = {one.kind for one in self.now} & _INSIDE
        self.answers = bool(judge(away).silent) and not judge(self.now).silent


def _change(one: _Change) -> None:
    vm = one.vm
    if POWER in one.begun:
        _cut_power(vm)
    if not vm.alive():
        return
    # What keeps a guest from answering goes first when it goes, and comes last when it comes.
    _outside(vm, one.gone, one.now)
    if FREEZE in one.ended and not vm.running():
        checkpoint.resume(vm)
    if PANIC in one.ended and vm.running() and panic.panicked(vm):
        _press_reset(vm)
        vm.wait_for_ssh()
        _inside(vm, one.inside, one.now)
    elif vm.running():
        if one.answers:
            _log_in_soon(vm)
            clock.put_right(vm)
        _inside(vm, (one.gone | one.begun) & _INSIDE, one.now)
    elif (one.gone | one.begun) & _INSIDE:
        _must_go_on(vm)
    _outside(vm, one.begun, one.now)
    if RESET in one.begun:
        _press_reset(vm)
        if one.inside:
            # It can be so again only when the guest answers.
            vm.wait_for_ssh()
            _inside(vm, one.inside, one.now)
    if PANIC in one.begun and not panic.panicked(vm):
        _log_in_soon(vm)
        panic.panic(vm)
    if FREEZE in one.begun:
        checkpoint.pause(vm)


def _cut_power(vm: VM) -> None:
    if vm.alive():
        vm.kill()


def _give_power(env: VirtEnv, dark: Sequence[_Change], now: Sequence[Fault]) -> None:
    """Start machines, which then have what is wrong with them and their links besides."""

    def begun() -> None:
        for one in dark:
            _outside(one.vm, {DISK, CPU}, one.now)
        NETWORK.change(env, [], now, now)

    if dark:
        env.start([one.vm.name() for one in dark], begun=begun)
        in_parallel(lambda one: _inside(one.vm, one.inside, one.now), dark, what="change what is broken")


def _press_reset(vm: VM) -> None:
    # What it has said of a panic is of the time before.
    vm.undo_console()
    with refusals(f"{vm.name()} can't be reset"):
        vm.domain().reset()
    vm.guest.close()


def _log_in_soon(vm: VM) -> None:
    """Log in to a machine if it lets us in soon. One that stood for long has lost the connection of before."""
    if vm.guest.address:
        try:
            vm.guest.open(_SOON * vm.time_factor)
        except LagoError as error:
            LOG.debug("%s", error.render())


def _outside(vm: VM, kinds: Iterable[str], all_: Sequence[Fault]) -> None:
    """Set what a machine has from outside to what its faults say."""
    if DISK in kinds:
        conditions = _conditions(vm, all_)
        for disk in vm.spec.writable():
            disk_fault.set_condition(vm, disk.dev, conditions.get(disk.name, disk_fault.SOUND))
        # It was paused, as its disk was full.
        if disk_fault.waits(vm) and not any(condition.fails for condition in conditions.values()):
            checkpoint.resume(vm)
    if CPU in kinds:
        starve.limit(vm, min([one.settings["share"] for one in all_ if one.kind == CPU], default=starve.WHOLE))


def _inside(vm: VM, kinds: Iterable[str], all_: Sequence[Fault]) -> None:
    """Set what a guest has inside to what its faults say."""
    if not kinds:
        return
    vm.connect()
    if CLOCK in kinds:
        clock.tell(vm)
        clock.set_rate(vm)
    if MEMORY in kinds:
        left = min([one.settings["size"] for one in all_ if one.kind == MEMORY], default=vm.spec.memory)
        squeeze.hold(vm, vm.spec.memory - left)


def disks(env: VirtEnv, target: str) -> list[Disk]:
    """The disks that a word means, `db:root` or all of `db`.

    Raises:
        LagoError: there is no such machine or disk.
    """
    name, _, which = target.partition(":")
    vm = env.get_vm(name)
    found = _meant(vm, target)
    if not found:
        raise LagoError(
            f"{name} has no disk {which}".rstrip(), hint=near(which, [one.name for one in vm.spec.writable()])
        )
    return found


def _meant(vm: VM, target: str) -> list[Disk]:
    """The disks of a machine that a word means; none if that is of another one."""
    name, colon, which = target.partition(":")
    writable = vm.spec.writable() if name == vm.name() else ()
    return [disk for disk in writable if not colon or which in (disk.name, disk.dev)]


def _conditions(vm: VM, faults: Iterable[Fault]) -> dict[str, disk_fault.Condition]:
    """How the disks of a machine work, by name: as slow as the slowest fault says, and failing what any says."""
    found: dict[str, disk_fault.Condition] = {}
    for fault in faults:
        for target in fault.targets if fault.kind == DISK else ():
            for disk in _meant(vm, target):
                found[disk.name] = _add(found.get(disk.name, disk_fault.SOUND), fault)
    return found


def _add(condition: disk_fault.Condition, fault: Fault) -> disk_fault.Condition:
    def least(one: int, other: int) -> int:
        return min(one or other, other or one)

    wrong = fault.settings
    fails = {**_fails(wrong), **condition.fails}
    return condition._replace(
        iops=least(condition.iops, wrong.get("iops", 0)), rate=least(condition.rate, wrong.get("rate", 0)), fails=fails
    )


def _fails(wrong: Any) -> dict[str, int]:
    if wrong.get("full"):
        return disk_fault.failing(dict.fromkeys(disk_fault.WRITES, "ENOSPC"))
    if wrong.get("read_only"):
        return disk_fault.failing(dict.fromkeys(disk_fault.WRITES, "EROFS"))
    what = "both" if wrong.get("detach") else wrong.get("error", "")
    reads = disk_fault.READS if what in ("read", "both") else ()
    writes = disk_fault.WRITES if what in ("write", "both") else ()
    return disk_fault.failing(dict.fromkeys((*reads, *writes), "EIO"))


def _check_disk(env: VirtEnv, fault: Fault) -> str:
    said = [name for name in _FAILS if name in fault.settings]
    if len(said) > 1:
        both = " and ".join(f"--{name.replace('_', '-')}" for name in said)
        raise LagoError(f"disk takes one of {both}", hint="lago fault disk --help")
    if not fault.settings:
        raise LagoError(
            "disk does not say what is wrong", hint="--iops 20, --error write, --read-only, --detach, --full"
        )
    if said:
        disk_fault.check_fails(env.get_vm(min(fault.machines)))
    slow = {"iops", "rate"} & {*fault.settings}
    return " and ".join([*(["libvirt: iotune"] if slow else []), *(["QEMU: blkdebug"] if said else [])])


def _check_clock(_env: VirtEnv, fault: Fault) -> str:
    if not fault.settings:
        raise LagoError("clock does not say what is wrong", hint="lago fault clock db +1h, or --drift 100ppm")
    return "its clock is set inside"


def _check_cpu(env: VirtEnv, fault: Fault) -> str:
    if not _LEAST_SHARE <= fault.settings["share"] < 1:
        raise LagoError(
            f"{spell_share(fault.settings['share'])} of its processors can't be left to a machine",
            hint="from 1% to less than 100%",
        )
    return "libvirt: vcpu_quota" if env.hypervisor.shared else "QEMU is stopped in between"


def _check_memory(env: VirtEnv, fault: Fault) -> str:
    for name in fault.targets:
        has, size = env.get_vm(name).spec.memory, fault.settings["size"]
        if size >= has:
            raise LagoError(f"{name} has no more than {has}M of memory", hint=f"leave it less than {has}M")
    return "a file in its memory holds the rest"


_MEANS: Final = {
    POWER: lambda _env, _fault: "QEMU is killed",
    FREEZE: lambda _env, _fault: "libvirt: suspended",
    PANIC: lambda _env, _fault: "libvirt: an NMI",
    RESET: lambda _env, _fault: "libvirt: reset",
    DISK: _check_disk,
    CLOCK: _check_clock,
    CPU: _check_cpu,
    MEMORY: _check_memory,
}

MACHINES: Final = Machines()
"""The one that has all faults of machines."""

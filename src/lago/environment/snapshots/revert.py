"""Going back to a snapshot: machines that ran then run again from that instant, without a boot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ...errors import LagoError
from ...host.parallel import in_parallel, meanwhile, no_errand
from ...log import LOG, task
from ...virt import checkpoint
from . import in_place
from . import layers as disk_layers
from . import memory as saved_memory
from .index import Index, Snapshot, domain_with_tops
from .remove import tidy
from .wake import go_on, wait

if TYPE_CHECKING:
    from ...virt import VM, VirtEnv
    from ...virt.readiness import Phase
    from .in_place import Ways


def revert(
    env: VirtEnv,
    name: str,
    names: Iterable[str],
    on_phase: Phase,
    beside: Callable[[], None] = no_errand,
    *,
    begun: Callable[[], None] = no_errand,
    back: Callable[[], None] = no_errand,
    paused: bool = False,
    patience: float | None = None,
) -> None:
    """Go back with those machines of the snapshot that are named; what they did since is lost.

    Returns when all that run answer ssh.

    Args:
        beside: done while they are waited for.
        begun: done when it is sure that they go back, before the first has.
        back: done when all are back and none has gone on yet.
        paused: leave those that ran as they were brought back, standing still, and wait for none.
        patience: see `VM.wait_for_ssh`.

    Raises:
        LagoError: there is no such snapshot, or files of it are missing.
        HypervisorError: libvirt refuses; the disks are those of the snapshot then, and its machines down.
        VMNotReady: a machine does not answer.
    """
    paths, index = env.paths, Index.load(env.paths)
    snapshot = index.get(name)
    _check(env, snapshot)
    vms = [env.get_vm(vm) for vm in names if vm in snapshot.vms]
    ours = [vm for vm in vms if vm.provider is None]
    provided = [vm for vm in vms if vm.provider is not None]
    running = [vm for vm in ours if snapshot.vms[vm.name()].memory]
    below = {(vm, disk): path for vm, saved in snapshot.vms.items() for disk, path in saved.disks.items()}
    with task("Prepare disks"):
        tops = disk_layers.plan(index, [vm.spec for vm in ours], below)
        layers = disk_layers.build(paths, index, tops)
    try:
        if running:
            env.ensure()
        ways = in_place.ways(running, snapshot)
        with task("Stop machines"):
            ending = [vm for vm in ours if env.live and vm.alive() and vm.name() not in ways]
            in_parallel(_end, ending, what="stop VMs")
    except BaseException:
        disk_layers.unlink(paths, [top.path for top in tops])
        raise
    disk_layers.record(index, tops, layers)
    # Machines stand still when they are brought back; who finds us killed lets them go on.
    index.current, index.busy = name, bool(running)
    index.save(paths)
    begun()
    for vm in vms:
        vm.spec = domain_with_tops(vm.spec, index)
    with task("Bring machines back"):
        nets = {nic.net for vm in running for nic in vm.nics()}
        in_parallel(lambda net: env.get_net(net).start(), nets, what="start nets")
        in_place.halt([vm for vm in running if vm.name() in ways])
        for vm in vms:
            if nvram := snapshot.vms[vm.name()].nvram:
                shutil.copyfile(disk_layers.full(paths, nvram), paths.nvram(vm.name()))
        in_parallel(lambda vm: _bring_back(vm, snapshot, ways, on_phase), running, what="bring VMs back")
        # All are there before any goes on, so that none talks to one that is not.
        elsewhere = [vm.provider for vm in provided if vm.provider is not None]
        in_parallel(lambda one: one.revert_snapshot(name), elsewhere, what="bring VMs back")
        back()
        in_parallel(go_on, [] if paused else running, what="go on")
    index.busy = False
    in_place.keep_names(paths, index, tops, ways)
    index.save(paths)
    if paused:
        beside()
        return
    with task("Wait for ssh"), meanwhile(beside):
        awaited = [*running, *(vm for vm in provided if vm.alive())]
        in_parallel(lambda vm: wait(vm, on_phase, patience), awaited, what="wait for ssh", cancel=env.cancelled.set)
    tidy(env, index)
    if env.live:
        env.end_if_idle()


def _check(env: VirtEnv, snapshot: Snapshot) -> None:
    # Logs are for people, who may remove them.
    files = [path for vm in snapshot.vms.values() for path in vm._replace(console=None).files()]
    missing = [path for path in files if not os.path.exists(disk_layers.full(env.paths, path))]
    if missing:
        raise LagoError(
            f"files of the snapshot {snapshot.name} are missing: {', '.join(missing)}",
            hint=f"restore them, or lago snapshot delete {snapshot.name}",
        )


def _end(vm: VM) -> None:
    # What it holds of its disks is not wanted any more, and libvirt looks for its end only every 0.2 s.
    vm.env.hypervisor.kill(vm.libvirt_name())
    vm.stop()


def _bring_back(vm: VM, snapshot: Snapshot, ways: Ways, on_phase: Phase) -> None:
    on_phase(vm.name(), "coming back")
    # The guest knows the connection of before, if there is one, as it was then, and never ends it.
    vm.guest.close()
    vm.undo_console()
    if vm.name() in ways:
        try:
            in_place.go(vm, ways[vm.name()])
            return
        except in_place.REFUSALS as error:
            LOG.warning("%s is ended and started again, as it can't go back in place: %s", vm.name(), error)
            del ways[vm.name()]
            _end(vm)
    _restore(vm, snapshot)


def _restore(vm: VM, snapshot: Snapshot) -> None:
    tops = {disk.dev: disk_layers.full(vm.env.paths, disk.path) for disk in vm.spec.writable()}
    paths, saved = vm.env.paths, snapshot.vms[vm.name()]
    with saved_memory.unpacked(paths, str(saved.memory)) as memory:
        if saved.state:
            with saved_memory.unpacked(paths, saved.state) as state:
                checkpoint.restore_apart(vm, memory, state, tops)
        else:
            checkpoint.restore(vm, memory, tops)

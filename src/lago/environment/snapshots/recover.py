"""What is to do when an operation on snapshots was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from ...host.parallel import in_parallel
from ...log import LOG
from ...virt import checkpoint, clock, in_place, memory, migration
from . import guests, layers
from .in_place import follow
from .index import Index
from .remove import live_layers, live_memory

if TYPE_CHECKING:
    from ...virt import VirtEnv


def recover(env: VirtEnv) -> None:
    """Resume machines that stand still because Lago was killed meanwhile, and remove files that it left."""
    index = Index.load(env.paths)
    if not index.busy:
        return
    vms = list(env.get_vms().values())
    for vm in vms:
        if vm.libvirt_state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            continue
        if memory.in_files(vm) and (migration.waits(vm.domain()) or in_place.unfinished(vm.domain())):
            LOG.warning("%s was being brought back when Lago was killed, and is down", vm.name())
            vm.stop()
        elif not vm.env.on_purpose(vm.name()).stands:
            LOG.warning("%s stood still since Lago was killed, and goes on", vm.name())
            checkpoint.resume(vm)
            clock.put_right(vm)
    running = [vm for vm in vms if vm.provider is None and vm.alive()]
    in_parallel(guests.thaw, running, what="let guests write")
    for vm in running:
        follow(env.paths, index, vm)
    index.busy = False
    layers.prune(env.paths, index, [vm.spec for vm in vms], [*live_layers(env), *live_memory(env)])

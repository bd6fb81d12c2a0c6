"""Which machines go back to a snapshot in place, without being ended."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from typing import TYPE_CHECKING

import libvirt

from ...errors import LagoError
from ...host.parallel import in_parallel
from ...log import LOG
from ...virt import checkpoint, in_place
from .layers import full, in_index
from .memory import is_packed

if TYPE_CHECKING:
    from ...paths import Paths
    from ...virt import VM
    from .index import Index, Saved, Snapshot
    from .layers import NewTop

REFUSALS = (LagoError, OSError, libvirt.libvirtError, LookupError, ValueError)
"""What is raised where a machine can't go back in place, also by a QEMU that answers otherwise than those we know."""

Ways = MutableMapping[str, in_place.Way]
"""How machines go back, by name."""


def ways(vms: Iterable[VM], snapshot: Snapshot) -> Ways:
    """How those machines go back that can do so in place; the log says why others can't. Nothing is changed."""

    def one(vm: VM) -> in_place.Way | None:
        try:
            return in_place.find(vm, _files(vm, snapshot.vms[vm.name()]))
        except REFUSALS as error:
            LOG.info("%s is ended and started again: %s", vm.name(), error)
            return None

    found = in_parallel(one, [vm for vm in vms if vm.alive()], what="look for ways back")
    return {way.machine.name(): way for way in found if way is not None}


def _files(vm: VM, saved: Saved) -> in_place.Saved:
    if saved.memory is None or saved.state is None:
        raise LagoError("libvirt saved it as a whole")
    if is_packed(saved.memory) or is_packed(saved.state):
        raise LagoError("its memory is packed")
    disks = {disk.dev: saved.disks.get(disk.name) for disk in vm.spec.writable()}
    below = {dev: full(vm.env.paths, path) for dev, path in disks.items() if path is not None}
    if len(below) < len(disks):
        raise LagoError("it has other disks than then")
    return in_place.Saved(full(vm.env.paths, saved.memory), full(vm.env.paths, saved.state), below)


def halt(vms: Sequence[VM]) -> None:
    """Pause machines that go back in place. Raises HypervisorError."""
    in_parallel(checkpoint.pause, vms, what="pause VMs")


def go(vm: VM, way: in_place.Way) -> None:
    """Bring a machine back that was paused. Raises one of `REFUSALS` if it has to be ended."""
    in_place.go(way, {disk.dev: full(vm.env.paths, disk.path) for disk in vm.spec.writable()})


def keep_names(paths: Paths, index: Index, tops: Iterable[NewTop], went: Ways) -> None:
    """Record the new tops of machines that went back in place by the names of the old ones, which QEMU still uses."""
    for top in tops:
        if (way := went.get(top.vm)) is not None:
            name = in_index(paths, way.disks[top.disk.dev].path)
            index.tops[top.vm][top.disk.name] = name
            index.layers[name] = index.layers.pop(top.path)


def follow(paths: Paths, index: Index, vm: VM) -> None:
    """Record as the tops of a machine that runs those that it has; Lago may have been killed before it had others.

    Raises HypervisorError.
    """
    live = checkpoint.live_tops(vm)
    for disk in vm.spec.writable():
        name = in_index(paths, live[disk.dev])
        if name in index.layers:
            index.tops[vm.name()][disk.name] = name

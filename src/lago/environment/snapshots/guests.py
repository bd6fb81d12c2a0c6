"""What guests are asked for when a snapshot is taken that leaves memory out: to hold still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from ...errors import VMError
from ...log import LOG
from ...virt.connection import refusals

if TYPE_CHECKING:
    from ...virt import VM


def quiesce(vm: VM) -> str:
    """Tell a guest to write out what it has in memory, and to hold still if it can.

    Returns:
        How it was told: `agent`, `fsfreeze` or `sync`, which alone does not make it hold still; nothing if it stands.
    """
    if not vm.running():
        LOG.warning("%s stands still, so what it has not written out yet is not in the snapshot", vm.name())
        return ""
    try:
        vm.domain().fsFreeze()
        return "agent"
    except libvirt.libvirtError as error:
        LOG.debug("%s: %s", vm.name(), error)
    vm.connect()
    if not vm.guest.run("sync && fsfreeze --help >/dev/null 2>&1 && fsfreeze -f / && echo frozen"):
        return "fsfreeze"
    if vm.guest.run("sync"):
        raise VMError(f"{vm.name()} can't be told to write out what it has in memory")
    LOG.warning("%s has neither guest agent nor fsfreeze; what it writes meanwhile may be lost", vm.name())
    return "sync"


def unquiesce(vm: VM, how: str) -> None:
    """Tell a guest that `quiesce` halted to write again."""
    if how == "agent":
        with refusals(f"{vm.name()}: its file systems are still frozen"):
            vm.domain().fsThaw()
    elif how == "fsfreeze" and vm.guest.run("fsfreeze -u /"):
        raise VMError(f"{vm.name()}: its file system is still frozen", hint=f"lago stop {vm.name()}")

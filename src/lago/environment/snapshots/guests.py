"""What guests are asked for when a snapshot is taken that leaves memory out: to hold still."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Final

import libvirt

from ...errors import SSHError, VMError
from ...log import LOG
from ...virt.connection import refusals

if TYPE_CHECKING:
    from ...virt import VM


_PATIENCE: Final = 60.0
"""Seconds that a guest may take to write out what it has, times 5 when emulated."""

_THAWED: Final = 10.0
"""Seconds that it may take to go on."""


def quiesce(vm: VM) -> str:
    """Tell a guest to write out what it has in memory, and to hold still if it can.

    Returns:
        How it was told: `agent`, `fsfreeze` or `sync`, which alone does not make it hold still; nothing if it stands.
    """
    if not vm.running():
        LOG.warning("%s stands still, so what it has not written out yet is not in the snapshot", vm.name())
        return ""
    patience = _PATIENCE * vm.time_factor
    try:
        domain = vm.domain()
        domain.agentSetResponseTimeout(math.ceil(patience))
        domain.fsFreeze()
        return "agent"
    except libvirt.libvirtError as error:
        LOG.debug("%s: %s", vm.name(), error)
    vm.connect()
    if not vm.guest.run("sync && fsfreeze --help >/dev/null 2>&1 && fsfreeze -f / && echo frozen", timeout=patience):
        return "fsfreeze"
    if vm.guest.run("sync", timeout=patience):
        raise VMError(f"{vm.name()} can't be told to write out what it has in memory")
    LOG.warning("%s has neither guest agent nor fsfreeze; what it writes meanwhile may be lost", vm.name())
    return "sync"


def thaw(vm: VM) -> None:
    """Tell a guest to write again that may have been halted when Lago was killed; one that writes takes no notice."""
    patience = _THAWED * vm.time_factor
    with contextlib.suppress(libvirt.libvirtError):
        domain = vm.domain()
        domain.agentSetResponseTimeout(math.ceil(patience))
        domain.fsThaw()
        return
    if vm.guest.connected():
        try:
            vm.guest.run("fsfreeze --unfreeze / 2>/dev/null", timeout=patience)
        except (SSHError, VMError) as error:
            LOG.warning("%s may hold still since Lago was killed: %s", vm.name(), error)


def unquiesce(vm: VM, how: str) -> None:
    """Tell a guest that `quiesce` halted to write again."""
    if how == "agent":
        with refusals(f"{vm.name()}: its file systems are still frozen"):
            vm.domain().fsThaw()
    elif how == "fsfreeze" and vm.guest.run("fsfreeze -u /", timeout=_PATIENCE * vm.time_factor):
        raise VMError(f"{vm.name()}: its file system is still frozen", hint=f"lago stop {vm.name()}")

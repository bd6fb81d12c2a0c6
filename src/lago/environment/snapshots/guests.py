"""What guests are asked for when a snapshot is taken: to hold still, and to set their clocks."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Final

import libvirt

from ...errors import LagoError, VMError
from ...log import LOG
from ...virt.connection import refusals

if TYPE_CHECKING:
    from ...virt import VM

_CLOCK_PATIENCE: Final = 30.0

# GNU's date is asked for by its path, since busybox's shell takes its own; that one knows whole seconds only.
_SET_CLOCK: Final = """\
exec >/dev/null 2>&1
date=/bin/date
test -x $date || date=date
becomes() { $date -u -s "@$1" || sudo -n $date -u -s "@$1"; }
becomes "$1" || $date -u -d @0.5 || { sleep "$2"; becomes "$3"; }
exit 0
"""


def clock_command() -> str:
    """Tell a guest what time it is now, as far as it lets us: a command for its shell, to be sent at once.

    Its clock is then behind by as long as the command was on its way. Where it can be set to whole seconds only, that
    waits for the next one.
    """
    now = time.time()
    following = int(now) + 1
    return shlex.join(["sh", "-c", _SET_CLOCK, "sh", f"{now:.3f}", f"{following - now:.3f}", str(following)])


def set_clock(vm: VM) -> None:
    """Tell a guest what time it is, if there is a connection to it; it stood still, and its clock with it."""
    if not vm.guest.connected() or not vm.running():
        return
    try:
        vm.guest.run(clock_command(), timeout=_CLOCK_PATIENCE)
    except (LagoError, OSError) as error:
        LOG.debug("the clock of %s: %s", vm.name(), error)


def quiesce(vm: VM) -> str:
    """Tell a guest to write out what it has in memory, and to hold still if it can.

    Returns:
        How it was told: `agent`, `fsfreeze` or `sync`, which alone does not make it hold still.
    """
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

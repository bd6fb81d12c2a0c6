"""Kernels that are made to panic, by an interrupt that can't be masked (NMI).

Linux takes one of unknown origin for noise, unless `kernel.unknown_nmi_panic` says otherwise, which we do first.
https://www.kernel.org/doc/html/latest/admin-guide/sysctl/kernel.html#unknown-nmi-panic
"""

from __future__ import annotations

from typing import Final

from ..errors import LagoError, VMError
from ..host.waiting import within
from ..log import LOG
from .connection import refusals
from .inside import as_root
from .machine import Machine

_WORDS: Final = "Kernel panic - not syncing"
_PATIENCE: Final = 5.0
"""Seconds after which a guest that has not panicked is believed, on one that is not emulated."""

_PACE: Final = 0.05
_LISTEN: Final = "echo 1 >/proc/sys/kernel/unknown_nmi_panic"


_BOOTS: Final = "Linux version "


def panicked(machine: Machine) -> bool:
    """Whether the last that was heard of a machine's kernel is that it panicked, and not that it boots."""
    console = machine.console_text()
    return console.rfind(_WORDS) > console.rfind(_BOOTS)


def panic(machine: Machine) -> None:
    """Let the kernel of a guest panic that runs, and return when its console says so.

    A guest that is not logged in to gets the interrupt as well, and has to be one that panics at it.

    Raises:
        VMError: it did not panic.
        HypervisorError: libvirt refuses.
        VMNotRunning: the machine is down.
    """
    before = len(machine.console_text())
    told = "it could not be told to, as it is not logged in to"
    if machine.guest.connected():
        try:
            as_root(machine, _LISTEN, what="it can't be told to panic at an NMI")
            told = "it was told to"
        except LagoError as error:
            LOG.debug("%s", error.render())
            told = f"it could not be told to: {error}"
    with refusals(f"{machine.name()} can't be sent an NMI"):
        machine.domain().injectNMI()
    for left in within(_PATIENCE * machine.time_factor):
        if _WORDS in machine.console_text()[before:]:
            machine.guest.close()
            return
        machine.env.cancelled.wait(min(left, _PACE))
    raise VMError(
        f"{machine.name()} did not panic at an NMI",
        details=told,
        hint="let it boot with unknown_nmi_panic on its kernel's command line, and with console=ttyS0",
    )

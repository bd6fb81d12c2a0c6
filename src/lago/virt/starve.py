"""Processor time of a machine that is taken away from it.

Libvirt has a word for it that needs control groups. A private hypervisor has none, so there a program stops QEMU again
and again (`host.pace`); its guest sees its processors stand still, as those of a host that has too little of them.
"""

from __future__ import annotations

import os
import signal
from typing import Final

import libvirt

from ..errors import HypervisorError, VMNotRunning
from ..host import pace, waiting
from ..host.locks import end_holders, lock_if_free
from ..host.programs import DEVNULL, spawn
from .connection import refusals
from .machine import Machine

_PERIOD: Final = 100_000
"""Microseconds that libvirt measures in."""

WHOLE: Final = 1.0


def limit(machine: Machine, share: float) -> None:
    """Let a machine have only a share of the processor time that it could have, from now on until it ends.

    Args:
        share: more than 0; `WHOLE` gives all back.

    Raises:
        VMNotRunning: it is down.
        HypervisorError: libvirt refuses.
    """
    if machine.env.hypervisor.shared:
        _by_libvirt(machine, share)
        return
    lock = machine.env.paths.pace_lock(machine.name())
    if os.path.exists(lock):
        end_holders(lock)
        os.unlink(lock)
    pid = machine.env.hypervisor.process(machine.libvirt_name())
    if pid is None:
        raise VMNotRunning(f"{machine.name()} is not running", hint=f"lago start {machine.name()}")
    with waiting.pidfd(pid) as process:
        # Who was killed may have left it stopped.
        signal.pidfd_send_signal(process, signal.SIGCONT)
        if share < WHOLE:
            _start(lock, process, share)


def _by_libvirt(machine: Machine, share: float) -> None:
    quota = round(_PERIOD * share) if share < WHOLE else -1
    with refusals(f"{machine.name()} can't be starved", "libvirt does it by control groups, which this host must have"):
        wanted = {"vcpu_period": _PERIOD, "vcpu_quota": quota}
        machine.domain().setSchedulerParametersFlags(wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _start(lock: str, process: int, share: float) -> None:
    held = lock_if_free(lock)
    if held is None:
        raise HypervisorError(f"{lock} is held by another process", hint="end it")
    try:
        argv = pace.argv(process, share)
        with spawn(argv, stdout=DEVNULL, stderr=DEVNULL, pass_fds=[process, held], cwd="/") as parent:
            parent.wait()
    finally:
        os.close(held)

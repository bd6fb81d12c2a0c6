"""Machines that are asked to power off or to boot again: by the power button, by their agent, and then not asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import libvirt

from ..host.waiting import within
from ..log import LOG
from .connection import refusals
from .machine import Machine

ACPI: Final = "ACPI"
AGENT: Final = "guest agent"
FORCE: Final = "force"

_PATIENCE: Final = {ACPI: 60.0, AGENT: 30.0}
"""Seconds that a way gets, on a machine that is not emulated."""

_AGAIN: Final = 10.0
"""Seconds after which the button is pressed again: a guest that boots loses what comes before it has the driver."""


def off(machine: Machine) -> str:
    """Power a machine off that runs; which way that took: ACPI, guest agent or force."""
    ways = {ACPI: libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN, AGENT: libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT}
    ended = machine.env.lifecycle.ended(machine.libvirt_name())
    how = _by_one_of(ways, machine, machine.domain().shutdownFlags, ended)
    machine.stop()
    return how


def again(machine: Machine) -> str:
    """Boot a machine again that runs, without waiting until it answers; which way that took."""
    ways = {ACPI: libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN, AGENT: libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT}
    domain = machine.domain()
    rebooted = machine.env.lifecycle.rebooted(machine.libvirt_name())
    rebooted.clear()
    how = _by_one_of(ways, machine, domain.reboot, rebooted)
    if how == FORCE:
        with refusals(f"{machine.name()} can't be reset"):
            domain.reset()
    machine.guest.close()
    return how


def _by_one_of(ways: Mapping[str, int], machine: Machine, ask: Callable[[int], object], done: threading.Event) -> str:
    """Ask a machine by one way after the other until it does what it is asked for; return that way, or force."""
    running = machine.state() == "running"
    return next((way for way in ways if running and _obeys(machine, way, partial(ask, ways[way]), done)), FORCE)


def _obeys(machine: Machine, way: str, ask: Callable[[], object], done: threading.Event) -> bool:
    for left in within(_PATIENCE[way] * machine.env.accel.time_factor):
        if not left or machine.env.cancelled.is_set():
            break
        try:
            ask()
        except libvirt.libvirtError as error:
            LOG.debug("%s: %s: %s", machine.name(), way, error)
            return not machine.alive()
        if done.wait(min(left, _AGAIN)):
            return True
    LOG.warning("%s does not heed the %s", machine.name(), way)
    return False

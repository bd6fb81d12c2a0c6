"""The virtual machines that hosts run for an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from ovirtsdk4.types import Vm, VmStatus

from . import steps, waiting
from .contract import Engine, Step
from .events import refusals

if TYPE_CHECKING:
    from ovirtsdk4 import Connection
    from ovirtsdk4.services import VmService

TIMEOUT: Final = 480
"""Seconds that virtual machines may take to start."""

_HEED: Final = 0.5
"""Of the time that they may take to stop, how much is for doing so by themselves."""

_BUSY: Final = (
    VmStatus.IMAGE_LOCKED,
    VmStatus.MIGRATING,
    VmStatus.POWERING_DOWN,
    VmStatus.POWERING_UP,
    VmStatus.REBOOT_IN_PROGRESS,
    VmStatus.RESTORING_STATE,
    VmStatus.SAVING_STATE,
    VmStatus.WAIT_FOR_LAUNCH,
)
_STARTING: Final = (VmStatus.DOWN, VmStatus.PAUSED, VmStatus.SUSPENDED)


def start(engine: Engine, names: Iterable[str] = (), timeout: float = TIMEOUT) -> list[str]:
    """Start virtual machines, side by side, and wait until they run.

    Args:
        engine: whose virtual machines they are.
        names: as the engine calls them; all, if none is named.
        timeout: seconds that each may take; where machines are emulated it gets more.

    Returns:
        The names of all.

    Raises:
        EngineError: one does not run in time.
        Errors: several do not.
        LagoError: there is none of a name.
    """

    def begin(vm: Vm) -> Step:
        def step(api: Connection) -> str:
            service = _service(api, vm.id)
            status = service.get().status
            if status == VmStatus.UP:
                return ""
            if status in _STARTING:
                service.start()
            return f"it is {status}"

        return step

    return _each(engine, names, "start", begin, timeout * engine.env.accel.time_factor)


def stop(engine: Engine, names: Iterable[str] = ()) -> list[str]:
    """Shut virtual machines down, side by side, and wait until they are down.

    One that does not heed it in half of its time is stopped as by pulling the plug.

    Args:
        engine: whose virtual machines they are.
        names: as the engine calls them; all, if none is named.

    Returns:
        The names of all.

    Raises:
        EngineError: one is not down in time.
        Errors: several are not.
        LagoError: there is none of a name.
    """
    seconds = waiting.short(engine)

    def begin(vm: Vm) -> Step:
        began = time.monotonic()

        def step(api: Connection) -> str:
            service = _service(api, vm.id)
            status = service.get().status
            if status == VmStatus.DOWN:
                return ""
            if time.monotonic() - began > seconds * _HEED:
                service.stop()
            elif status not in _BUSY:
                service.shutdown()
            return f"it is {status}"

        return step

    return _each(engine, names, "stop", begin, seconds)


def running(engine: Engine) -> list[str]:
    """Return the names of the virtual machines of an engine that are not down. Raises EngineError."""
    return [vm.name for vm in _list(engine) if vm.status not in (VmStatus.DOWN, VmStatus.SUSPENDED)]


def _list(engine: Engine) -> list[Vm]:
    with refusals(engine):
        return list(engine.get_api().system_service().vms_service().list())


def _service(api: Connection, vm: str) -> VmService:
    return api.system_service().vms_service().vm_service(vm)


def _each(engine: Engine, names: Iterable[str], command: str, begin: Callable[[Vm], Step], seconds: float) -> list[str]:
    return steps.each(engine, steps.select(_list(engine), names), command, "virtual machine", begin, seconds)

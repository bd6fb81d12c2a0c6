"""The virtual machines that hosts run for an engine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ovirtsdk4.types import VmStatus

from lago.host.parallel import in_parallel
from lago.log import task

from . import waiting
from .events import refusals
from .hosts import selected

if TYPE_CHECKING:
    from .machine import EngineVM

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


def start(engine: EngineVM, names: Iterable[str] = (), timeout: float = TIMEOUT) -> list[str]:
    """Start virtual machines (all, if none is named), side by side, and wait until they run; the names of all.

    Args:
        timeout: seconds.

    Raises:
        EngineError: one does not run in time.
        LagoError: there is none of a name.
    """
    seconds = timeout * engine.env.accel.time_factor

    def step(service: Any, _began: float) -> str:
        status = service.get().status
        if status == VmStatus.UP:
            return ""
        if status in _STARTING:
            service.start()
        return f"it is {status}"

    return _each(engine, names, "start", step, seconds)


def stop(engine: EngineVM, names: Iterable[str] = ()) -> list[str]:
    """Shut virtual machines down (all, if none is named), side by side; the names of all.

    One that does not heed it in half of its time is stopped as by pulling the plug. Errors are as of `start`.
    """
    seconds = waiting.short(engine)

    def step(service: Any, began: float) -> str:
        status = service.get().status
        if status == VmStatus.DOWN:
            return ""
        if time.monotonic() - began > seconds * _HEED:
            service.stop()
        elif status not in _BUSY:
            service.shutdown()
        return f"it is {status}"

    return _each(engine, names, "stop", step, seconds)


def running(engine: EngineVM) -> list[str]:
    """Names of the virtual machines that are not down. Raises EngineError."""
    return [vm.name for vm in _list(engine) if vm.status not in (VmStatus.DOWN, VmStatus.SUSPENDED)]


def _list(engine: EngineVM) -> list[Any]:
    with refusals(engine):
        return list(engine.get_api().system_service().vms_service().list())


def _each(engine: EngineVM, names: Iterable[str], verb: str, step: Any, seconds: float) -> list[str]:
    vms = selected(_list(engine), names)

    def one(vm: Any) -> None:
        began = time.monotonic()
        with task(f"{verb.capitalize()} virtual machine {vm.name}"):
            waiting.wait_until(
                engine,
                f"{verb} virtual machine {vm.name}",
                lambda api: step(api.system_service().vms_service().vm_service(vm.id), began),
                seconds,
            )

    in_parallel(one, vms, what=f"{verb} virtual machines", cancel=engine.env.cancelled.set)
    return [vm.name for vm in vms]

"""Hosts as an engine sees them: into maintenance, and up again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ovirtsdk4.types import Host, HostStatus

from . import steps, waiting
from .contract import Engine, Step
from .events import refusals

if TYPE_CHECKING:
    from ovirtsdk4 import Connection
    from ovirtsdk4.services import HostService

_BUSY: Final = (
    HostStatus.CONNECTING,
    HostStatus.INITIALIZING,
    HostStatus.INSTALLING,
    HostStatus.PREPARING_FOR_MAINTENANCE,
    HostStatus.REBOOT,
    HostStatus.UNASSIGNED,
)
"""A host that is about to become something else."""


def deactivate(engine: Engine, names: Iterable[str] = ()) -> list[str]:
    """Put hosts into maintenance, side by side.

    Args:
        engine: whose hosts they are.
        names: as the engine calls them; all, if none is named.

    Returns:
        The names of all.

    Raises:
        EngineError: one does not get there in time.
        Errors: several do not.
        LagoError: there is no host of a name.
    """
    return _all_to(engine, names, HostStatus.MAINTENANCE, "deactivate")


def activate(engine: Engine, names: Iterable[str] = ()) -> list[str]:
    """Activate hosts, side by side; arguments, names that are returned and errors are as of `deactivate`."""
    return _all_to(engine, names, HostStatus.UP, "activate")


def _all_to(engine: Engine, names: Iterable[str], wanted: HostStatus, action: str) -> list[str]:
    with refusals(engine):
        hosts = steps.select(engine.get_api().system_service().hosts_service().list(), names)

    def begin(host: Host) -> Step | None:
        if host.status == wanted:
            return None
        return lambda api: steps.towards(_service(api, host.id), wanted, action, _BUSY)

    return steps.each(engine, hosts, action, "host", begin, waiting.short(engine))


def _service(api: Connection, host: str) -> HostService:
    return api.system_service().hosts_service().host_service(host)

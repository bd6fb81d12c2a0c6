"""Hosts as an engine sees them: into maintenance, and up again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ovirtsdk4.types import HostStatus

from lago.errors import LagoError
from lago.host.parallel import in_parallel
from lago.host.suggest import near
from lago.log import task

from . import waiting
from .events import refusals

if TYPE_CHECKING:
    from .machine import EngineVM

_BUSY: Final = (
    HostStatus.CONNECTING,
    HostStatus.INITIALIZING,
    HostStatus.INSTALLING,
    HostStatus.PREPARING_FOR_MAINTENANCE,
    HostStatus.REBOOT,
    HostStatus.UNASSIGNED,
)
"""A host that is about to become something else."""


def deactivate(engine: EngineVM, names: Iterable[str] = ()) -> list[str]:
    """Put hosts (all, if none is named) into maintenance, side by side; the names of all.

    Raises:
        EngineError: one does not get there in time.
        LagoError: there is no host of a name.
    """
    return _all_to(engine, names, HostStatus.MAINTENANCE, "deactivate")


def activate(engine: EngineVM, names: Iterable[str] = ()) -> list[str]:
    """Let hosts (all, if none is named) be up, side by side; the names of all. Errors are as of `deactivate`."""
    return _all_to(engine, names, HostStatus.UP, "activate")


def _all_to(engine: EngineVM, names: Iterable[str], wanted: HostStatus, action: str) -> list[str]:
    with refusals(engine):
        hosts = selected(engine.get_api().system_service().hosts_service().list(), names)

    def one(host: Any) -> None:
        if host.status == wanted:
            return
        with task(f"{action.capitalize()} host {host.name}"):
            waiting.wait_until(
                engine,
                f"{action} host {host.name}",
                lambda api: waiting.towards(_service(api, host.id), wanted, action, _BUSY),
                waiting.short(engine),
            )

    in_parallel(one, hosts, what=f"{action} hosts", cancel=engine.env.cancelled.set)
    return [host.name for host in hosts]


def _service(api: Any, host: str) -> Any:
    return api.system_service().hosts_service().host_service(host)


def selected(found: Iterable[Any], names: Iterable[str]) -> list[Any]:
    """What an engine has, by name; all, if none is named. Raises LagoError if there is none of a name."""
    known = {one.name: one for one in found}
    wanted = list(names) or list(known)
    for name in wanted:
        if name not in known:
            raise LagoError(f"the engine has no {name}", hint=near(name, known))
    return [known[name] for name in wanted]

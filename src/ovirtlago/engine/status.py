"""What there is in an oVirt environment, and how it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lago.errors import LagoError

from ..machines import machine_of
from .contract import Engine

if TYPE_CHECKING:
    from ovirtsdk4.services import SystemService

    from lago.virt import VM

    from ..machines import HostVM


def status(
    engine: Engine | None, hosts: Iterable[HostVM], machines: Collection[VM], states: Mapping[str, str]
) -> dict[str, Any]:
    """Return the machines by role, and what the engine says, if it answers; it is asked once and not waited for.

    Args:
        engine: of the environment, if it has one.
        hosts: machines that are hosts.
        machines: all machines of the environment.
        states: a word for each machine by name, such as `running`.

    Returns:
        `Engine`, `Hosts`, and if the engine answers `Data centers` and `Virtual machines`, as `lago ovirt status` shows
        them.
    """
    data: dict[str, Any] = {"Hosts": {vm.name(): {"machine": states[vm.name()]} for vm in hosts}}
    if engine is None:
        return {**data, "Engine": None}
    about: dict[str, Any] = {"name": engine.name(), "machine": states[engine.name()]}
    if about["machine"] == "running":
        try:
            # Once, as a connection is tried out each time it is asked for.
            system = engine.get_api(wait=False).system_service()
            about |= _engine(engine, system)
            data |= _inventory(engine, machines, system, data["Hosts"])
        except LagoError as error:
            about["api"] = error.what
    return {**data, "Engine": about}


def access(engine: Engine) -> dict[str, str]:
    """Return where the pages of an engine are (`url`), and how to log in (`user`, `password`).

    Raises:
        VMNotRunning, VMNotReady: its machine does not run or answer.
        EngineError: it is not set up.
    """
    return {"url": engine.identity().url, "user": engine.user(), "password": engine.password()}


def _engine(engine: Engine, system: SystemService) -> dict[str, Any]:
    from .events import describe, refusals

    with refusals(engine):
        events = system.events_service().list(max=1)
        version = system.get().product_info.version.full_version
    last = describe(events[0]) if events else None
    return {**access(engine), "api": "up", "version": version, "last event": last}


def _inventory(
    engine: Engine, machines: Collection[VM], system: SystemService, known: Mapping[str, Any]
) -> dict[str, Any]:
    from .events import refusals

    with refusals(engine):
        hosts: dict[str, Any] = {name: dict(machine) for name, machine in known.items()}
        for host in system.hosts_service().list():
            machine = machine_of(machines, host.address, host.name)
            hosts.setdefault(machine.name() if machine else host.name, {}).update(engine=str(host.status))
        centres = system.data_centers_service()
        storage = {
            centre.name: {
                "status": str(centre.status),
                "storage": {
                    one.name: f"{one.status}{', master' if one.master else ''}"
                    for one in centres.data_center_service(centre.id).storage_domains_service().list()
                },
            }
            for centre in centres.list()
        }
        vms = {vm.name: str(vm.status) for vm in system.vms_service().list()}
    return {"Hosts": hosts, "Data centers": storage, "Virtual machines": vms}

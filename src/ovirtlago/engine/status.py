"""What there is in an oVirt environment, and how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lago.errors import LagoError

from ..machines import machine_of

if TYPE_CHECKING:
    from ..virt import OvirtVirtEnv
    from .machine import EngineVM


def status(env: OvirtVirtEnv) -> dict[str, Any]:
    """The machines by role, and what the engine says, if it answers; it is asked once and not waited for."""
    engine = env.engine_vm()
    states = env.states()
    data: dict[str, Any] = {"Hosts": {vm.name(): {"machine": states[vm.name()]} for vm in env.host_vms()}}
    if engine is None:
        return {**data, "Engine": None}
    about: dict[str, Any] = {"name": engine.name(), "machine": states[engine.name()]}
    if about["machine"] == "running":
        try:
            # Once, as a connection is tried out each time it is asked for.
            system = engine.get_api(wait=False).system_service()
            about |= _engine(engine, system)
            data |= _inventory(env, engine, system, data["Hosts"])
        except LagoError as error:
            about["api"] = error.what
    return {**data, "Engine": about}


def access(engine: EngineVM) -> dict[str, Any]:
    """Where the engine's pages are, and how to log in. Raises EngineError."""
    return {"url": engine.identity().url, "user": engine.user(), "password": engine.password()}


def _engine(engine: EngineVM, system: Any) -> dict[str, Any]:
    from .events import described, refusals

    with refusals(engine):
        events = system.events_service().list(max=1)
        version = system.get().product_info.version.full_version
    last = described(events[0]) if events else None
    return {**access(engine), "api": "up", "version": version, "last event": last}


def _inventory(env: OvirtVirtEnv, engine: EngineVM, system: Any, machines: dict[str, Any]) -> dict[str, Any]:
    from .events import refusals

    with refusals(engine):
        hosts: dict[str, Any] = {name: dict(machine) for name, machine in machines.items()}
        for host in system.hosts_service().list():
            machine = machine_of(env, host.address, host.name)
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

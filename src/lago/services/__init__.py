"""Services of guests, by whatever manages them there.

| `service_provider` | is there if the guest has | manages |
|---|---|---|
| `systemd_container` | `/usr/bin/docker` | systemd in the container `vdsmc`, or else of the guest |
| `systemd` | `/usr/bin/systemctl` | units |
| `sysvinit` | `/sbin/service` | scripts in `/etc/init.d` |

The first one that is there is taken; those of plugins come after ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .. import plugins
from ..errors import LagoError, VMError
from ..host.suggest import near
from ..plugins import contracts
from .base import Service, run
from .container import SystemdContainerService
from .systemd import SystemdService
from .sysvinit import SysVInitService

__all__ = [
    "Service",
    "SysVInitService",
    "SystemdContainerService",
    "SystemdService",
    "agent",
    "detect",
    "provider",
]

OWN: Final[dict[str, type[Service]]] = {
    "systemd_container": SystemdContainerService,
    "systemd": SystemdService,
    "sysvinit": SysVInitService,
}
_AGENTS: Final = ("qemu-guest-agent", "qemu-ga")


def provider(name: str) -> type[contracts.ServicePlugin]:
    """The class of services that a `service_provider` names. Raises LagoError if it is not there."""
    offered = {entry.name: entry for entry in plugins.entries(plugins.VM_SERVICE)}
    found: type[contracts.ServicePlugin] | None = OWN.get(name)
    if found is None and name in offered:
        found = plugins.load_one(offered[name])
    if found is None:
        why = "could not be loaded" if name in offered else "is not installed"
        raise LagoError(f"the service provider {name} {why}", hint=near(name, [*OWN, *offered]))
    return found


def detect(vm: contracts.Machine) -> str:
    """Find out what manages the services of a machine, by one command on it, and return its name.

    Raises:
        VMError: it has nothing that we know.
    """
    known: dict[str, type[contracts.ServicePlugin]] = {**OWN}
    known |= {name: found for name, found in plugins.load(plugins.VM_SERVICE).items() if name not in OWN}
    there = run(vm, ["sh", "-c", 'for path; do test -e "$path" && echo "$path"; done; true', "sh", *_paths(known)])
    found = there.text.splitlines()
    for name, kind in known.items():
        if kind.BIN_PATH in found and (name in OWN or kind.is_supported(vm)):
            return name
    raise VMError(
        f"{vm.name()} has no service manager that is known",
        details=f"it has none of {', '.join(_paths(known))}",
        hint="is it systemd or sysvinit? a plugin may know others",
    )


def _paths(known: Mapping[str, type[contracts.ServicePlugin]]) -> list[str]:
    return [kind.BIN_PATH for kind in known.values()]


def agent(vm: contracts.Machine) -> contracts.Service:
    """Find the service of a machine that is QEMU's guest agent. Raises VMError if it has none."""
    for name in _AGENTS:
        found = vm.service(name)
        if found.exists():
            return found
    raise VMError(f"{vm.name()} has no guest agent", hint="install qemu-guest-agent on it")

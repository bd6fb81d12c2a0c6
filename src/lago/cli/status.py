"""What `lago status` prints of an environment: its data, with the labels of earlier releases, and tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from . import output

if TYPE_CHECKING:
    from ..environment.faults.model import Fault
    from ..environment.status import Machine, Status

_NO_ADDRESS = "N/A"
_PAUSED = "machines stand paused since they were forked; the first use of one lets them go on, as lago start does"


def label(status: Status, *, for_people: bool = False) -> dict[str, Any]:
    """Return the data that is printed in the output formats.

    Args:
        for_people: it is for the default format, which has exactly what earlier releases printed.
    """
    data: dict[str, Any] = {
        "Base directory": status.path,
        "Networks": {
            name: {"gateway": net.gateway, "management": net.management, "status": net.state}
            for name, net in status.networks.items()
        },
        "UUID": status.uuid,
        "VMs": {name: _machine(vm, for_people=for_people) for name, vm in status.machines.items()},
    }
    if status.snapshots:
        data["Snapshots"] = {name: {"bytes on disk": size} for name, size in status.snapshots.items()}
    if status.paused:
        data["Paused"] = _PAUSED
    if status.faults:
        data["Faults"] = {one.id: _fault(one) for one in status.faults}
    return {"Prefix": data}


def _fault(fault: Fault) -> dict[str, Any]:
    from ..environment.faults import words

    return {"fault": words.spell(fault), "since": output.when(fault.since)}


def _machine(vm: Machine, *, for_people: bool) -> dict[str, Any]:
    return {
        **({} if for_people else {"host name": vm.host_name}),
        "NICs": {name: {"ip": nic.ip or _NO_ADDRESS, "network": nic.net} for name, nic in vm.nics.items()},
        "distro": vm.distro,
        "metadata": vm.metadata,
        "root password": vm.root_password,
        "snapshots": ", ".join(vm.snapshots),
        "status": vm.state,
    }


def show(status: Status, stream: TextIO) -> None:
    """Print it as tables."""
    console = output.console(stream)
    console.print(output.cell(status.path, "bold"), f" uuid {status.uuid}")
    vms = []
    for name, vm in status.machines.items():
        state = output.cell(vm.state, "green" if vm.state == "running" else "yellow")
        addresses = ", ".join(f"{nic.net} {nic.ip or _NO_ADDRESS}" for nic in vm.nics.values())
        vms.append((name, state, addresses, vm.distro or ""))
    nets = []
    for name, net in status.networks.items():
        state = output.cell(net.state, "green" if net.state == "up" else "yellow")
        nets.append((name, state, net.gateway or "", "management" if net.management else ""))
    for headers, rows in ((("VM", "status", "addresses", "distro"), vms), (("net", "status", "gateway", ""), nets)):
        console.print()
        output.print_table(stream, headers, rows)
    if status.faults:
        from ..environment.faults import words

        console.print()
        broken = [(one.id, words.spell(one), output.when(one.since, " ")) for one in status.faults]
        output.print_table(stream, ("broken", "", "since"), broken)
    if status.paused:
        console.print()
        console.print(output.cell(_PAUSED))

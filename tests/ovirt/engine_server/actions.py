"""What can be done to things, and when it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .state import State, Thing

Action = Callable[[State, str, Thing], None]


def hosts_up(state: State) -> bool:
    """Whether a host is up."""
    return any(host["status"] == "up" for host in state.of("hosts").values())


def centre_status(state: State, centre: str) -> str:
    """The status of a data center, which follows from those of its hosts and its master."""
    masters = [one for one in state.of("storagedomains").values() if one["datacenter"] == centre and one["master"]]
    if not masters:
        return "uninitialized"
    if hosts_up(state) and any(one["status"] == "active" for one in masters):
        return "up"
    return "maintenance" if all(one["status"] == "maintenance" for one in masters) else "not_operational"


def _vms_run(state: State) -> bool:
    return any(vm["status"] != "down" for vm in state.of("vms").values())


def _host_down(state: State, number: str, host: Thing) -> None:
    if host["status"] in ("maintenance", "preparing_for_maintenance"):
        state.refuse("Cannot switch Host to Maintenance mode. Host is in maintenance mode already.")
    if _vms_run(state):
        state.refuse("Cannot switch Host to Maintenance mode. There is no other host to migrate its VMs to.")
    state.change("hosts", number, "preparing_for_maintenance", "maintenance")


def _host_up(state: State, number: str, host: Thing) -> None:
    if host["status"] == "up":
        state.refuse("Cannot activate Host. Host is already up.")
    state.change("hosts", number, "unassigned", "up")


def _storage_down(state: State, number: str, domain: Thing) -> None:
    others = [one for one in state.of("storagedomains").values() if one is not domain]
    if domain["status"] != "active":
        state.refuse("Cannot deactivate Storage. The relevant Storage Domain's status is not active.")
    if _vms_run(state):
        state.refuse("Cannot deactivate Storage while VMs run on it.")
    if not hosts_up(state):
        state.refuse("Cannot deactivate Storage. There is no active Host in the Data Center.")
    if domain["master"] and any(one["status"] != "maintenance" for one in others):
        state.refuse("Cannot deactivate Master Data Domain while there are others that are active.")
    state.change("storagedomains", number, "preparing_for_maintenance", "maintenance")


def _storage_up(state: State, number: str, domain: Thing) -> None:
    if domain["status"] == "active":
        state.refuse("Cannot activate Storage. It is active already.")
    if not hosts_up(state):
        state.refuse("Cannot activate Storage. There is no active Host in the Data Center.")
    if not domain["master"] and not any(
        one["master"] and one["status"] == "active" for one in state.of("storagedomains").values()
    ):
        state.refuse("Cannot activate Storage. The Master Data Domain is not active.")
    state.change("storagedomains", number, "activating", "active")


def _vm_up(state: State, number: str, vm: Thing) -> None:
    if vm["status"] != "down":
        state.refuse("Cannot run VM. VM is running.")
    if not hosts_up(state):
        state.refuse("Cannot run VM. There is no host that satisfies current scheduling constraints.")
    host = next(number for number, host in state.of("hosts").items() if host["status"] == "up")
    state.change("vms", number, "powering_up", "up", host=host)


def _vm_off(state: State, number: str, vm: Thing) -> None:
    if vm["status"] == "down":
        state.refuse("Cannot stop VM. VM is not running.")
    state.change("vms", number, "powering_down", "down")


def _vm_shutdown(state: State, number: str, vm: Thing) -> None:
    if vm["status"] == "down":
        state.refuse("Cannot shutdown VM. VM is not running.")
    if state.faults.of("vms", vm["name"]).get("deaf"):
        state.event(f"The guest in {vm['name']} does not heed it.", "warning")
        return
    state.change("vms", number, "powering_down", "down")


def _transfer_end(state: State, transfer: Thing, phase: str) -> None:
    transfer["phase"] = phase
    state.of("disks")[transfer["disk"]]["status"] = "ok"
    state.event(f"Image transfer: {phase}.")
    state.save()


def _finalize(state: State, _number: str, transfer: Thing) -> None:
    whole = transfer["received"] == state.of("disks")[transfer["disk"]]["size"]
    _transfer_end(state, transfer, "finished_success" if whole else "finished_failure")


def _cancel(state: State, _number: str, transfer: Thing) -> None:
    _transfer_end(state, transfer, "cancelled_user")


ACTIONS: dict[tuple[str, str], Action] = {
    ("hosts", "activate"): _host_up,
    ("hosts", "deactivate"): _host_down,
    ("storagedomains", "activate"): _storage_up,
    ("storagedomains", "deactivate"): _storage_down,
    ("vms", "start"): _vm_up,
    ("vms", "stop"): _vm_off,
    ("vms", "shutdown"): _vm_shutdown,
    ("imagetransfers", "finalize"): _finalize,
    ("imagetransfers", "cancel"): _cancel,
}


def add_disk(state: State, disk: Any) -> str:
    """A new disk, as an element of a request says; its identifier."""
    name, size = disk.findtext("name"), int(disk.findtext("provisioned_size"))
    domain = disk.find("storage_domains/storage_domain").get("id")
    if domain not in state.of("storagedomains"):
        state.refuse("Cannot add Virtual Disk. Storage Domain doesn't exist.")
    content = disk.findtext("content_type")
    number = state.add("disks", name=name, size=size, content=content, status="ok", domain=domain)
    state.change("disks", number, "locked", "ok")
    return number


def add_transfer(state: State, transfer: Any, fqdn: str, port: int) -> str:
    """A new image transfer, as an element of a request says; its identifier."""
    disk = transfer.find("disk").get("id")
    if state.of("disks")[disk]["status"] != "ok":
        state.refuse("Cannot transfer image. The disk is locked.")
    state.of("disks")[disk]["status"] = "locked"
    number = state.add("imagetransfers", name=disk, disk=disk, phase="transferring", received=0)
    state.of("imagetransfers")[number]["url"] = f"https://{fqdn}:{port}/images/{number}"
    state.event("Image transfer opened.")
    state.save()
    return number

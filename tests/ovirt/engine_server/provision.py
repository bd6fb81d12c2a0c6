"""How things come into being: data centers, clusters, hosts, storage domains, virtual machines and what they have."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

from .actions import hosts_up
from .state import REMOVED, State, Thing

Add = Callable[[State, ET.Element, str], str]
"""Makes a thing as an element of a request says; the last argument is what it is to be part of. Its identifier."""
Action = Callable[[State, str, ET.Element], None]


def _text(wanted: ET.Element, path: str, state: State) -> str:
    found = wanted.findtext(path)
    if not found:
        return state.refuse(f"Cannot add {wanted.tag}. {path} is required.")
    return found


def _name(wanted: ET.Element, state: State, kind: str) -> str:
    name = _text(wanted, "name", state)
    if any(one["name"] == name for one in state.of(kind).values()):
        state.refuse(f"Cannot add {wanted.tag}. The name {name} is already in use.")
    return name


def _meant(state: State, kind: str, element: ET.Element | None) -> str:
    """The identifier of the thing that a request means, by identifier or by name."""
    number = element.get("id") if element is not None else None
    name = element.findtext("name") if element is not None else None
    for known, one in state.of(kind).items():
        if known == number or (number is None and one["name"] == name):
            return known
    return state.refuse(f"There is no such thing in {kind}: {number or name}.")


def _centre(state: State, wanted: ET.Element, _owner: str) -> str:
    return state.add("datacenters", name=_name(wanted, state, "datacenters"))


def _cluster(state: State, wanted: ET.Element, _owner: str) -> str:
    centre = _meant(state, "datacenters", wanted.find("data_center"))
    cpu = wanted.findtext("cpu/type") or ""
    return state.add("clusters", name=_name(wanted, state, "clusters"), cpu=cpu, datacenter=centre)


def _host(state: State, wanted: ET.Element, _owner: str) -> str:
    cluster = _meant(state, "clusters", wanted.find("cluster"))
    _text(wanted, "root_password", state)
    name, address = _name(wanted, state, "hosts"), _text(wanted, "address", state)
    number = state.add("hosts", name=name, address=address, status="installing", cluster=cluster, targets={})
    state.change("hosts", number, "installing", "up")
    return number


def _storage(state: State, wanted: ET.Element, _owner: str) -> str:
    host = state.of("hosts")[_meant(state, "hosts", wanted.find("host"))]
    if host["status"] != "up":
        state.refuse("Cannot add Storage. The host is not up.")
    about = {"name": _name(wanted, state, "storagedomains"), "type": _text(wanted, "type", state)}
    kind = _text(wanted, "storage/type", state)
    if kind == "nfs":
        about |= {"address": _text(wanted, "storage/address", state), "path": _text(wanted, "storage/path", state)}
    else:
        seen = {lun for target in host["targets"].values() for lun in target["luns"]}
        luns = [lun.get("id") for lun in wanted.iterfind("storage/volume_group/logical_units/logical_unit")]
        if not luns or not seen.issuperset(luns):
            state.refuse("Cannot add Storage. The host does not see these LUNs.")
    return state.add("storagedomains", **about, status="unattached", master=False, datacenter="")


def attach(state: State, wanted: ET.Element, centre: str) -> str:
    """Attach a storage domain, as an element of a request says, to a data center; its identifier."""
    number = _meant(state, "storagedomains", wanted)
    domain = state.of("storagedomains")[number]
    others = [one for one in state.of("storagedomains").values() if one["datacenter"] == centre]
    if domain["datacenter"]:
        state.refuse("Cannot attach Storage. The Storage Domain is attached already.")
    if not hosts_up(state):
        state.refuse("Cannot attach Storage. There is no active Host in the Data Center.")
    if not any(one["master"] and one["status"] == "active" for one in others):
        if others or domain["type"] != "data":
            state.refuse("Cannot attach Storage. There is no active Master Data Domain.")
        domain["master"] = True
    domain["datacenter"] = centre
    state.change("storagedomains", number, "locked", "active")
    return number


def _vm(state: State, wanted: ET.Element, _owner: str) -> str:
    cluster = _meant(state, "clusters", wanted.find("cluster"))
    template = state.of("templates")[_meant(state, "templates", wanted.find("template"))]
    if template["status"] != "ok":
        state.refuse("Cannot add VM. The Template is locked.")
    number = state.add("vms", name=_name(wanted, state, "vms"), status="down", cluster=cluster, host="")
    state.add("snapshots", vm=number, name="Active VM", type="active", status="ok")
    for name in template["disks"]:
        _attached(state, number, f"{name} of {wanted.findtext('name')}", 0, bootable=True)
    state.change("vms", number, "image_locked", "down")
    return number


def _template(state: State, wanted: ET.Element, _owner: str) -> str:
    vm = _meant(state, "vms", wanted.find("vm"))
    if state.of("vms")[vm]["status"] != "down":
        state.refuse("Cannot add Template. The VM is running.")
    disks = [state.of("disks")[number]["name"] for number, _ in _of_vm(state, "diskattachments", vm)]
    number = state.add("templates", name=_name(wanted, state, "templates"), status="locked", disks=disks)
    state.change("templates", number, "locked", "ok")
    return number


def _of_vm(state: State, kind: str, vm: str) -> list[tuple[str, Thing]]:
    return [(number, one) for number, one in state.of(kind).items() if one["vm"] == vm]


def _nic(state: State, wanted: ET.Element, vm: str) -> str:
    name = _text(wanted, "name", state)
    if any(one["name"] == name for _, one in _of_vm(state, "nics", vm)):
        state.refuse("Cannot add Interface. The network interface name is already in use.")
    number = state.add("nics", vm=vm, name=name, interface=_text(wanted, "interface", state), plugged=True)
    state.save()
    return number


def _disk(state: State, wanted: ET.Element, vm: str) -> str:
    domain = state.of("storagedomains")[
        _meant(state, "storagedomains", wanted.find("disk/storage_domains/storage_domain"))
    ]
    if domain["status"] != "active":
        state.refuse("Cannot add Virtual Disk. The Storage Domain is not active.")
    size = int(_text(wanted, "disk/provisioned_size", state))
    return _attached(state, vm, _text(wanted, "disk/name", state), size, wanted.findtext("bootable") == "true")


def _attached(state: State, vm: str, name: str, size: int, bootable: bool) -> str:
    # A disk and its attachment have one identifier, as on an engine.
    number = state.add("disks", name=name, size=size, content="data", status="ok")
    state.of("diskattachments")[number] = {"vm": vm, "name": name, "bootable": bootable, "active": True}
    state.change("disks", number, "locked", "ok")
    return number


def _snapshot(state: State, wanted: ET.Element, vm: str) -> str:
    if any(one["status"] == "locked" for _, one in _of_vm(state, "snapshots", vm)):
        state.refuse("Cannot create Snapshot. The VM has a locked Snapshot.")
    number = state.add("snapshots", vm=vm, name=_text(wanted, "description", state), type="regular", status="locked")
    state.change("snapshots", number, "locked", "ok")
    return number


ADD: dict[str, Add] = {
    "clusters": _cluster,
    "datacenters": _centre,
    "diskattachments": _disk,
    "hosts": _host,
    "nics": _nic,
    "snapshots": _snapshot,
    "storagedomains": _storage,
    "templates": _template,
    "vms": _vm,
}


def add(state: State, kind: str, wanted: ET.Element, owner: str | None) -> str:
    """Make a thing, as part of `owner` if that is said; its identifier. Raises KeyError for what can't be made."""
    # What is already there becomes part of a data center.
    make = attach if owner and kind == "storagedomains" else ADD[kind]
    number = make(state, wanted, owner or "")
    state.event(f"{kind} {state.of(kind)[number]['name']} was added.")
    state.save()
    return number


def merge(state: State, snapshot: str) -> None:
    """Remove a snapshot."""
    if state.of("snapshots")[snapshot]["type"] == "active":
        state.refuse("Cannot remove Snapshot. It is the machine as it is now.")
    state.change("snapshots", snapshot, "locked", REMOVED)


def _log_in(state: State, number: str, wanted: ET.Element) -> None:
    host = state.of("hosts")[number]
    if host["status"] != "up":
        state.refuse("Cannot log in to the target. The host is not up.")
    target = _text(wanted, "iscsi/target", state)
    luns = [f"{target}-{unit}" for unit in range(2)]
    host["targets"][target] = {"address": _text(wanted, "iscsi/address", state), "luns": luns}


def _migrate(state: State, number: str, wanted: ET.Element) -> None:
    vm = state.of("vms")[number]
    host = _meant(state, "hosts", wanted.find("host"))
    if vm["status"] != "up" or host == vm["host"] or state.of("hosts")[host]["status"] != "up":
        state.refuse("Cannot migrate VM. It does not run, or there is no other host for it.")
    state.change("vms", number, "migrating", "up", host=host)


def _plug(plugged: bool) -> Action:
    def change(state: State, number: str, _wanted: ET.Element) -> None:
        if state.of("nics")[number]["plugged"] is plugged:
            state.refuse("Cannot change the Interface. It is so already.")
        state.of("nics")[number]["plugged"] = plugged

    return change


ACTIONS: dict[tuple[str, str], Action] = {
    ("hosts", "iscsilogin"): _log_in,
    ("nics", "activate"): _plug(True),
    ("nics", "deactivate"): _plug(False),
    ("vms", "migrate"): _migrate,
}
"""What can be done to things when it is said how; the last argument is the element of the request."""

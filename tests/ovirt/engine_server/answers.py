"""Things as XML, by the element names of the API."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from typing import Any

from .actions import centre_status
from .state import State, Thing

API = "/ovirt-engine/api"
VERSION = "4.5.6"
NAMES = {
    "clusters": ("clusters", "cluster"),
    "datacenters": ("data_centers", "data_center"),
    "disks": ("disks", "disk"),
    "diskattachments": ("disk_attachments", "disk_attachment"),
    "events": ("events", "event"),
    "hosts": ("hosts", "host"),
    "imagetransfers": ("image_transfers", "image_transfer"),
    "jobs": ("jobs", "job"),
    "nics": ("nics", "nic"),
    "snapshots": ("snapshots", "snapshot"),
    "storage": ("host_storages", "host_storage"),
    "storagedomains": ("storage_domains", "storage_domain"),
    "templates": ("templates", "template"),
    "vms": ("vms", "vm"),
}
"""By the last part of an address: the element of a list, and of one in it."""
PARTS = {
    "diskattachments": ("vms", "vm"),
    "nics": ("vms", "vm"),
    "snapshots": ("vms", "vm"),
    "storagedomains": ("datacenters", "datacenter"),
}
"""Kinds of things that are part of others: of which kind, and which of their keys says so."""


def text(element: ET.Element) -> bytes:
    """A document."""
    return ET.tostring(element, encoding="unicode").encode()


def build(tag: str, content: Any) -> ET.Element:
    """An element: of a mapping, whose keys with `@` are attributes, and whose lists are of such, or of a text."""
    element = ET.Element(tag)
    if isinstance(content, dict):
        for key, value in content.items():
            if value is None:
                continue
            if key.startswith("@"):
                element.set(key[1:], value)
            else:
                element.extend(build(key, one) for one in (value if isinstance(value, list) else [value]))
    elif isinstance(content, bool):
        element.text = "true" if content else "false"
    else:
        element.text = str(content)
    return element


def root() -> ET.Element:
    """The entry point."""
    version = {"build": "0", "full_version": f"{VERSION}-stand-in", "major": "4", "minor": "5", "revision": "6"}
    return build("api", {"product_info": {"name": "stand-in", "vendor": "tests", "version": version}})


def fault(reason: str, detail: str) -> ET.Element:
    """Why something was refused."""
    return build("fault", {"detail": f"[{detail}]", "reason": reason})


def thing(state: State, kind: str, number: str, owner: str | None = None) -> ET.Element:
    """One thing; as part of `owner`, if that is said."""
    one = state.of(kind)[number]
    href = f"{API}/{f'{PARTS[kind][0]}/{owner}/' if owner else ''}{kind}/{number}"
    content = _CONTENT[kind](state, number, one, owner)
    return build(NAMES[kind][1], {"@href": href, "@id": number, **content})


def things(state: State, kind: str, owner: str | None = None) -> ET.Element:
    """All things of a kind; those that are part of `owner`, if that is said."""
    element = ET.Element(NAMES[kind][0])
    for number, one in state.of(kind).items():
        if owner is None or one[PARTS[kind][1]] == owner:
            element.append(thing(state, kind, number, owner))
    return element


def luns(host: Thing) -> ET.Element:
    """What a host sees of the targets that it is logged in to."""
    element = ET.Element("host_storages")
    for target, found in host["targets"].items():
        units = [{"@id": lun, "address": found["address"], "port": "3260", "target": target} for lun in found["luns"]]
        content = {"@id": target, "type": "iscsi", "logical_units": {"logical_unit": units}}
        element.append(build("host_storage", content))
    return element


def events(state: State, most: int | None) -> ET.Element:
    """Events, the last one first."""
    element = ET.Element("events")
    for one in list(reversed(state.data.get("events", [])))[:most]:
        content = {
            "@href": f"{API}/events/{one['id']}",
            "@id": one["id"],
            "code": "1",
            "description": one["description"],
            "severity": one["severity"],
            "time": _time(one["time"]),
        }
        element.append(build("event", content))
    return element


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime(seconds))


def _host(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    cluster = {"@href": f"{API}/clusters/{one['cluster']}", "@id": one["cluster"]}
    return {"name": one["name"], "address": one["address"], "status": one["status"], "cluster": cluster}


def _cluster(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    cpu = {"architecture": "x86_64", "type": one["cpu"]} if one["cpu"] else None
    return {"name": one["name"], "cpu": cpu, "data_center": {"@id": one["datacenter"]}}


def _centre(state: State, number: str, one: Thing, _centre: str | None) -> Thing:
    return {"name": one["name"], "local": False, "status": centre_status(state, number)}


def _storage(_state: State, _number: str, one: Thing, centre: str | None) -> Thing:
    # Only as part of a data center it has a status, as on an engine.
    status = {"status": one["status"]} if centre else {}
    return {"name": one["name"], "type": one["type"], "master": one["master"], **status}


def _vm(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    host = {"@id": one["host"]} if one.get("host") and one["status"] != "down" else None
    return {"name": one["name"], "status": one["status"], "cluster": {"@id": one["cluster"]}, "host": host}


def _template(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    return {"name": one["name"], "status": one["status"]}


def _nic(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    return {"name": one["name"], "interface": one["interface"], "plugged": one["plugged"]}


def _attachment(_state: State, number: str, one: Thing, _centre: str | None) -> Thing:
    disk = {"@href": f"{API}/disks/{number}", "@id": number}
    return {"active": one["active"], "bootable": one["bootable"], "disk": disk}


def _snapshot(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    return {"description": one["name"], "snapshot_status": one["status"], "snapshot_type": one["type"]}


def _disk(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    size = str(one["size"])
    about = {"name": one["name"], "alias": one["name"], "content_type": one["content"], "format": "raw"}
    return {**about, "provisioned_size": size, "status": one["status"]}


def _transfer(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    about = {"disk": {"@id": one["disk"]}, "direction": "upload", "phase": one["phase"]}
    return {**about, "proxy_url": one["url"], "transfer_url": one["url"]}


def _job(_state: State, _number: str, one: Thing, _centre: str | None) -> Thing:
    return {"description": one["description"], "status": one["status"], "start_time": _time(one["started"])}


_CONTENT = {
    "clusters": _cluster,
    "datacenters": _centre,
    "diskattachments": _attachment,
    "disks": _disk,
    "hosts": _host,
    "imagetransfers": _transfer,
    "jobs": _job,
    "nics": _nic,
    "snapshots": _snapshot,
    "storagedomains": _storage,
    "templates": _template,
    "vms": _vm,
}

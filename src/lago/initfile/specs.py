"""From the values of a section to its spec: what follows from the rest of the file is filled in.

Values that are wrong are not among them, so that nothing is concluded from what can't be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from ..topology.given import GuestFile
from ..topology.names import disk_devices
from ..topology.spec import OVA_DISK, DiskSpec, DomainSpec, EnvSpec, NetSpec
from .mistakes import At
from .sections import remark

_BUSES: Final = ("vd", "sd")
"""How devices of disks begin that are given one."""

TYPES_WITH: Final = {
    "template_name": ("template",),
    "template_version": ("template",),
    "template_type": ("template",),
    "path": ("template", "file"),
    "url": ("file",),
    "make_a_copy": ("file",),
    "size": ("template", "empty"),
}
"""The types of disk that have each key."""

_SUFFIXES: Final = {"iso": "iso", "raw": "raw"}


def guest_file(spec: type[GuestFile], _at: At, values: dict[str, Any]) -> GuestFile:
    """Make a file in the guest, which is carried on without its place."""
    return spec(**values)


def disk(spec: type[DiskSpec], at: At, values: dict[str, Any]) -> DiskSpec:
    """Make a disk; its device is empty if the file names none. What is on one that is wrong is not guessed."""
    index = at.path[-1]
    values = {key: value for key, value in values.items() if not unused(key, values)}
    kind = (values.get("type") or _guess(values)) if at.sound() else None
    named = {"name": f"disk{index}" if index else "root", "dev": "", **values}
    return spec(**{**named, "type": kind or "empty", "format": _format(kind, values)}, at=at.place())


def unused(key: str, values: Mapping[str, Any]) -> str:
    """Why a key of a disk has no effect beside others, as earlier releases passed over it; empty if it has one.

    Of a disk whose type is not said, no key belongs to another type.
    """
    kind, layered = values.get("type"), values.get("template_type") == "qcow2" and "path" in values
    if kind is not None and kind not in TYPES_WITH.get(key, (kind,)):
        return f"no disk of the type {kind} has one"
    if layered:
        return "template_type: qcow2 takes the image at path" if key in ("template_name", "template_version") else ""
    if key == "path" and kind == "template" and "template_name" in values:
        return "a template has a name"
    return (
        "what url names is fetched into the environment" if (key, kind) == ("path", "file") and "url" in values else ""
    )


def _guess(values: Mapping[str, Any]) -> str | None:
    """Return the type of a disk of which the file doesn't say it; None if nothing shows it."""
    if "template_name" in values or "template_type" in values:
        return "template"
    if "path" in values or "url" in values:
        return "file"
    return "empty" if "size" in values else None


def _format(kind: str | None, values: Mapping[str, Any]) -> str:
    if kind == "template":
        return "qcow2"
    if kind != "file" or "format" in values:
        return str(values.get("format", "qcow2"))
    place: str = values.get("path") or values.get("url") or ""
    return _SUFFIXES.get(place.rpartition(".")[2].lower(), "qcow2")


def domain(spec: type[DomainSpec], at: At, values: dict[str, Any]) -> DomainSpec:
    """Make a machine, its disks with devices."""
    values.pop("based_on", None)
    if values.get("bootstrap") == "template":
        del values["bootstrap"]
    place, appliance = at.place(), values.get("type") == "ova"
    if appliance:
        values["from_ova"] = frozenset({"memory", "vcpu"} - place.keys)
    if "disks" in values:
        values["disks"] = tuple(_with_devices(values["disks"], [OVA_DISK["dev"]] if appliance else []))
    return spec(**values, name=str(at.path[-1]), at=place)


def _with_devices(disks: Iterable[DiskSpec], taken: Iterable[str]) -> Iterable[DiskSpec]:
    used = {*taken, *(disk.dev for disk in disks)}
    free = {bus: (dev for dev in disk_devices(bus) if dev not in used) for bus in _BUSES}
    for disk in disks:
        yield disk if disk.dev else replace(disk, dev=next(free["sd" if disk.format == "iso" else "vd"]))


def net(spec: type[NetSpec], at: At, values: dict[str, Any]) -> NetSpec:
    """Make a network; names of DNS are the same in capitals."""
    if "dns_records" in values:
        values["dns_records"] = {name.lower(): record for name, record in values["dns_records"].items()}
    return spec(**values, name=str(at.path[-1]), at=at.place())


def environment(spec: type[EnvSpec], at: At, values: dict[str, Any]) -> EnvSpec:
    """Make an environment."""
    values.pop("prototypes", None)
    given, nets = at["nets"].value or {}, values.get("nets", {})
    named = tuple(name for name in given if name in nets or not remark(name)) if isinstance(given, dict) else None
    return spec(**values, named_nets=named)

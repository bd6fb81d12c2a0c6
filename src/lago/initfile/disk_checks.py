"""What the keys of disks must mean together: what is on each, its name and its device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ..topology.spec import OVA_DISK, DiskSpec, EnvSpec
from . import specs
from .document import Mistake, quote

_IN_WORDS: Final = {"template": "a template disk", "empty": "an empty disk", "file": "a file"}

_MOST: Final = {"vd": (200, "disks"), "sd": (26, "CDs and disks called sdX")}
"""How many there can be by bus: QEMU's machines have some 220 places for PCI devices, and libvirt 26 names for SCSI."""


def _disks(env: EnvSpec) -> Iterator[DiskSpec]:
    return (disk for domain in env.domains.values() for disk in domain.disks)


def what_is_on_them(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a disk has the keys of its type, which is not known of one that is wrong otherwise."""
    for disk in _disks(env):
        for mistake in _content(disk):
            yield replace(mistake, unless=disk.at)


def _content(disk: DiskSpec) -> Iterator[Mistake]:
    at, kind = disk.at, disk.type
    if kind == "empty" and disk.size is None and "type" not in at.keys:
        yield Mistake(at, "say what is on it: template_name: mini, path: IMAGE, or size: 10G for an empty disk")
        return
    for key, kinds in specs.TYPES_WITH.items():
        if kind not in kinds and key in at.keys:
            has = "template" if key.startswith("template_") else key
            message = f"{_IN_WORDS[kind]} has no {has}, remove it or write type: {' or '.join(kinds)}"
            # Earlier releases, whose files have a type always, passed over what others need.
            yield Mistake(at / key, message, of_key=True, kind="warning" if "type" in at.keys else "mistake")
    if kind == "empty" and disk.format == "iso":
        yield Mistake(at / "format", "an empty disk can't be a CD, write qcow2 or raw")
    if kind == "empty" and disk.size is None:
        yield Mistake(at, "an empty disk needs a size, write size: 10G")
    elif kind == "file" and disk.path is None and disk.url is None:
        yield Mistake(at, "path is missing, write path: IMAGE")
    elif kind == "file" and "path" in at.keys and disk.url is not None:
        message = "what url names is fetched into the environment, remove path"
        yield Mistake(at / "path", message, of_key=True, kind="warning")
    elif kind == "template":
        yield from _template(disk)


def _template(disk: DiskSpec) -> Iterator[Mistake]:
    at = disk.at
    if disk.template_type == "qcow2":
        if disk.path is None:
            yield Mistake(at, "path is missing, write path: IMAGE.qcow2")
        for key in ("template_name", "template_version"):
            if key in at.keys and disk.path is not None:
                message = "template_type: qcow2 takes the image at path, remove this"
                yield Mistake(at / key, message, of_key=True, kind="warning")
    elif "path" in at.keys:
        message = "a template has a name; for an image by its path write template_type: qcow2"
        unused = disk.path is None and disk.template_name is not None
        yield Mistake(at / "path", message, of_key=True, kind="warning" if unused else "mistake")
    elif disk.template_name is None:
        yield Mistake(at, "template_name is missing, write template_name: mini or type: empty")


def only_cds_are_hd(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a device called hdX is a CD drive."""
    for disk in _disks(env):
        if disk.dev.startswith("hd") and disk.format != "iso":
            yield Mistake(disk.at / "dev", f"only an iso can be {disk.dev}, write vd{disk.dev[2:]}")


def room(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a machine has room for its disks."""
    for domain in env.domains.values():
        for bus, (most, what) in _MOST.items():
            for disk in [disk for disk in domain.disks if disk.dev.startswith(bus)][most : most + 1]:
                message = f"a machine has no room for more than {most} {what}, give the rest to another one"
                yield Mistake(disk.at, message)


def told_apart(env: EnvSpec) -> Iterator[Mistake]:
    """Check that disks of a machine have different names and devices."""
    for domain in env.domains.values():
        for key, of_appliance in OVA_DISK.items():
            first: dict[str, DiskSpec] = {}
            for disk in domain.disks:
                at, value = disk.at, getattr(disk, key)
                if domain.type == "ova" and value == of_appliance:
                    message = f"{quote(value)} is the {key} of the appliance's disk, choose another {key}"
                    yield Mistake(at / key, message)
                other = first.setdefault(value, disk)
                if other is not disk:
                    number = other.at.path[-1]
                    message = f"{quote(value)} is the {key} of disks[{number}] already, choose another {key}"
                    yield Mistake(at / key if key in at.keys else at, message)

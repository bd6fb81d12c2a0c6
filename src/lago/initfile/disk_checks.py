"""What the keys of disks must mean together: type, name, device and format of each."""

from __future__ import annotations

from typing import Any, Final

from ..topology.names import disk_devices
from ..topology.spec import OVA_DISK
from .faults import At, quoted

Table = dict[str, Any]

_FOR = {
    "template_name": ("template",),
    "template_version": ("template",),
    "template_type": ("template",),
    "path": ("template", "file"),
    "url": ("file",),
    "make_a_copy": ("file",),
    "size": ("template", "empty"),
}
"""The types of disk that have each key."""


_MOST: Final = {"vd": (200, "disks"), "sd": (26, "CDs and disks called sdX")}
"""How many there can be by bus: QEMU's machines have some 220 places for PCI devices, and libvirt 26 names for SCSI."""


def check_disks(at: At, given: list[Table | None], *, ova: bool = False) -> list[Table]:
    """The disks with type, name, format and device filled in.

    Args:
        ova: there is the disk of an appliance, too.
    """
    disks = [(index, dict(disk)) for index, disk in enumerate(given) if disk]
    taken = {disk["dev"] for _, disk in disks} | ({OVA_DISK["dev"]} if ova else set())
    free = {bus: (dev for dev in disk_devices(bus) if dev not in taken) for bus in _MOST}
    for index, disk in disks:
        disk["type"] = _type(at[index], disk)
        disk["format"] = _format(at[index], disk)
        disk["dev"] = disk["dev"] or next(free["sd" if disk["format"] == "iso" else "vd"])
        if disk["dev"].startswith("hd") and disk["format"] != "iso":
            at[index]["dev"].fault(f"only an iso can be {disk['dev']}, write vd{disk['dev'][2:]}")
        disk["name"] = disk["name"] or (f"disk{index}" if index else "root")
    for bus, (most, what) in _MOST.items():
        for index in [index for index, disk in disks if disk["dev"].startswith(bus)][most : most + 1]:
            at[index].fault(f"a machine has no room for more than {most} {what}, give the rest to another one")
    for key in ("name", "dev"):
        first: dict[str, int] = {}
        for index, disk in disks:
            if ova and disk[key] == OVA_DISK[key]:
                at[index][key].fault(f"{quoted(disk[key])} is the {key} of the appliance's disk, choose another {key}")
            other = first.setdefault(disk[key], index)
            if other != index:
                place = at[index][key] if at[index][key].value else at[index]
                place.fault(f"{quoted(disk[key])} is the {key} of disks[{other}] already, choose another {key}")
    return [disk for _, disk in disks]


def _type(at: At, disk: Table) -> Any:
    if not at.sound():
        return None
    kind = disk["type"] or _guess(disk)
    if kind is None:
        return at.fault("say what is on it: template_name: mini, path: IMAGE, or size: 10G for an empty disk")
    for key, kinds in _FOR.items():
        if kind not in kinds and at[key].value is not None:
            what = {"template": "a template disk", "empty": "an empty disk", "file": "a file"}[kind]
            has = "template" if key.startswith("template_") else key
            at[key].fault(f"{what} has no {has}, remove it or write type: {' or '.join(kinds)}", of_key=True)
    if kind == "empty" and disk["size"] is None:
        at.fault("an empty disk needs a size, write size: 10G")
    elif kind == "file" and disk["path"] is None and disk["url"] is None:
        at.fault("path is missing, write path: IMAGE")
    elif kind == "file" and disk["path"] is not None and disk["url"] is not None:
        at["path"].fault("what url names is fetched into the environment, remove path", of_key=True)
    elif kind == "template":
        _template(at, disk)
    return kind


def _guess(disk: Table) -> str | None:
    if disk["template_name"] is not None or disk["template_type"] is not None:
        return "template"
    if disk["path"] is not None or disk["url"] is not None:
        return "file"
    return None if disk["size"] is None else "empty"


def _template(at: At, disk: Table) -> None:
    if disk["template_type"] == "qcow2":
        if disk["path"] is None:
            at.fault("path is missing, write path: IMAGE.qcow2")
        for key in ("template_name", "template_version"):
            if disk[key] is not None:
                at[key].fault("template_type: qcow2 takes an image by its path, remove one of them", of_key=True)
    elif disk["path"] is not None:
        at["path"].fault("a template has a name; for an image by its path write template_type: qcow2", of_key=True)
    elif disk["template_name"] is None:
        at.fault("template_name is missing, write template_name: mini or type: empty")


def _format(at: At, disk: Table) -> Any:
    wanted, kind = disk["format"], disk["type"]
    if kind == "template":
        return "qcow2"
    if wanted == "iso" and kind == "empty":
        at["format"].fault("an empty disk can't be a CD, write qcow2 or raw")
    if wanted or kind != "file":
        return wanted or "qcow2"
    return {"iso": "iso", "raw": "raw"}.get(str(disk["path"] or disk["url"]).rpartition(".")[2].lower(), "qcow2")

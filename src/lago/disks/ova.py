"""Appliances in the Open Virtualization Format: a tar archive of a description (OVF) and disks, of which we take one.

What is wanted of it is read member by member and nothing is unpacked by name, so that an archive can write nowhere.
Elements by DMTF DSP0243; resource types 3, 4 and 17 (processors, memory, disks) by CIM_ResourceAllocationSettingData.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from typing import IO, Final
from xml.etree import ElementTree as ET
from xml.parsers import expat

from ..errors import DiskError, HostError
from ..host.archive import Member, files
from . import qemu_img

_MOST_MEMBERS: Final = 1000
_MOST_XML: Final = 1 << 20
_FORMATS: Final = ("vmdk", "raw", "qcow2")
_PROCESSORS, _MEMORY, _DISK = "3", "4", "17"
_UNITS: Final = {"byte": 0, "kilobytes": 10, "megabytes": 20, "gigabytes": 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Appliance:
    """What the OVF says: memory in MiB, processors, name of the file with the disk."""

    memory: int
    vcpu: int
    disk: str


def unpack(archive: str, image: str, name: str = "") -> Appliance:
    """Write the disk of an appliance as a qcow2 image.

    Args:
        name: what messages call it, if not by its path.

    Raises:
        DiskError: this is no appliance with one machine and one disk, or it is larger than any honest one.
        HostError: there is no space.
    """
    name = name or archive
    try:
        with open(archive, "rb") as tar:
            members = {os.path.normpath(one.name): one for one in files(tar, _MOST_MEMBERS)}
            descriptions = [one for one in members if one.lower().endswith(".ovf")]
            if len(descriptions) != 1:
                raise _refused(name, f"it has {len(descriptions)} OVF descriptions, where one is expected")
            found = parse(_read(name, tar, members[descriptions[0]]), name)
            if found.disk not in members:
                raise _refused(name, f"its disk {found.disk} is not in it")
            _convert(name, tar, members[found.disk], image)
    except ValueError as error:
        raise _refused(name, f"it is no tar archive that can be used: {error}") from None
    return found


def parse(text: bytes, name: str) -> Appliance:
    """Read an OVF description.

    Args:
        name: of the appliance, for messages.

    Raises:
        DiskError: it describes no single machine with one disk.
    """
    try:
        _refuse_document_type(text, name)
        root = ET.fromstring(text)  # noqa: S314 - see above
    except (ET.ParseError, expat.ExpatError) as error:
        raise _refused(name, f"its OVF is not XML: {error}") from None
    hardware = [one for one in root.iter() if _tag(one) == "VirtualHardwareSection"]
    if len(hardware) != 1:
        raise _refused(name, f"its OVF describes {len(hardware)} machines, where one is expected")
    items = [{_tag(value): (value.text or "").strip() for value in item} for item in hardware[0] if _is_item(item)]
    files = {_attribute(one, "id"): _attribute(one, "href") for one in root.iter() if _tag(one) == "File"}
    images = {_attribute(one, "diskId"): _attribute(one, "fileRef") for one in root.iter() if _tag(one) == "Disk"}
    used = [item.get("HostResource", "").rpartition("/")[2] for item in items if item.get("ResourceType") == _DISK]
    if len(used) != 1:
        raise _refused(name, f"its machine has {len(used)} disks, where one is expected")
    # HostResource is ovf:/disk/ID, or ovf:/file/ID.
    href = files.get(images.get(used[0], used[0]), "")
    if not href or "/" in href:
        raise _refused(name, f"its OVF names no file for the disk {used[0]}")
    memory = [_memory(item, name) for item in items if item.get("ResourceType") == _MEMORY]
    vcpu = [_whole(item, name) for item in items if item.get("ResourceType") == _PROCESSORS]
    if len(memory) != 1 or len(vcpu) != 1:
        raise _refused(name, "its OVF does not say once how much memory and how many processors the machine has")
    return Appliance(memory=memory[0], vcpu=vcpu[0], disk=href)


def _refuse_document_type(text: bytes, name: str) -> None:
    """Raise DiskError if a document has a type, in whatever encoding: entities of it could grow without end."""

    def refuse(*_: object) -> None:
        raise _refused(name, "its OVF has a document type, which none needs")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(text, True)


def _is_item(element: ET.Element) -> bool:
    # Those for disks and nics have names of their own since OVF 2.
    return _tag(element) in ("Item", "StorageItem", "EthernetPortItem")


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _attribute(element: ET.Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def _whole(item: dict[str, str], name: str) -> int:
    text = item.get("VirtualQuantity", "")
    if not re.fullmatch("[0-9]{1,12}", text) or not int(text):
        raise _refused(name, f"its OVF has {text or 'nothing'} where a number is expected")
    return int(text)


def _memory(item: dict[str, str], name: str) -> int:
    """MiB; units are spelled `byte * 2^20`, or in words by older writers."""
    unit = item.get("AllocationUnits", "byte * 2^20").lower().replace(" ", "")
    power = re.fullmatch(r"byte\*2\^([0-9]{1,2})", unit)
    if not power and unit not in _UNITS:
        raise _refused(name, f"its OVF counts memory in the unknown unit {unit}")
    return max(1, (_whole(item, name) << (int(power[1]) if power else _UNITS[unit])) >> 20)


def _read(name: str, tar: IO[bytes], member: Member) -> bytes:
    if member.size > _MOST_XML:
        raise _refused(name, f"its OVF has {member.size} bytes, more than {_MOST_XML}")
    tar.seek(member.place)
    return tar.read(member.size)


def _convert(name: str, tar: IO[bytes], member: Member, image: str) -> None:
    free = shutil.disk_usage(os.path.dirname(image)).free
    if member.size > free:
        raise HostError(f"{name}: its disk has {member.size >> 20} MiB", hint=f"{free >> 20} MiB are free")
    unpacked = f"{image}.unpacked"
    try:
        tar.seek(member.place)
        with open(unpacked, "wb") as file:
            left = member.size
            while left and (part := tar.read(min(left, 1 << 20))):
                file.write(part)
                left -= len(part)
        format = qemu_img.accept(unpacked, f"the disk of {name}", formats=_FORMATS)
        qemu_img.convert(unpacked, format, image, "qcow2")
    finally:
        if os.path.exists(unpacked):
            os.unlink(unpacked)


def _refused(name: str, why: str) -> DiskError:
    return DiskError(f"{name} can't be used: {why}", hint="an OVA with one machine and one disk is expected")

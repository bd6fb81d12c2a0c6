"""Processors: libvirt's <cpu> element of a machine."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any, Final

from ..topology.model import Domain

_MAP: Final = "/usr/share/libvirt/cpu_map"
_CPUINFO: Final = "/proc/cpuinfo"
_FLAGS: Final = {"Intel": ("GenuineIntel", "vmx"), "AMD": ("AuthenticAMD", "svm")}
_MOST_CELLS: Final = 64


def cpu_element(domain: Domain, *, kvm: bool, nested: str | None = None) -> ET.Element:
    """Element `<cpu>` of a machine.

    Args:
        nested: the processor flag that lets guests run guests, if a named model is to have it (see `nested_flag`).
    """
    if domain.cpu_custom is not None:
        cpu = _from_mapping("cpu", domain.cpu_custom)
        if cpu.find("topology") is None:
            _topology(cpu, domain)
        return cpu
    if domain.cpu_model is not None:
        # Emulation lacks some features of most models; a guest that asks finds out.
        cpu = ET.Element("cpu", {"mode": "custom", "match": "exact", **({} if kvm else {"check": "none"})})
        ET.SubElement(cpu, "model", fallback="forbid" if kvm else "allow").text = domain.cpu_model
        _topology(cpu, domain)
        if nested:
            ET.SubElement(cpu, "feature", policy="require", name=nested)
        return cpu
    cpu = ET.Element("cpu", mode="host-passthrough" if kvm else "maximum")
    _topology(cpu, domain)
    _numa(cpu, domain)
    return cpu


def _topology(cpu: ET.Element, domain: Domain) -> None:
    ET.SubElement(cpu, "topology", sockets=str(domain.vcpu), cores="1", threads="1")


def cells(vcpu: int) -> int:
    """How many NUMA cells a machine with so many processors has: of 4 where that comes out even, or of 2, or of 1."""
    if vcpu in (1, 2, 4):
        return {1: 1, 2: 2, 4: 2}[vcpu]
    return vcpu // {0: 4, 2: 2}.get(vcpu % 4, 1)


def _numa(cpu: ET.Element, domain: Domain) -> None:
    number = cells(domain.vcpu)
    if number == 1 or number > _MOST_CELLS:
        return
    numa = ET.SubElement(cpu, "numa")
    each, per_cell = domain.memory // number, domain.vcpu // number
    for cell in range(number):
        first = cell * per_cell
        cpus = str(first) if per_cell == 1 else f"{first}-{first + per_cell - 1}"
        # What does not divide is not lost.
        memory = each + (domain.memory % number if cell == 0 else 0)
        ET.SubElement(numa, "cell", id=str(cell), cpus=cpus, memory=str(memory), unit="MiB")


def _from_mapping(tag: str, content: Any) -> ET.Element:
    element = ET.Element(tag)
    if not isinstance(content, Mapping):
        element.text = str(content)
        return element
    for key, value in content.items():
        if key == "#text":
            element.text = str(value)
        elif key.startswith("@"):
            element.set(key[1:], str(value))
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                element.append(_from_mapping(key, one))
    return element


def nested_flag(model: str, cpu_map: str = _MAP, cpuinfo: str = _CPUINFO) -> str | None:
    """The flag for nested guests, if this host has it and is of the vendor of the model."""
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as file:
            host = file.read()
    except OSError:
        return None
    name, flag = _FLAGS.get(vendor(model, cpu_map) or "", ("", ""))
    flags = re.search(r"^flags\s*:(.*)$", host, re.MULTILINE)
    return flag if name and name in host and flags and flag in flags[1].split() else None


def vendor(model: str, cpu_map: str = _MAP) -> str | None:
    """The vendor of a processor model, if libvirt knows it."""
    try:
        found = ET.parse(f"{cpu_map}/x86_{model}.xml").find(".//vendor")  # noqa: S314 - libvirt's own
    except (OSError, ET.ParseError):
        return None
    return found.get("name") if found is not None else None

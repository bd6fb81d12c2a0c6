"""Machines as libvirt XML (https://libvirt.org/formatdomain.html)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from ..topology.model import Disk, Domain, Net
from ..topology.names import disk_devices
from .cpu import cpu_element

DEFAULT_MTU: Final = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFiles:
    """Absolute paths that a domain needs: of its disks in order, of read-only seed disks, and of its console log.

    `devices` are those of the disks that are block devices of the host. `nvram` is where UEFI firmware keeps its
    variables; libvirt makes the file. `memory_files` is whether libvirt shall have the memory in files too.
    """

    disks: tuple[str, ...]
    seeds: tuple[str, ...] = ()
    console_log: str
    devices: frozenset[str] = frozenset()
    oem_strings: tuple[str, ...] = field(default=())
    nvram: str = ""
    memory_files: bool = False


def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def object_uuid(environment: str, name: str) -> str:
    """A UUID that an object has whenever it is defined, so that defining it again is no conflict.

    Args:
        environment: the UUID of the environment.
        name: libvirt's name for the object.
    """
    import hashlib

    return hashlib.sha256(f"{environment} {name}".encode()).hexdigest()[:32]


def domain_xml(
    domain: Domain,
    *,
    name: str,
    uuid: str,
    files: DomainFiles,
    kvm: bool,
    nets: Mapping[str, str],
    specs: Mapping[str, Net] | None = None,
    nested: str | None = None,
) -> str:
    """XML of a domain, as libvirt defines it.

    Args:
        name: libvirt's for it.
        uuid: libvirt's for it.
        nets: libvirt's names of nets by ours.
        specs: nets by name.
        nested: see `lago.virt.cpu.cpu_element`.
    """
    root = ET.Element("domain", type="kvm" if kvm else "qemu")
    _add(root, "name", name)
    _add(root, "uuid", uuid)
    # A new one whenever memory is brought back, upon which guests stir their random numbers anew.
    _add(root, "genid")
    _add(root, "memory", str(domain.memory), unit="MiB")
    if domain.shares or files.memory_files:
        # virtiofsd reads and writes the guest's memory.
        backing = _add(root, "memoryBacking")
        _add(backing, "source", type="memfd" if domain.shares else "file")
        _add(backing, "access", mode="shared")
    _add(root, "vcpu", str(domain.vcpu))
    if files.oem_strings:
        strings = _add(_add(root, "sysinfo", type="smbios"), "oemStrings")
        for text in files.oem_strings:
            _add(strings, "entry", text)
    _os(root, domain, files)
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if domain.secure_boot:
        _add(features, "smm", state="on")
    root.append(cpu_element(domain, kvm=kvm, nested=nested))
    _add(root, "clock", offset="utc")
    _devices(_add(root, "devices"), domain, files, nets, specs or {})
    return ET.tostring(root, encoding="unicode")


def tpm_owner_xml(*, name: str, uuid: str) -> str:
    """As little of a machine as libvirt needs to know whose TPM is meant; arguments as for `domain_xml`."""
    root = ET.Element("domain", type="qemu")
    for tag, text in (("name", name), ("uuid", uuid), ("memory", "1024")):
        _add(root, tag, text)
    _add(_add(root, "os"), "type", "hvm", arch="x86_64", machine="q35")
    _tpm(_add(root, "devices"))
    return ET.tostring(root, encoding="unicode")


def _tpm(devices: ET.Element) -> None:
    _add(_add(devices, "tpm", model="tpm-crb"), "backend", type="emulator", version="2.0")


def kernel(domain: Domain) -> str | None:
    """The kernel that the machine starts at once, without a boot loader, if it does."""
    if domain.boot == "disk":
        return None
    # BIOS starts an unpacked kernel sooner, UEFI only one that is a program of its own.
    if domain.firmware == "uefi" and "kernel-efi" in domain.image:
        return str(domain.image["kernel-efi"])
    return domain.image.get("kernel")


def _os(root: ET.Element, domain: Domain, files: DomainFiles) -> None:
    uefi = domain.firmware == "uefi"
    os_ = _add(root, "os", **({"firmware": "efi"} if uefi else {}))
    _add(os_, "type", "hvm", arch="x86_64", machine=domain.machine)
    if uefi:
        firmware = _add(os_, "firmware")
        answer = "yes" if domain.secure_boot else "no"
        _add(firmware, "feature", enabled=answer, name="secure-boot")
        _add(firmware, "feature", enabled=answer, name="enrolled-keys")
        _add(os_, "nvram", files.nvram)
    if (path := kernel(domain)) is not None:
        _add(os_, "kernel", path)
        if "initrd" in domain.image:
            _add(os_, "initrd", domain.image["initrd"])
        _add(os_, "cmdline", domain.image.get("cmdline", "root=/dev/vda rw console=ttyS0"))
    else:
        cd_first = bool(domain.disks) and domain.disks[0].format == "iso"
        for dev in ("cdrom", "hd") if cd_first else ("hd", "cdrom") if _has_cd(domain) else ("hd",):
            _add(os_, "boot", dev=dev)
        if not uefi:
            # Otherwise it tells nobody but the screen that it finds nothing to start.
            _add(os_, "bios", useserial="yes")
    if files.oem_strings:
        _add(os_, "smbios", mode="sysinfo")


def _has_cd(domain: Domain) -> bool:
    return any(disk.format == "iso" for disk in domain.disks)


def _devices(
    devices: ET.Element, domain: Domain, files: DomainFiles, nets: Mapping[str, str], specs: Mapping[str, Net]
) -> None:
    old_pc = domain.machine == "pc" or domain.machine.startswith("pc-i440fx")
    targets = _targets(domain, ide=old_pc)
    for disk, path in zip(domain.disks, files.disks, strict=True):
        block = path in files.devices
        _add(_disk(devices, path, disk.format, *targets[disk.dev], block=block), "serial", disk.serial)
    free = (dev for dev in disk_devices("vd") if dev not in targets)
    for path in files.seeds:
        _add(_disk(devices, path, "raw", next(free), "virtio"), "readonly")
    if any(bus == "scsi" for _, bus in targets.values()):
        _add(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    for share in domain.shares:
        shared = _add(devices, "filesystem", type="mount", accessmode="passthrough")
        _add(shared, "driver", type="virtiofs")
        _add(shared, "source", dir=share.path)
        _add(shared, "target", dir=share.tag)
    for nic in domain.nics:
        interface = _add(devices, "interface", type="network")
        _add(interface, "mac", address=nic.mac)
        _add(interface, "source", network=nets[nic.net])
        _add(interface, "model", type="virtio")
        if nic.net in specs and specs[nic.net].mtu != DEFAULT_MTU:
            _add(interface, "mtu", size=str(specs[nic.net].mtu))
    serial = _add(devices, "serial", type="pty")
    _add(serial, "log", file=files.console_log, append="on")
    _add(serial, "target", port="0")
    if domain.image.get("guest-agent", True):
        _add(devices, "controller", type="virtio-serial", index="0")
        channel = _add(devices, "channel", type="unix")
        _add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    if domain.tpm:
        _tpm(devices)
    _add(_add(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    # Nobody but those who share its network namespace, or its host, can come to the screen.
    graphics = _add(devices, "graphics", type="vnc", autoport="yes")
    _add(graphics, "listen", type="address", address="127.0.0.1")
    _add(_add(devices, "video"), "model", type="vga")
    _add(devices, "controller", type="usb", model="none")
    _add(devices, "memballoon", model="none")
    if not old_pc:
        _place(devices)


def _targets(domain: Domain, *, ide: bool) -> dict[str, tuple[str, str]]:
    """Device and bus of each disk, by the device that the init file names.

    The CD drive hdX is on IDE where there is one. Elsewhere it is on SATA, whose names libvirt shares with SCSI.
    """
    used = {disk.dev for disk in domain.disks}
    names = disk_devices("sd")
    one_letter = [*islice(names, 26)]
    free = (dev for dev in chain(reversed(one_letter), names) if dev not in used)

    def target(disk: Disk) -> tuple[str, str]:
        if disk.dev.startswith("hd"):
            return (disk.dev, "ide") if ide else (next(free), "sata")
        return disk.dev, "scsi" if disk.dev.startswith("sd") else "virtio"

    return {disk.dev: target(disk) for disk in domain.disks}


_ON_PCI: Final = ("disk", "filesystem", "interface", "rng", "controller")
_SLOTS: Final = range(2, 0x1D)


def _place(devices: ET.Element) -> None:
    """Put the PCI devices on the root bus: behind a port each, as libvirt would, a guest boots slower."""
    on_pci = [element for element in devices if element.tag in _ON_PCI and element.get("model") != "none"]
    # Disks on other buses are behind their controller.
    on_pci = [one for one in on_pci if one.tag != "disk" or one.findall("target[@bus='virtio']")]
    if len(on_pci) <= len(_SLOTS):
        for slot, element in zip(_SLOTS, on_pci, strict=False):
            _add(element, "address", type="pci", domain="0", bus="0", slot=str(slot), function="0")


def _disk(devices: ET.Element, path: str, format_: str, dev: str, bus: str, *, block: bool = False) -> ET.Element:
    cd = format_ == "iso"
    disk = _add(devices, "disk", type="block" if block else "file", device="cdrom" if cd else "disk")
    discard = {"discard": "unmap"} if format_ == "qcow2" else {}
    _add(disk, "driver", name="qemu", type="raw" if cd else format_, cache="writeback", **discard)
    _add(disk, "source", **{"dev" if block else "file": path})
    _add(disk, "target", dev=dev, bus=bus)
    if cd:
        _add(disk, "readonly")
    return disk

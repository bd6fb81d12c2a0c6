"""Topology values as libvirt XML. Nothing else knows libvirt's formats (https://libvirt.org/format.html)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..topology import Domain, Net

DNS_DOMAIN: Final = "lago.local"
_DNSMASQ: Final = "http://libvirt.org/schemas/network/dnsmasq/1.0"
_NO_ROUTER: Final = "dhcp-option=3"

ET.register_namespace("dnsmasq", _DNSMASQ)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFiles:
    """Absolute paths that a domain needs: of its disks in order, of read-only seed disks, and of its console log."""

    disks: tuple[str, ...]
    seeds: tuple[str, ...] = ()
    console_log: str
    oem_strings: tuple[str, ...] = field(default=())


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


def domain_xml(domain: Domain, *, name: str, uuid: str, files: DomainFiles, kvm: bool, nets: Mapping[str, str]) -> str:
    """A domain; `name` and `uuid` are libvirt's for it, `nets` libvirt's names of networks by ours."""
    root = ET.Element("domain", type="kvm" if kvm else "qemu")
    _add(root, "name", name)
    _add(root, "uuid", uuid)
    _add(root, "memory", str(domain.memory), unit="MiB")
    _add(root, "vcpu", str(domain.vcpu))
    if files.oem_strings:
        strings = _add(_add(root, "sysinfo", type="smbios"), "oemStrings")
        for text in files.oem_strings:
            _add(strings, "entry", text)
    _os(root, domain, smbios=bool(files.oem_strings))
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    _add(root, "cpu", mode="host-passthrough" if kvm else "maximum")
    _add(root, "clock", offset="utc")
    _devices(_add(root, "devices"), domain, files, nets)
    return ET.tostring(root, encoding="unicode")


def _os(root: ET.Element, domain: Domain, *, smbios: bool) -> None:
    os_ = _add(root, "os")
    _add(os_, "type", "hvm", arch="x86_64", machine="q35")
    metadata = domain.template.metadata if domain.template else {}
    if "kernel" in metadata:
        _add(os_, "kernel", metadata["kernel"])
        if "initrd" in metadata:
            _add(os_, "initrd", metadata["initrd"])
        _add(os_, "cmdline", metadata.get("cmdline", "root=/dev/vda rw console=ttyS0"))
    else:
        _add(os_, "boot", dev="hd")
    if smbios:
        _add(os_, "smbios", mode="sysinfo")


def _devices(devices: ET.Element, domain: Domain, files: DomainFiles, nets: Mapping[str, str]) -> None:
    for disk, path in zip(domain.disks, files.disks, strict=True):
        element = _disk(devices, path, disk.format, disk.dev)
        _add(element, "serial", disk.serial)
    used = {disk.dev for disk in domain.disks}
    free = (dev for letter in "abcdefghijklmnopqrstuvwxyz" if (dev := f"vd{letter}") not in used)
    for path in files.seeds:
        _add(_disk(devices, path, "raw", next(free)), "readonly")
    for nic in domain.nics:
        interface = _add(devices, "interface", type="network")
        _add(interface, "mac", address=nic.mac)
        _add(interface, "source", network=nets[nic.net])
        _add(interface, "model", type="virtio")
    serial = _add(devices, "serial", type="pty")
    _add(serial, "log", file=files.console_log, append="on")
    _add(serial, "target", port="0")
    if domain.template is None or domain.template.metadata.get("guest-agent", True):
        _add(devices, "controller", type="virtio-serial", index="0")
        channel = _add(devices, "channel", type="unix")
        _add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    _add(_add(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    _add(devices, "controller", type="usb", model="none")
    _add(devices, "memballoon", model="none")
    _place(devices)


_ON_PCI: Final = ("disk", "interface", "rng", "controller")
_SLOTS: Final = range(2, 0x1D)


def _place(devices: ET.Element) -> None:
    """Put the PCI devices on the root bus: behind a port each, as libvirt would, a guest boots slower."""
    on_pci = [element for element in devices if element.tag in _ON_PCI and element.get("model") != "none"]
    if len(on_pci) <= len(_SLOTS):
        for slot, element in zip(_SLOTS, on_pci, strict=False):
            _add(element, "address", type="pci", domain="0", bus="0", slot=str(slot), function="0")


def _disk(devices: ET.Element, path: str, format_: str, dev: str) -> ET.Element:
    disk = _add(devices, "disk", type="file", device="disk")
    discard = {"discard": "unmap"} if format_ == "qcow2" else {}
    _add(disk, "driver", name="qemu", type=format_, cache="writeback", **discard)
    _add(disk, "source", file=path)
    _add(disk, "target", dev=dev, bus="virtio")
    return disk


def network_xml(
    net: Net,
    *,
    name: str,
    uuid: str,
    bridge: str,
    macs: Mapping[str, str],
    records: Mapping[str, str],
    forwarders: Iterable[str] = (),
    filtered: bool = True,
) -> str:
    """A network.

    Args:
        name: libvirt's name for it.
        uuid: libvirt's UUID for it.
        bridge: its device.
        macs: hardware address by address, of every nic on it.
        records: addresses by name that it answers for, if it is a management net.
        forwarders: name servers for all other names; without any, those of the host.
        filtered: whether libvirt is to add packet filter rules.
    """
    root = ET.Element("network")
    _add(root, "name", name)
    _add(root, "uuid", uuid)
    _add(root, "forward", mode="nat" if filtered else "open")
    _add(root, "bridge", name=bridge, stp="off", delay="0")
    if net.management:
        _add(root, "domain", name=DNS_DOMAIN, localOnly="yes")
        _dns(root, records, forwarders)
    else:
        _add(root, "dns", enable="no")
    ip = _add(root, "ip", address=net.gw, netmask="255.255.255.0")
    names = {address: name for name, address in reversed(list(net.mapping.items()))}
    if macs or net.dhcp:
        dhcp = _add(ip, "dhcp")
        if net.dhcp:
            subnet = net.gw.rpartition(".")[0]
            _add(dhcp, "range", start=f"{subnet}.{net.dhcp.start}", end=f"{subnet}.{net.dhcp.end}")
        for address, mac in macs.items():
            _add(dhcp, "host", mac=mac, name=names[address], ip=address)
    if not net.management:
        # A machine's way out, and its name server, is its management net; other nets announce no router.
        options = ET.SubElement(root, f"{{{_DNSMASQ}}}options")
        ET.SubElement(options, f"{{{_DNSMASQ}}}option", value=_NO_ROUTER)
    return ET.tostring(root, encoding="unicode")


def _dns(root: ET.Element, records: Mapping[str, str], forwarders: Iterable[str]) -> None:
    dns = _add(root, "dns", forwardPlainNames="no")
    for address in forwarders:
        _add(dns, "forwarder", addr=address)
    by_address: dict[str, list[str]] = {}
    for name, address in records.items():
        by_address.setdefault(address, []).append(name)
    for address, names in by_address.items():
        host = _add(dns, "host", ip=address)
        for name in names:
            _add(host, "hostname", name)

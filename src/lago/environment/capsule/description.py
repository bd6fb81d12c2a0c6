"""What libvirt is told of a machine whose memory came from elsewhere: only what leads to nothing of this host.

It is at the begin of the file with the state of devices. Source: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Final

from ...host.files import replacing
from ...paths import Paths
from ...topology.model import Domain
from ...topology.names import libvirt_domain_name
from ...virt import state_file

_MOST: Final = 1 << 20
"""Bytes of a description."""

_ROOT: Final = {
    *("name", "uuid", "genid", "memory", "currentMemory", "vcpu", "vcpus", "iothreads", "sysinfo", "os", "features"),
    *("cpu", "clock", "on_poweroff", "on_reboot", "on_crash", "pm", "devices", "resource"),
}
_DROPPED: Final = {"memoryBacking", "metadata", "seclabel", "title", "description"}
_DEVICES: Final = {
    *("emulator", "disk", "controller", "interface", "serial", "console", "channel", "input", "rng", "graphics"),
    *("video", "audio", "memballoon", "watchdog", "panic"),
}
_INPUTS: Final = ("keyboard", "mouse", "tablet")
"""Those of QEMU's own; others are devices of the host."""

_FIRMWARE: Final = ("/usr/share/OVMF/", "/usr/share/qemu/", "/usr/share/edk2/")


def rewrite(path: str, uuid: str, domain: Domain, paths: Paths, files: Mapping[str, str], qemu: str) -> None:
    """Check the description in a file of state, and write it as it must be here.

    Args:
        path: of the file, which is replaced.
        uuid: that names at libvirt are made of.
        domain: the machine.
        paths: of the environment.
        files: kernels and the like as they are here, by their paths elsewhere.
        qemu: the program that runs machines.

    Raises:
        ValueError: there is something in it that no machine of Lago's has.
        OSError: it can't be read or written.
    """
    with open(path, "rb") as source:
        length = source.readline(16)
        if not length[:-1].isdigit() or int(length) > _MOST:
            raise ValueError("its description is missing or too large")
        text = source.read(int(length))
        if b"<!" in text:
            raise ValueError("its description has more than elements")
        try:
            root = ET.fromstring(text)  # noqa: S314 - without entities, and bounded
        except ET.ParseError as error:
            raise ValueError(f"its description is damaged: {error}") from None
        _checked(root, uuid, domain, paths, files, qemu)
        with replacing(path) as temporary, open(temporary, "wb") as target:
            state_file.write_text(target, ET.tostring(root))
            shutil.copyfileobj(source, target, 1 << 20)


def _checked(root: ET.Element, uuid: str, domain: Domain, paths: Paths, files: Mapping[str, str], qemu: str) -> None:
    if root.tag != "domain" or root.findtext("name") != libvirt_domain_name(uuid, domain.name):
        raise ValueError("it is of another machine")
    for element in list(root):
        # What has a namespace are words for QEMU itself; Lago gives its own.
        if element.tag in _DROPPED or element.tag.startswith("{"):
            root.remove(element)
        elif element.tag not in _ROOT:
            raise ValueError(f"it has <{element.tag}>")
    for element in root.iter():
        for child in list(element):
            if child.tag in ("seclabel", "privateData"):
                element.remove(child)
    _boot(root, domain, paths, files)
    devices = root.find("devices")
    if devices is None:
        raise ValueError("it has no devices")
    for sysinfo in root.iterfind("sysinfo"):
        # That of the type fwcfg shows files of the host to the guest.
        if sysinfo.get("type") != "smbios":
            raise ValueError(f"it tells the guest of the host: <sysinfo> of the type {sysinfo.get('type')}")
    disks = {disk.dev for disk in domain.writable()}
    for device in list(devices):
        if device.tag not in _DEVICES:
            raise ValueError(f"it has <{device.tag}>")
        if device.tag == "emulator":
            device.text = shutil.which(qemu) or device.text
        elif device.tag == "disk":
            _disk(device, disks, paths)
        elif device.tag == "interface":
            _interface(device)
        elif device.tag in ("serial", "console", "channel"):
            _character(device)
        elif device.tag == "rng":
            backend = device.find("backend")
            if backend is None or backend.get("model") != "random" or backend.text != "/dev/urandom":
                raise ValueError("its random numbers come from elsewhere")
        elif device.tag == "input" and device.get("type") not in _INPUTS:
            raise ValueError(f"it has an input of the host: {device.get('type')}")
        elif device.tag == "graphics":
            _screen(device)
        elif device.tag == "audio" and device.get("type") != "none":
            raise ValueError("it has sound")


def _boot(root: ET.Element, domain: Domain, paths: Paths, files: Mapping[str, str]) -> None:
    boot = root.find("os")
    if boot is None:
        raise ValueError("it has no <os>")
    for element in list(boot):
        if element.tag in ("kernel", "initrd", "dtb"):
            if (element.text or "") not in files:
                raise ValueError(f"it boots {element.text}, which is of no template")
            element.text = files[element.text or ""]
        elif element.tag == "loader":
            if not os.path.realpath(element.text or "").startswith(_FIRMWARE):
                raise ValueError(f"its firmware is {element.text}")
        elif element.tag == "nvram":
            if not (element.get("template") or _FIRMWARE[0]).startswith(_FIRMWARE) or len(element):
                raise ValueError("its firmware keeps what it has elsewhere")
            element.text = paths.nvram(domain.name)
        elif element.tag not in ("type", "cmdline", "boot", "bios", "smbios", "firmware", "bootmenu"):
            raise ValueError(f"it has <{element.tag}>")


def _disk(disk: ET.Element, writable: set[str], paths: Paths) -> None:
    target, source = disk.find("target"), disk.find("source")
    if disk.get("type") != "file" or target is None or source is None:
        raise ValueError("it has a disk that is no file")
    file = paths.images(os.path.basename(source.get("file", "")))
    if target.get("dev") not in writable:
        driver = disk.find("driver")
        if driver is None or driver.get("type") != "raw" or disk.find("readonly") is None or not os.path.isfile(file):
            raise ValueError("it has a disk that is not its own")
    for element in list(disk):
        if element.tag in ("backingStore", "mirror", "source", "encryption", "auth"):
            disk.remove(element)
    disk.insert(0, ET.Element("source", file=file))


def _interface(interface: ET.Element) -> None:
    source = interface.find("source")
    if interface.get("type") != "network" or source is None or not source.get("network"):
        raise ValueError("it is on a net of the host")
    for element in list(interface):
        if element.tag in ("script", "downscript", "backend", "target", "virtualport", "rom"):
            interface.remove(element)
    network = source.get("network", "")
    interface.remove(source)
    interface.insert(0, ET.Element("source", network=network))


def _character(device: ET.Element) -> None:
    if device.get("type") not in ("pty", "unix"):
        raise ValueError(f"it has a {device.tag} that is a {device.get('type')}")
    # Libvirt makes them where it wants them; the log is named anew whenever the machine comes back.
    for element in device.findall("source"):
        device.remove(element)


def _screen(graphics: ET.Element) -> None:
    listens = [one for one in graphics if one.tag == "listen"]
    inside = all(one.get("type") == "address" and one.get("address") == "127.0.0.1" for one in listens)
    if graphics.get("type") != "vnc" or graphics.get("listen", "127.0.0.1") != "127.0.0.1" or not listens or not inside:
        raise ValueError("others could come to its screen")
    for key in ("socket", "passwd", "websocket", "keymap", "powerControl"):
        graphics.attrib.pop(key, None)

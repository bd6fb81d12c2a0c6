"""Whether a guest finds the same machine again."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from lago.virt import hardware

MACHINE = """
<domain type='qemu'>
  <memory>131072</memory><vcpu placement='static'>1</vcpu><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/><source file='/a/root.3.qcow2' index='2'/>
      <target dev='vda' bus='virtio'/><serial>1</serial><alias name='virtio-disk0'/>
      <address type='pci' bus='0x00' slot='0x02'/>
    </disk>
    <interface type='network'>
      <mac address='54:52:c0:a8:c8:02'/><source network='n' portid='1' bridge='virbr0'/><target dev='vnet0'/>
      <model type='virtio'/><address type='pci' bus='0x00' slot='0x03'/>
    </interface>
    <serial type='pty'><source path='/dev/pts/1'/><log file='/a/log'/><target port='0'/></serial>
    <console type='pty' tty='/dev/pts/1'><source path='/dev/pts/1'/><target type='serial' port='0'/></console>
    <graphics type='vnc' port='5900'/>
  </devices>
</domain>
"""


def difference(changes: list[tuple[str, str]]) -> str | None:
    """What is other after texts were replaced."""
    text = MACHINE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    found = {hardware.difference(ET.fromstring(one), ET.fromstring(other)) for one, other in _both(MACHINE, text)}
    [name] = found
    return name


def _both(one: str, other: str) -> list[tuple[str, str]]:
    return [(one, other), (other, one)]


def test_files_and_names_on_the_host_are_no_difference() -> None:
    changes = [("root.3", "root.7"), ("vnet0", "vnet8"), ("pts/1", "pts/4"), ("/a/log", "/b/log"), ("5900", "5901")]
    assert difference([*changes, ("virtio-disk0", "virtio-disk1"), ("portid='1'", "portid='2'")]) is None


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("131072", "262144", "memory"),
        (">1</vcpu>", ">2</vcpu>", "vcpu"),
        ("q35-7.2", "q35-8.0", "os/type"),
        ("slot='0x03'", "slot='0x04'", "interface"),
        ("<model type='virtio'/>", "<model type='virtio'/><link state='down'/>", "interface"),
        ("<serial>1</serial>", "<serial>2</serial>", "disk"),
        ("<graphics", "<channel type='unix'><target type='virtio' name='a'/></channel><graphics", "channel"),
    ],
)
def test_what_a_guest_can_see_is_one(old: str, new: str, part: str) -> None:
    assert difference([(old, new)]) == part

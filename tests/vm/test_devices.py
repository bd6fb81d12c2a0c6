"""Disks on other buses, CDs, several processors and a device for a shared directory, in a real guest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.bootstrap import iso
from lago.environment.prefix import Prefix
from lago.virt import VM

INIT_FILE = """
domains:
  vm0:
    memory: 256M
    vcpu: 4
    nics: [{net: lab}]
    disks:
      - {template_name: mini, size: 9G}
      - {size: 64M, dev: sdb}
      - {path: cd.iso, make_a_copy: true}
      - {path: $LAGO_INITFILE_PATH/data.raw}
    shares: [{path: src, tag: src}]
nets: {lab: {}}
"""


@pytest.fixture(scope="module")
def vm(base: Path, store: Path) -> Iterator[VM]:
    room = base / "devices"
    (room / "src").mkdir(parents=True)
    (room / "LagoInitFile").write_text(INIT_FILE)
    (room / "cd.iso").write_bytes(iso.image("things", {"a": b"on the CD"}))
    (room / "data.raw").write_bytes(b"in place".ljust(1 << 20, b"\0"))
    prefix = Prefix.create(str(room / "work" / "default"), str(room / "LagoInitFile"))
    try:
        prefix.start()
        yield prefix.virt_env.get_vm("vm0")
    finally:
        prefix.virt_env.close()
        prefix.destroy()


def said(vm: VM, command: str) -> str:
    status = vm.ssh(command)
    assert status.code == 0, (command, status)
    return status.out.decode(errors="replace")


def test_disks_are_there_with_their_sizes_and_contents(vm: VM) -> None:
    # This guest looks for drivers only once, before these disks are found.
    said(vm, "modprobe -a virtio_scsi sd_mod sr_mod")
    said(vm, "for i in $(seq 100); do [ -b /dev/sda ] && [ -b /dev/sr0 ] && exit 0; usleep 100000; done; exit 1")
    assert said(vm, "cat /sys/block/vda/size /sys/block/sda/size").split() == [str(9 << 21), str(64 << 11)]
    assert said(vm, "dd if=/dev/vdb bs=8 count=1 2>/dev/null") == "in place"
    said(vm, "mkdir -p /cd && mount -t iso9660 -o ro /dev/sr0 /cd")
    assert said(vm, "cat /cd/a") == "on the CD"


def test_processors_are_in_cells(vm: VM) -> None:
    assert said(vm, "grep -c ^processor /proc/cpuinfo").strip() == "4"
    assert said(vm, "cat /sys/devices/system/node/online").strip() == "0-1"


def test_a_shared_directory_is_offered_to_the_guest(vm: VM) -> None:
    # 26 is virtio's number of file systems; `test_firmware` mounts some.
    assert "0x001a" in said(vm, "cat /sys/bus/virtio/devices/*/device")

"""Appliances: real archives with disks made by qemu-img."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lago.disks import ova
from lago.errors import DiskError

OVF = """\
<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
 <References><File ovf:id="file1" ovf:href="{href}"/></References>
 <DiskSection><Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="64" ovf:capacityAllocationUnits="byte * 2^20"/>
 </DiskSection>
 <VirtualSystem ovf:id="app"><VirtualHardwareSection>
  <Item><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>3</rasd:VirtualQuantity></Item>
  <Item><rasd:AllocationUnits>{units}</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType>
   <rasd:VirtualQuantity>{memory}</rasd:VirtualQuantity></Item>
  {disks}
 </VirtualHardwareSection></VirtualSystem>
</Envelope>
"""
DISK = "<Item><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>ovf:/disk/disk1</rasd:HostResource></Item>"


def _ovf(**changes: str) -> bytes:
    values = {"href": "disk.vmdk", "units": "byte * 2^20", "memory": "768", "disks": DISK, **changes}
    return OVF.format(**values).encode()


def _archive(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def _info(path: Path) -> dict[str, Any]:
    out = subprocess.run(["qemu-img", "info", "--output=json", path], capture_output=True, check=True).stdout
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture
def vmdk(tmp_path: Path) -> bytes:
    """A disk as exports have it, with something on it."""
    raw = tmp_path / "raw"
    raw.write_bytes(b"lago" * 1024)
    with raw.open("r+b") as file:
        file.truncate(64 << 20)
    made = tmp_path / "made.vmdk"
    options = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", "-f", "raw", *options, raw, made], check=True)
    raw.unlink()
    return made.read_bytes()


@pytest.mark.programs
def test_memory_processors_and_disk_are_taken(tmp_path: Path, vmdk: bytes) -> None:
    archive = _archive(tmp_path / "app.ova", {"app.ovf": _ovf(), "app.mf": b"", "disk.vmdk": vmdk})
    image = tmp_path / "image.qcow2"
    assert ova.unpack(archive, str(image)) == ova.Appliance(memory=768, vcpu=3, disk="disk.vmdk")
    info = _info(image)
    assert (info["format"], info["virtual-size"], "backing-filename" in info) == ("qcow2", 64 << 20, False)
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, tmp_path / "back"], check=True)
    assert (tmp_path / "back").read_bytes()[:4096] == b"lago" * 1024
    assert not (tmp_path / "image.qcow2.unpacked").exists()


@pytest.mark.parametrize(
    ("units", "quantity", "memory"),
    [("byte * 2^30", "2", 2048), ("MegaBytes", "512", 512), ("Byte*2^10", "1048576", 1024), ("byte", "1048576", 1)],
)
def test_units_of_memory(units: str, quantity: str, memory: int) -> None:
    assert ova.parse(_ovf(units=units, memory=quantity), "x").memory == memory


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (_ovf(disks=""), "its machine has 0 disks"),
        (_ovf(disks=DISK * 2), "its machine has 2 disks"),
        (_ovf(href="../../etc/shadow"), "names no file for the disk"),
        (_ovf(units="pages"), "unknown unit pages"),
        (_ovf(memory="much"), "has much where a number is expected"),
        (b"<Envelope>", "is not XML"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Envelope/>', "document type"),
        ('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x><Envelope/>'.encode("utf-16"), "document type"),
        (b"<Envelope/>", "describes 0 machines"),
    ],
)
def test_a_description_that_is_not_understood_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(DiskError, match=why) as caught:
        ova.parse(text, "http://x/app.ova")
    assert str(caught.value).startswith("http://x/app.ova can't be used: ")
    assert caught.value.hint == "an OVA with one machine and one disk is expected"


def test_what_is_no_archive_of_an_appliance_is_refused(tmp_path: Path) -> None:
    image = str(tmp_path / "image")
    page = tmp_path / "page"
    page.write_text("<html>")
    cases = {
        str(page): "no tar archive",
        _archive(tmp_path / "a", {"disk.vmdk": b""}): "0 OVF descriptions",
        _archive(tmp_path / "b", {"a.ovf": _ovf(), "b.ovf": _ovf()}): "2 OVF descriptions",
        _archive(tmp_path / "c", {"a.ovf": _ovf()}): "its disk disk.vmdk is not in it",
    }
    for archive, why in cases.items():
        with pytest.raises(DiskError, match=why):
            ova.unpack(archive, image)
    assert not Path(image).exists()


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = _archive(tmp_path / "many", {f"{n}": b"" for n in range(1002)})
    with pytest.raises(DiskError, match="more than 1000 members"):
        ova.unpack(many, str(tmp_path / "image"))
    large = _archive(tmp_path / "large", {"a.ovf": b" " * (2 << 20)})
    with pytest.raises(DiskError, match="more than 1048576"):
        ova.unpack(large, str(tmp_path / "image"))


@pytest.mark.programs
def test_a_disk_that_leads_elsewhere_or_is_huge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 65536)
    image = tmp_path / "image.qcow2"
    descriptor = (
        '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        'RW 128 FLAT "secret" 0\nddb.adapterType="ide"\nddb.geometry.cylinders="1"\n'
        'ddb.geometry.heads="1"\nddb.geometry.sectors="1"\n'
    )
    outside = _archive(tmp_path / "a", {"a.ovf": _ovf(), "disk.vmdk": descriptor.encode()})
    overlay, huge = tmp_path / "overlay", tmp_path / "huge"
    backing = ["-b", str(tmp_path / "secret"), "-F", "raw"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, overlay], check=True)
    layered = _archive(tmp_path / "b", {"a.ovf": _ovf(), "disk.vmdk": overlay.read_bytes()})
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", huge, "17T"], check=True)
    bomb = _archive(tmp_path / "c", {"a.ovf": _ovf(), "disk.vmdk": huge.read_bytes()})
    for archive, why in ((outside, "in other files"), (layered, "in other files"), (bomb, "has 17 TiB, more than 16")):
        with pytest.raises(DiskError, match=why):
            ova.unpack(archive, str(image))
    assert not image.exists()
    assert not image.with_name("image.qcow2.unpacked").exists()


@pytest.mark.programs
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_names_of_gigabytes_take_no_memory(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "app.ova"
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 4 << 30
    with archive.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(5 << 30)
    words = (
        "import resource, sys\nfrom lago.disks import ova\nfrom lago.errors import DiskError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "try:\n    ova.unpack(sys.argv[1], sys.argv[1] + '.image')\nexcept DiskError as error:\n    print(error)\n"
    )
    argv = [sys.executable, "-c", words, str(archive)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert "the name of a member has 4294967296 bytes" in done.stdout, done.stderr[-300:]

"""`lago template import`: which files are images, and what becomes of each format."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from lago.disks import qemu_img as disks
from lago.templates import TemplateStore

from ..conftest import Lago
from ..disks.test_ova import _archive, _ovf
from ..hostile import qemu_img

pytestmark = pytest.mark.programs

MIB = 1 << 20
DATA = os.urandom(3 * 65536)


@pytest.fixture
def store(lago: Lago, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemplateStore:
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", str(tmp_path / "store"))
    return TemplateStore(str(tmp_path / "store"))


def disk(tmp_path: Path) -> Path:
    """A raw disk with a partition table and something on it."""
    path = tmp_path / "raw"
    path.write_bytes(bytes(510) + b"\x55\xaa" + DATA)
    os.truncate(path, 8 * MIB)
    return path


def content(tmp_path: Path, image: str, format: str) -> bytes:
    disks.convert(image, format, str(tmp_path / "back"), "raw")
    return (tmp_path / "back").read_bytes()[: 8 * MIB]


@pytest.mark.parametrize(
    "options",
    [
        ["qcow2"],
        ["vmdk"],
        ["vmdk", "subformat=streamOptimized"],
        ["vdi"],
        ["vdi", "static=on"],
        ["vhdx"],
        ["vpc"],
        ["vpc", "subformat=fixed,force_size=on"],
    ],
    ids=" ".join,
)
def test_other_formats_become_qcow2(lago: Lago, store: TemplateStore, tmp_path: Path, options: list[str]) -> None:
    raw, other = disk(tmp_path), tmp_path / "other"
    more = ["-o", options[1]] if options[1:] else []
    qemu_img("convert", "-f", "raw", "-O", options[0], *more, raw, other)
    about = json.loads(lago("-f", "json", "template", "import", str(other), "mine"))["local:mine:1"]
    assert about["format"] == "qcow2"
    assert content(tmp_path, about["path"], "qcow2") == raw.read_bytes()
    assert json.loads(lago("-f", "json", "template", "verify")) == {"local:mine:1": "ok"}
    assert sorted(os.listdir(store.path)) == [f"local:mine:1{end}" for end in ("", ".hash", ".lock", ".metadata")]


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress, bz2.compress, zstandard.compress])
@pytest.mark.parametrize("kind", ["raw", "vmdk", "ova"])
def test_packed_ones_too(
    lago: Lago, store: TemplateStore, tmp_path: Path, pack: Callable[[bytes], bytes], kind: str
) -> None:
    raw, other = disk(tmp_path), tmp_path / "other"
    qemu_img("convert", "-f", "raw", "-O", "raw" if kind == "raw" else "vmdk", raw, other)
    if kind == "ova":
        _archive(tmp_path / "ova", {"app.ovf": _ovf(), "disk.vmdk": other.read_bytes()})
        (tmp_path / "ova").rename(other)
    other.write_bytes(pack(other.read_bytes()))
    image = json.loads(lago("-f", "json", "template", "import", str(other), "mine"))["local:mine:1"]
    assert image["format"] == ("raw" if kind == "raw" else "qcow2")
    assert content(tmp_path, image["path"], image["format"]) == raw.read_bytes()


ON_DISKS = {
    "ext4": ["mke2fs", "-q", "-F", "-t", "ext4"],
    "ext2": ["mke2fs", "-q", "-F", "-t", "ext2"],
    "swap": ["mkswap"],
}


@pytest.mark.parametrize("kind", ON_DISKS)
def test_a_raw_disk_is_known_by_what_is_on_it(lago: Lago, store: TemplateStore, tmp_path: Path, kind: str) -> None:
    image = tmp_path / "raw"
    image.touch()
    os.truncate(image, 32 * MIB)
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    subprocess.run([*ON_DISKS[kind], image], check=True, capture_output=True, env={"PATH": path})
    about = json.loads(lago("-f", "json", "template", "import", str(image), "mine"))["local:mine:1"]
    assert about["format"] == "raw"


@pytest.mark.parametrize(
    "data",
    [
        b"domains: {vm0: {}}\n" * 100,
        b"%PDF-1.7\n" + os.urandom(5000),
        b"\x7fELF" + os.urandom(100_000),
        b"PK\x03\x04" + bytes(5000),
        bytes(1 << 20),
        b"#!/bin/sh\necho\n" * 100,
    ],
    ids=["text", "PDF", "program", "zip", "zeros", "script"],
)
def test_what_looks_like_no_disk_is_refused_unless_told(
    lago: Lago, store: TemplateStore, tmp_path: Path, data: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    said = lago.both("template", "import", str(file), "mine", code=2)[1]
    assert f"{file} is no disk image that is known" in said
    assert "hint: taken are qcow2, VMDK, VDI, VHDX, VHD, OVA and raw disks" in said
    assert store.list() == []
    about = json.loads(lago("-f", "json", "template", "import", str(file), "mine", "--format", "raw"))
    assert Path(about["local:mine:1"]["path"]).read_bytes() == data


def test_what_is_no_file_or_empty_is_told(lago: Lago, store: TemplateStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name, says in {
        str(tmp_path): "is no file, and so no disk image",
        "/dev/null": "is no file, and so no disk image",
        str(tmp_path / "pipe"): "is no file, and so no disk image",
        str(tmp_path / "nothing"): "there is no image",
        str(tmp_path / "empty"): "is empty",
    }.items():
        assert says in lago.both("template", "import", name, "mine", code=2)[1]
    assert store.list() == []


def test_a_link_to_a_file_elsewhere_is_no_kernel(lago: Lago, store: TemplateStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    place = tmp_path / "unpacked"
    place.mkdir()
    disks.create_empty(str(place / "image"), MIB)
    (place / "image.initrd").symlink_to(tmp_path / "secret")
    said = lago.both("template", "import", str(place / "image"), "mine", code=2)[1]
    assert f"image.initrd is a link to {tmp_path}/secret, outside of {place}" in said
    assert store.list() == []
    (place / "image.initrd").unlink()
    (place / "initrd").write_text("initrd")
    (place / "image.initrd").symlink_to("initrd")
    about = json.loads(lago("-f", "json", "template", "import", str(place / "image"), "mine"))["local:mine:1"]
    assert Path(about["metadata"]["initrd"]).read_text() == "initrd"


def test_a_format_that_is_told_must_be_that_of_the_file(lago: Lago, store: TemplateStore, tmp_path: Path) -> None:
    disks.create_empty(str(tmp_path / "image"), MIB)
    said = lago.both("template", "import", "image", "mine", "--format", "raw", code=2)[1]
    assert "is qcow2, not raw" in said
    (tmp_path / "image.metadata").write_text('{"format": "raw"}')
    assert "is qcow2, not raw" in lago.both("template", "import", "image", "mine", code=2)[1]
    assert store.list() == []

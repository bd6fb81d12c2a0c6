"""Disk images, by the real qemu-img."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lago.disks import qemu_img
from lago.errors import DiskError
from lago.topology.model import Disk, TemplateImage

pytestmark = pytest.mark.programs

MIB = 1 << 20


@pytest.fixture
def backing(tmp_path: Path) -> str:
    path = tmp_path / "r:t:1"
    path.write_bytes(b"\0" * MIB)
    return str(path)


def test_an_overlay_names_its_backing_image_and_its_format(tmp_path: Path, backing: str) -> None:
    path = str(tmp_path / "overlay")
    qemu_img.create_overlay(path, backing, "raw")
    info = qemu_img.info(path, "qcow2")
    assert (qemu_img.seen_format(path), info["backing-filename"], info["backing-filename-format"]) == (
        "qcow2",
        backing,
        "raw",
    )
    assert info["virtual-size"] == MIB
    # With them, what a killed QEMU had open could never be below the disk of a machine that is saved.
    assert not info["format-specific"]["data"]["lazy-refcounts"]


def test_an_overlay_can_be_larger_than_its_backing_image(tmp_path: Path, backing: str) -> None:
    path = str(tmp_path / "overlay")
    qemu_img.create_overlay(path, backing, "raw", 5 * MIB)
    assert qemu_img.info(path, "qcow2")["virtual-size"] == 5 * MIB


@pytest.mark.parametrize("format", ["qcow2", "raw"])
def test_an_empty_disk_occupies_next_to_nothing(tmp_path: Path, format: str) -> None:
    path = str(tmp_path / "empty")
    qemu_img.create_empty(path, 10 << 30, format)
    assert qemu_img.info(path, format)["virtual-size"] == 10 << 30
    assert qemu_img.seen_format(path) == format
    assert os.stat(path).st_blocks * 512 < MIB


def test_nobody_else_can_write_to_an_image(tmp_path: Path) -> None:
    path = str(tmp_path / "empty")
    qemu_img.create_empty(path, MIB)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644


def test_an_image_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = str(tmp_path / "empty")
    qemu_img.create_empty(path, MIB)
    qemu_img.create_empty(path, 2 * MIB)
    assert qemu_img.info(path, "qcow2")["virtual-size"] == 2 * MIB
    assert os.listdir(tmp_path) == ["empty"]


def test_a_failure_has_the_words_of_qemu_img_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskError) as caught:
        qemu_img.create_overlay(str(tmp_path / "overlay"), "/nonexistent/image", "qcow2")
    assert caught.value.what == f"cannot create the disk image {tmp_path}/overlay"
    assert "No such file or directory" in caught.value.details
    assert not list(tmp_path.iterdir())


def test_a_missing_directory_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot create the disk image"):
        qemu_img.create_empty(str(tmp_path / "missing" / "disk"), MIB)


def test_a_relative_backing_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="no absolute path"):
        qemu_img.create_overlay(str(tmp_path / "overlay"), "image", "raw")


def test_what_is_not_there_has_no_info(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot read"):
        qemu_img.info(str(tmp_path / "nothing"), "raw")


def test_disks_of_a_topology_are_made_by_their_kind(tmp_path: Path, backing: str) -> None:
    image = TemplateImage(id="r:t:1", path=backing, format="raw")
    root = Disk(name="root", type="template", dev="vda", format="qcow2", path="a", serial="1", template=image)
    data = Disk(name="data", type="empty", dev="vdb", format="raw", path="b", serial="2", size=MIB)
    qemu_img.create(root, str(tmp_path))
    qemu_img.create(data, str(tmp_path))
    assert qemu_img.info(str(tmp_path / "a"), "qcow2")["backing-filename"] == backing
    assert qemu_img.seen_format(str(tmp_path / "b")) == "raw"


def test_a_template_disk_cannot_be_raw(tmp_path: Path, backing: str) -> None:
    image = TemplateImage(id="r:t:1", path=backing, format="raw")
    disk = Disk(name="root", type="template", dev="vda", format="raw", path="a", serial="1", template=image)
    with pytest.raises(DiskError, match="can only be qcow2"):
        qemu_img.create(disk, str(tmp_path))


def test_conversion_keeps_the_content(tmp_path: Path, backing: str) -> None:
    path = str(tmp_path / "copy")
    qemu_img.convert(backing, "raw", path, "qcow2")
    assert qemu_img.seen_format(path) == "qcow2"
    assert qemu_img.info(path, "qcow2")["virtual-size"] == MIB

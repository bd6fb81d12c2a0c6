"""Images by their path: layered ones, files used in place or copied, and their sizes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lago.disks import qemu_img
from lago.errors import DiskError, TemplateError
from lago.host.programs import run
from lago.templates import TemplateRepository, TemplateStore
from lago.templates import backing as layered
from lago.templates.choose import Chooser
from lago.topology.model import Disk, TemplateImage

pytestmark = pytest.mark.programs

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    return TemplateStore(str(tmp_path / "store"))


@pytest.fixture
def repository(tmp_path: Path) -> TemplateRepository:
    """A repository `r` with a template `t`, whose image has a megabyte."""
    root = tmp_path / "images"
    root.mkdir()
    (root / "t").write_bytes(b"\0" * MIB)
    (root / "t.metadata").write_text(json.dumps({"distro": "d"}))
    dom = {
        "name": "r",
        "sources": {"s": {"type": "file", "args": {"root": str(root)}}},
        "templates": {"t": {"versions": {"1": {"source": "s", "handle": "t", "timestamp": 1}}}},
    }
    (tmp_path / "repo.json").write_text(json.dumps(dom))
    return TemplateRepository.from_url(str(tmp_path / "repo.json"))


def layer(path: Path, backing: str) -> str:
    run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", "raw", str(path), "1M"])
    return str(path)


def test_a_plain_image_is_taken_as_it_is(tmp_path: Path, repository: TemplateRepository, store: TemplateStore) -> None:
    path = str(tmp_path / "a.qcow2")
    qemu_img.create_empty(path, MIB)
    assert layered.image(path, Chooser(repository, store)) == TemplateImage(id=path, path=path, format="qcow2")


def test_a_template_below_is_fetched_linked_to_and_known(
    tmp_path: Path, repository: TemplateRepository, store: TemplateStore
) -> None:
    path = layer(tmp_path / "a.qcow2", "./t:1")
    for _ in range(2):  # The second time the link is there.
        found = layered.image(path, Chooser(repository, store))
        assert found.metadata["distro"] == "d"
    assert os.readlink(tmp_path / "t:1") == str(tmp_path / "store" / "r:t:1")
    overlay = str(tmp_path / "overlay.qcow2")
    qemu_img.create_overlay(overlay, path, "qcow2")
    assert qemu_img.info(overlay, "qcow2")["virtual-size"] == MIB


@pytest.mark.parametrize(
    ("backing", "message"),
    [
        ("t:1", "which QEMU takes for a protocol"),
        ("./gone", "gone, which is not there"),
        ("./nobody:1", "has no template nobody"),
        ("./a.qcow2", "is layered on itself"),
    ],
)
def test_layers_that_cannot_be_had_are_told(
    tmp_path: Path, repository: TemplateRepository, store: TemplateStore, backing: str, message: str
) -> None:
    path = layer(tmp_path / "a.qcow2", backing)
    with pytest.raises(TemplateError, match=message) as caught:
        layered.image(path, Chooser(repository, store))
    assert caught.value.hint


def test_an_image_that_is_not_there_is_told(
    tmp_path: Path, repository: TemplateRepository, store: TemplateStore
) -> None:
    with pytest.raises(TemplateError, match="nowhere is not there"):
        layered.image(str(tmp_path / "nowhere"), Chooser(repository, store))


def file(path: str, source: str | None = None, format_: str = "qcow2") -> Disk:
    return Disk(name="d", type="file", dev="vda", format=format_, path=path, serial="1", source=source)  # type: ignore[arg-type]


def test_a_file_is_copied_with_its_content_and_the_original_left(tmp_path: Path) -> None:
    original = tmp_path / "a.raw"
    original.write_bytes(b"abc" + b"\0" * MIB)
    qemu_img.create(file("copy", str(original), "raw"), str(tmp_path))
    assert (tmp_path / "copy").read_bytes() == original.read_bytes()


def test_a_file_in_place_must_be_there_in_the_format_that_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    with pytest.raises(DiskError, match="is not there"):
        qemu_img.create(file(path), "/")
    qemu_img.create_empty(path, MIB, "raw")
    with pytest.raises(DiskError, match="is raw, not qcow2") as caught:
        qemu_img.create(file(path), "/")
    assert caught.value.hint == "write format: raw"
    qemu_img.create(file(path, format_="iso"), "/")
    assert os.listdir(tmp_path) == ["a"]


def test_a_disk_of_a_template_grows_and_never_shrinks(tmp_path: Path) -> None:
    backing = tmp_path / "t"
    backing.write_bytes(b"\0" * MIB * 2)
    image = TemplateImage(id="r:t:1", path=str(backing), format="raw")

    def make(size: int) -> None:
        disk = Disk(
            name="d", type="template", dev="vda", format="qcow2", path="x", serial="1", size=size, template=image
        )
        qemu_img.create(disk, str(tmp_path))

    make(5 * MIB)
    assert qemu_img.info(str(tmp_path / "x"), "qcow2")["virtual-size"] == 5 * MIB
    with pytest.raises(DiskError, match="fewer than its template r:t:1"):
        make(MIB)

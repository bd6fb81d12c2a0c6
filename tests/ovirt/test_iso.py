"""ISO images that are uploaded by image transfers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lago.errors import LagoError
from ovirtlago.engine import iso
from ovirtlago.errors import EngineError

from .loopback import StandIn

SIZE = 3 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Something of the size of an ISO image."""
    path = tmp_path / "some.iso"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_an_image_gets_to_the_engine_as_it_is(engine: StandIn, image: Path) -> None:
    gone: list[int] = []
    disk = engine.vm.add_iso(str(image), on_bytes=gone.append)
    assert engine.engine.directory.joinpath(f"image-{disk}").read_bytes() == image.read_bytes()
    assert sum(gone) == SIZE
    assert engine.state.of("disks") == {
        disk: {"name": "some.iso", "size": SIZE, "content": "iso", "status": "ok", "domain": "storage-master"}
    }
    [transfer] = engine.state.of("imagetransfers").values()
    assert transfer["phase"] == "finished_success"


def test_the_storage_domain_can_be_named(engine: StandIn, image: Path) -> None:
    disk = engine.vm.add_iso(str(image), "nfs")
    assert engine.state.of("disks")[disk]["domain"] == "storage-nfs"
    with pytest.raises(LagoError, match="the engine has no storage domain nsf") as caught:
        engine.vm.add_iso(str(image), "nsf")
    assert caught.value.hint == "did you mean nfs?"


@pytest.mark.parametrize("fault", [{"upload": 403}, {"upload": 500}])
def test_what_is_refused_leaves_nothing_behind(engine: StandIn, image: Path, fault: dict[str, int]) -> None:
    engine.faults.set(**fault)
    with pytest.raises(EngineError, match=f"does not take the image: status {fault['upload']}"):
        engine.vm.add_iso(str(image))
    assert engine.state.of("disks") == {}
    assert [one["phase"] for one in engine.state.of("imagetransfers").values()] == ["cancelled_user"]


def test_an_upload_that_can_not_be_reached_leaves_nothing_behind(engine: StandIn, image: Path) -> None:
    from .engine_server.server import IMAGES

    del engine.vm.ports[IMAGES]
    with pytest.raises(EngineError, match=r"the upload to engine.example.com broke off: .*refused") as caught:
        engine.vm.add_iso(str(image))
    assert "last event of engine" in caught.value.details
    assert engine.state.of("disks") == {}


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_stays_locked_is_told(engine: StandIn, image: Path) -> None:
    engine.faults.set(**{"disks__some.iso": {"stuck": True}})
    with pytest.raises(EngineError, match=r"disk .*: not done within 1 s: it is locked"):
        engine.vm.add_iso(str(image))


@pytest.mark.parametrize("content", [b"", b"short"])
def test_what_is_no_image_is_not_sent(engine: StandIn, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.iso"
    path.write_bytes(content)
    with pytest.raises(LagoError, match="is no ISO image"):
        engine.vm.add_iso(str(path))
    with pytest.raises(LagoError, match=r"no-such.iso can't be read: No such file"):
        engine.vm.add_iso("no-such.iso")
    assert engine.state.of("disks") == {}


def test_no_storage_is_told(engine: StandIn, image: Path) -> None:
    engine.state.of("storagedomains").clear()
    with pytest.raises(LagoError, match="no storage domain for data that is active"):
        iso.add(engine.vm, [], str(image), None, lambda _number: None)

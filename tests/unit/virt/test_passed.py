"""Which files of the host machines have."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from lago.paths import Paths
from lago.topology.given import Share
from lago.topology.model import Disk, Domain, TemplateImage
from lago.virt import passed


def qcow2(path: Path, below: str = "") -> Path:
    """The beginning of an image that lies over another one."""
    name = below.encode()
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 104 if name else 0, len(name), 16, 1 << 20)
    path.write_bytes(head.ljust(100, b"\0") + struct.pack(">I", 104) + name + bytes(512))
    return path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(str(tmp_path / "prefix"))
    Path(made.images()).mkdir(parents=True)
    Path(made.virt()).mkdir()
    return made


def machine(*disks: Disk, shares: tuple[Share, ...] = ()) -> Domain:
    return Domain(name="vm0", memory=512, vcpu=2, nics=(), disks=disks, shares=shares, mgmt_net=None)


def disk(path: str, format: str = "qcow2", template: TemplateImage | None = None) -> Disk:
    kind = "template" if template else "file"
    return Disk(name="d", type=kind, dev="vda", format=format, path=path, serial="1", template=template)  # type: ignore[arg-type]


def files(domain: Domain, paths: Paths) -> dict[str, bool]:
    return {one.path: one.writable for one in passed.files([domain], paths)}


def test_disks_and_shares_are_written_to_and_what_is_below_is_read(tmp_path: Path, paths: Paths) -> None:
    base = qcow2(tmp_path / "base", str(qcow2(tmp_path / "bottom")))
    own = qcow2(tmp_path / "own", "base")
    image = TemplateImage(id="a:b:1", path="/store/t", format="qcow2", metadata={"kernel": "/store/k", "initrd": "/i"})
    vm0 = machine(
        disk("images/root", template=image),
        disk(str(own)),
        disk("/dev/sdz", "raw"),
        disk("/cd.iso", "iso"),
        shares=(Share(path="/share", tag="tag"),),
    )
    found = files(vm0, paths)
    assert {path for path, writable in found.items() if writable} == {str(own), "/dev/sdz", "/share"}
    read = {path for path, writable in found.items() if not writable}
    assert read == {str(base), str(tmp_path / "bottom"), "/store/t", "/store/k", "/i", "/cd.iso"}


def test_what_a_guest_writes_into_its_image_later_shows_it_nothing(tmp_path: Path, paths: Paths) -> None:
    base = qcow2(tmp_path / "base")
    root = qcow2(Path(paths.images("root")), str(base))
    assert files(machine(disk("images/root")), paths) == {str(base): False}
    qcow2(root, "/etc/shadow")
    qcow2(Path(paths.images("other")), "/etc/shadow")
    assert files(machine(disk("images/root")), paths) == {str(base): False}


def test_what_a_guest_wrote_on_a_raw_disk_is_no_header(tmp_path: Path, paths: Paths) -> None:
    qcow2(tmp_path / "theirs", "/etc/shadow")
    qcow2(Path(paths.images("own")), "/etc/shadow")
    vm0 = machine(disk(str(tmp_path / "theirs"), "raw"), disk("images/own", "raw"))
    assert files(vm0, paths) == {str(tmp_path / "theirs"): True}


def test_images_of_the_prefix_itself_are_not_passed(paths: Paths) -> None:
    qcow2(Path(paths.images("root")), paths.images("base"))
    qcow2(Path(paths.images("base")))
    assert files(machine(disk("images/root")), paths) == {}


def test_images_that_lie_over_each_other_in_a_circle_end(tmp_path: Path, paths: Paths) -> None:
    qcow2(tmp_path / "a", str(tmp_path / "b"))
    qcow2(tmp_path / "b", str(tmp_path / "a"))
    shutil.copy(tmp_path / "a", paths.images("root"))
    assert set(files(machine(disk("images/root")), paths)) == {str(tmp_path / "a"), str(tmp_path / "b")}

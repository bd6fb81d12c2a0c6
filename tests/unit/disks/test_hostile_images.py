"""Images from elsewhere that name files of this host are refused, by whichever way they come."""

from __future__ import annotations

import ast
import gzip
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.disks import ova
from lago.disks import qemu_img as disks
from lago.errors import DiskError, HostError, LagoError
from lago.templates import TemplateRepository, TemplateStore, backing
from lago.templates.choose import Chooser
from lago.templates.local import import_image
from lago.topology.model import Disk

from .. import hostile
from ..hostile import qemu_img
from ..web import Web, serving
from .test_ova import _archive, _ovf

MIB = 1 << 20


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as web:
        yield web


class Doors:
    """The ways in which an image comes; each raises LagoError, or returns the path of what is used then."""

    def __init__(self, place: Path, web: Web) -> None:
        self.place = place
        self.web = web
        self.store = TemplateStore(str(place / "store"))

    def url(self, image: Path) -> str:
        """A disk with a `url`."""
        (self.place / "images").mkdir()
        os.link(image, self.web.root / "image")
        source = f"{self.web.url}/image"
        disk = Disk(name="d", type="file", dev="vda", format="qcow2", path="images/d", serial="1", source=source)
        disks.create(disk, str(self.place))
        return str(self.place / "images" / "d")

    def _repository(self, kind: str, **args: str) -> str:
        dom = {
            "name": "r",
            "sources": {"s": {"type": kind, "args": args}},
            "templates": {"t": {"versions": {"1": {"source": "s", "handle": "image", "timestamp": 1}}}},
        }
        return self.store.ensure(TemplateRepository(dom).get_by_name("t").get_version()).path

    def http(self, image: Path) -> str:
        """A repository on a server."""
        os.link(image, self.web.root / "image")
        return self._repository("http", baseurl=self.web.url)

    def packed(self, image: Path) -> str:
        """The same, packed."""
        (self.web.root / "image").write_bytes(gzip.compress(image.read_bytes()))
        return self._repository("http", baseurl=self.web.url)

    def file(self, image: Path) -> str:
        """A repository in a directory."""
        os.link(image, self.web.root / "image")
        return self._repository("file", root=str(self.web.root))

    def imported(self, image: Path) -> str:
        """`lago template import`."""
        return str(Path(self.store.path) / import_image(self.store, str(image), "t", "1"))

    def appliance(self, image: Path) -> str:
        """The disk in an OVA."""
        archive = _archive(self.place / "ova", {"a.ovf": _ovf(), "disk.vmdk": image.read_bytes()})
        ova.unpack(archive, str(self.place / "made"))
        return str(self.place / "made")

    def export(self, image: Path) -> str:
        """`template_type: qcow2`."""
        repository = TemplateRepository({"name": "r", "sources": {}, "templates": {}})
        return backing.image(str(image), Chooser(repository, self.store)).path


DOORS = [name for name in vars(Doors) if not name.startswith("_")]


@pytest.fixture
def doors(tmp_path: Path, web: Web) -> Doors:
    return Doors(tmp_path, web)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(hostile.SECRET)
    return path


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of strangers, and the secret that they are after."""
    place = tmp_path_factory.mktemp("theirs")
    (place / "secret").write_bytes(hostile.SECRET)
    for kind, make in hostile.IMAGES.items():
        (place / kind).mkdir()
        make(place / kind / "image", place / "secret")
    return place


def _files(place: Path) -> set[Path]:
    return {path for path in place.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


@pytest.mark.programs
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", hostile.IMAGES)
def test_an_image_that_is_not_its_file_alone_is_refused(doors: Doors, theirs: Path, kind: str, door: str) -> None:
    image = doors.place / "image"
    os.link(theirs / kind / "image", image)
    with pytest.raises(LagoError) as caught:
        getattr(doors, door)(image)
    assert caught.value.hint
    assert _files(doors.place) <= {image, doors.web.root / "image", doors.place / "ova"}
    assert (theirs / "secret").read_bytes() == hostile.SECRET


@pytest.mark.programs
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", ["plain", "2 TiB", "with snapshots"])
def test_an_honest_image_is_taken(doors: Doors, kind: str, door: str) -> None:
    image = doors.place / "image"
    qemu_img("create", "-q", "-f", "qcow2", image, "2T" if kind == "2 TiB" else "1M")
    if kind == "with snapshots":
        qemu_img("snapshot", "-c", "s", image)
    path = getattr(doors, door)(image)
    assert disks.info(path, "qcow2")["virtual-size"] == (2 << 40 if kind == "2 TiB" else MIB)


@pytest.mark.programs
def test_what_a_data_file_holds_can_not_be_had_even_when_qemu_img_would_open_it(doors: Doors, secret: Path) -> None:
    image = doors.place / "image"
    hostile.IMAGES["a data file"](image, secret)
    read = ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=64k", "count=1", f"if={image}", f"of={doors.place}/got"]
    subprocess.run(read, check=True)
    # So the image of these tests is a real one.
    assert (doors.place / "got").read_bytes().startswith(hostile.SECRET[:100])
    with pytest.raises(DiskError, match=re.escape(f"has its data in another file, {str(secret)!r}")):
        disks.accept(str(image), "it")


def test_how_an_image_begins_is_known_without_a_program(tmp_path: Path) -> None:
    """No program that opens what the header names is started before the header is read."""
    image = tmp_path / "image"
    head = bytearray(65536)
    head[:8] = b"QFI\xfb\0\0\0\3"
    head[72:80] = (4).to_bytes(8, "big")
    head[100:104] = (104).to_bytes(4, "big")
    image.write_bytes(head)
    with pytest.raises(DiskError, match="has its data in another file"):
        disks.accept(str(image), "it")


# --- exports of others


@pytest.mark.programs
class TestExports:
    def test_a_backing_file_beside_or_below_is_taken_and_examined_too(self, doors: Doors, secret: Path) -> None:
        place = doors.place / "export"
        (place / "base").mkdir(parents=True)
        hostile.overlay(place / "top", "base/lower", "qcow2")
        qemu_img("create", "-q", "-f", "qcow2", place / "base" / "lower", "1M")
        assert doors.export(place / "top") == str(place / "top")
        for kind in ("a data file", "an overlay of a file", "encrypted"):
            hostile.IMAGES[kind](place / "base" / "lower", secret)
            with pytest.raises(LagoError, match=f"{place}/base/lower"):
                doors.export(place / "top")

    def test_a_link_to_a_file_elsewhere_is_no_backing_file(self, doors: Doors, secret: Path) -> None:
        place = doors.place / "export"
        place.mkdir()
        hostile.overlay(place / "top", "lower", "raw")
        (place / "lower").symlink_to(secret)
        with pytest.raises(LagoError, match="neither below its own directory nor in the store"):
            doors.export(place / "top")

    def test_nothing_is_linked_to_outside_of_the_directory(self, doors: Doors) -> None:
        place = doors.place / "export"
        place.mkdir()
        hostile.overlay(place / "top", "../t:1", "raw")
        with pytest.raises(LagoError, match="neither below its own directory nor in the store"):
            doors.export(place / "top")
        assert not (doors.place / "t:1").is_symlink()

    def test_a_backing_file_of_no_format_or_another_is_told(self, doors: Doors) -> None:
        place = doors.place / "export"
        place.mkdir()
        qemu_img("create", "-q", "-f", "qcow2", place / "lower", "1M")
        hostile.overlay(place / "top", "lower")
        with pytest.raises(LagoError, match="does not say of which format") as caught:
            doors.export(place / "top")
        subprocess.run(shlex.split(caught.value.hint), check=True)
        doors.export(place / "top")
        hostile.overlay(place / "top", "lower", "vmdk")
        with pytest.raises(LagoError, match="of the format vmdk, not raw or qcow2"):
            doors.export(place / "top")

    def test_what_is_used_as_raw_may_begin_like_anything(self, doors: Doors, secret: Path) -> None:
        place = doors.place / "export"
        place.mkdir()
        hostile.IMAGES["an overlay of a file"](place / "lower", secret)
        hostile.overlay(place / "top", "lower", "raw")
        doors.export(place / "top")

    def test_a_link_is_no_kernel_and_no_initrd(self, doors: Doors, secret: Path) -> None:
        image = doors.place / "image"
        qemu_img("create", "-q", "-f", "qcow2", image, "1M")
        (doors.place / "image.initrd").symlink_to(secret)
        with pytest.raises(LagoError, match="is a link, and might be any file"):
            doors.export(image)


# --- what takes more than an honest one


@pytest.mark.programs
class TestImagesThatAskForMore:
    def test_one_that_asks_for_memory_does_not_get_it(self, tmp_path: Path) -> None:
        image = tmp_path / "image"
        hostile.huge_map(image)
        with pytest.raises(DiskError, match="it is damaged") as caught:
            disks.accept(str(image), "it", formats=("vdi",))
        assert "allocate memory" in caught.value.details

    def test_one_that_never_ends_is_ended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(disks, "_WORKING", 2)
        image = tmp_path / "image"
        hostile.bomb(image, b"\0")
        assert disks.accept(str(image), "it") == "qcow2"
        with pytest.raises(DiskError, match="cannot copy") as caught:
            disks.convert(str(image), "qcow2", str(tmp_path / "copy"), "qcow2")
        assert "it was ended: it took 2 s of a processor" in caught.value.details
        assert "more than an honest image" in caught.value.hint
        assert os.listdir(tmp_path) == ["image"]

    def test_one_that_would_fill_the_disk_leaves_room_and_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(disks, "_room", lambda _directory: 8 * MIB)
        image = tmp_path / "image"
        hostile.bomb(image, b"lago")
        with pytest.raises(HostError, match="no space left"):
            disks.convert(str(image), "qcow2", str(tmp_path / "copy"), "qcow2")
        assert os.listdir(tmp_path) == ["image"]

    def test_an_image_leaves_room_to_others(self, tmp_path: Path) -> None:
        free = os.statvfs(tmp_path)
        assert 0 < disks._room(str(tmp_path)) < free.f_bavail * free.f_frsize


# --- no format is ever guessed


def test_no_call_of_qemu_img_is_without_a_format() -> None:
    """One function runs qemu-img, and it puts the format first."""
    found = []
    for path in sorted(Path(disks.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List) and any(
                isinstance(one, ast.Constant) and one.value == "qemu-img" for one in node.elts
            ):
                found.append((path.name, ast.unparse(node)))
    assert found == [("qemu_img.py", "['qemu-img', command, '-f', format, *arguments]")]


@pytest.mark.programs
def test_every_image_that_qemu_img_is_told_of_has_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those below: each `-b` and `-B` comes with a `-F`."""
    log = tmp_path / "log"
    real = subprocess.run(["which", "qemu-img"], capture_output=True, check=True, text=True).stdout.strip()
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "qemu-img"
    shim.write_text(f'#!/bin/sh\n{{ printf \'%s\\t\' "$@"; echo; }} >>{shlex.quote(str(log))}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    base, top, packed = (str(tmp_path / name) for name in ("base", "top", "packed"))
    disks.create_empty(base, MIB)
    disks.create_overlay(top, base, "qcow2")
    disks.convert_onto(top, packed, base, "qcow2", "./base", compress=True)
    disks.convert(packed, "qcow2", str(tmp_path / "raw"), "raw", compress=False)
    disks.rebase(top, base, "qcow2")
    # One that only reads writes nothing anywhere, not even to our log.
    disks.accept(base, "it")
    assert [*disks.chain(top, "qcow2")] == [top, base]
    calls = log.read_text().splitlines()
    assert len(calls) >= 8
    for call in calls:
        words = call.split("\t")
        assert words[1] == "-f"
        assert words[2] in disks.FORMATS
        assert words.count("-F") == words.count("-b") + words.count("-B"), call


@pytest.mark.programs
def test_programs_of_libguestfs_are_told_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lago.guestfs import customize, programs
    from lago.paths import Paths

    ran: list[list[str]] = []
    monkeypatch.setattr(programs, "run_program", lambda argv, **_more: ran.append([*argv]))
    build = ({"virt-customize": {"run": ["x"]}},)
    disk = Disk(name="d", type="file", dev="vda", format="raw", path="images/d", serial="1", build=build)
    customize.build(disk, Paths(str(tmp_path)), str(tmp_path))
    (argv,) = ran
    assert argv[argv.index("-a") - 2 :][:2] == ["--format", "raw"]

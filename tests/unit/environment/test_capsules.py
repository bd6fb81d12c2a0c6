"""Capsules: what they are called, what goes for want of room, and what of a stranger's file is taken."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lago.environment import facts
from lago.environment.capsule import about, archive, description, hosts, packing, shelf, unpacking
from lago.environment.capsule.about import About, Inside
from lago.environment.snapshots.index import Index, Saved, Snapshot
from lago.errors import LagoError
from lago.host.locks import lock_file
from lago.paths import Paths
from lago.topology import state
from lago.topology.model import Disk, Domain, Topology

UUID = "0123456789abcdef" * 2
MIB = 1 << 20


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where capsules are."""
    monkeypatch.setenv("LAGO_CAPSULE_DIR", str(tmp_path / "kept"))
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(hosts, "here", lambda: {"QEMU": "7.2"})
    return tmp_path / "kept"


def domain(**more: Any) -> Domain:
    disk = Disk(name="root", type="empty", dev="vda", format="raw", path="images/vm0_root.raw", serial="1", size=MIB)
    return Domain(**{"name": "vm0", "nics": (), "disks": (disk,), "mgmt_net": None, **more})


def make(test: str = "test_x.py::test_y", **more: Any) -> str:
    """Make a capsule of a machine that was down, with a raw disk."""
    with shelf.new(about.name_of(test)) as (place, called):
        paths = Paths(os.path.join(place, "default"))
        for directory in (paths.images(), paths.virt(), paths.logs()):
            os.makedirs(directory)
        Path(paths.images("vm0_root.raw")).write_bytes(os.urandom(MIB) + bytes(MIB))
        for name in ("id_rsa", "id_rsa.pub"):
            Path(paths.prefix(), name).write_text("key")
        Path(paths.uuid()).write_text(os.urandom(16).hex())
        Path(paths.prefix_lagofile()).touch()
        facts.save(paths, {"libvirt_url": "private", "libvirt_uuid": UUID})
        state.save(paths, Topology(domains={"vm0": domain(**more)}, nets={}))
        index = Index()
        saved = {"vm0": Saved(disks={"root": "images/vm0_root.raw"})}
        index.snapshots = {about.SNAPSHOT: Snapshot(name=about.SNAPSHOT, created=1.0, vms=saved)}
        index.current = about.SNAPSHOT
        index.save(paths)
        about.save(place, About(test, 1.0, {"QEMU": "7.2"}, {"default": Inside({"vm0": "down"})}))
    return called[0]


def quiet(_total: int) -> Callable[[int], object]:
    return lambda _moved: None


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("tests/a/test_x.py::TestIt::test_y[a/b]", "test_x-TestIt-test_y-a-b"),
        ("test_x.py::test_y[../../etc/passwd]", "test_x-test_y-..-..-etc-passwd"),
        ("test_x.py::test[\\u00fc\n;rm -rf]", "test_x-test-u00fc-rm-rf"),
        ("-o", "o"),
        ("...", "test"),
    ],
)
def test_names_are_made_of_the_test_and_are_safe(test: str, name: str) -> None:
    assert about.name_of(test) == name


@given(st.text(max_size=300))
def test_any_test_has_a_name_that_can_be_given_back(test: str) -> None:
    found = about.name_of(test)
    assert re.fullmatch(about.NAME, found)
    assert re.fullmatch(about.NAME, about.unique(found, {found, f"{found}-2"}))


@given(st.text(st.characters(codec=None), max_size=300))
def test_what_is_kept_of_any_test_can_be_read_again(test: str) -> None:
    kept = About(about.line(test + "\n\x1b\ud800"), 1.0, {}, {"default": Inside({"vm0": "down"})})
    assert about.read(json.loads(json.dumps(kept.plain()))) == kept


def test_two_of_one_test_have_two_names_and_what_is_damaged_can_be_deleted(home: Path) -> None:
    assert [make(), make()] == ["test_x-test_y", "test_x-test_y-2"]
    (home / "test_x-test_y" / about.FILE).write_text("{")
    assert [one.name for one in shelf.all_of_them()] == ["test_x-test_y-2"]
    shelf.delete("test_x-test_y")
    assert shelf.names() == ["test_x-test_y-2"]
    for wrong in ("../kept/test_x-test_y-2", ".", "", "test_x-test_y"):
        with pytest.raises(LagoError, match="there is no capsule"):
            shelf.delete(wrong)


def test_a_failure_while_one_is_made_leaves_nothing(home: Path) -> None:
    def half() -> None:
        with shelf.new("x") as (place, _):
            Path(place, "half").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert os.listdir(home) == [".lock"]


def test_what_a_killed_command_left_goes_and_what_is_under_way_stays(home: Path) -> None:
    make()
    left, under_way = home / ".lago-unfinished-dead", home / ".lago-unfinished-alive"
    for place in (left, under_way):
        place.mkdir()
        (place / "half").touch()
    with lock_file(str(under_way / ".lock"), what="it"):
        shelf.prune()
    assert not left.exists()
    assert under_way.exists()


def test_own_and_shared_bytes_and_what_goes_first(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old, new = make("old"), make("new")
    os.utime(home / old, (1, 1))
    image = home / new / "default" / "images" / "vm0_root.raw"
    (tmp_path / "elsewhere").hardlink_to(image)
    size = shelf.sizes([str(home / new)])[str(home / new)]
    assert size.shared == image.stat().st_blocks * 512
    assert size.own < size.shared
    monkeypatch.setenv("LAGO_CAPSULE_LIMIT", "3")
    with shelf.reading(old):
        assert shelf.prune() == []
    assert [name for name, _ in shelf.prune()] == [old]


def test_one_that_is_open_stays_until_what_was_opened_is_gone(home: Path, tmp_path: Path) -> None:
    name = make()
    opened = tmp_path / "opened"
    opened.mkdir()
    (opened / "uuid").write_text(UUID)
    directory = home / name / "opened"
    directory.mkdir()
    (directory / UUID).write_text(str(opened))
    assert shelf.prune(everything=True) == []
    (opened / "uuid").unlink()
    assert [gone for gone, _ in shelf.prune(everything=True)] == [name]


def test_another_host_is_told_of_before_anything_is_done() -> None:
    hosts.check("it", {"QEMU": "7.2"}, "remedy")
    with pytest.raises(LagoError) as caught:
        hosts.check("it", {"QEMU": "10.0", "processor": "x"}, "remedy")
    assert "another QEMU and processor" in caught.value.what
    assert "QEMU: 10.0 then, 7.2 here" in caught.value.details


def exported(tmp_path: Path, **more: Any) -> Path:
    path = tmp_path / "it.capsule"
    packing.export(make(**more), str(path), quiet)
    return path


def test_what_is_exported_is_imported_the_same_and_only_its_owner_reads_the_file(home: Path, tmp_path: Path) -> None:
    moved: list[int] = []
    path = tmp_path / "it.capsule"
    name = make()
    packing.export(name, str(path), lambda _total: moved.append)
    assert path.stat().st_mode & 0o777 == 0o600
    assert sum(moved) > 2 * MIB
    assert sorted(os.listdir(tmp_path)) == ["it.capsule", "kept"]
    with pytest.raises(LagoError, match="exists already"):
        packing.export(name, str(path), quiet)
    again = unpacking.import_(str(path), quiet, restrict=True)
    assert again == f"{name}-2"
    images = [home / one / "default" / "images" / "vm0_root.raw" for one in (name, again)]
    assert images[0].read_bytes() == images[1].read_bytes()
    # Zeros are a hole.
    assert images[1].stat().st_blocks * 512 < 2 * MIB
    assert (home / again / "default" / "id_rsa").stat().st_mode & 0o777 == 0o600
    assert shelf.get(again).about.imported
    assert shelf.get(again).prefix("default").topology.domains["vm0"].disks[0].path == "images/vm0_root.raw"


def test_deploy_scripts_and_images_of_a_host_are_left_behind(tmp_path: Path) -> None:
    path = exported(tmp_path, metadata={"deploy-scripts": ["/etc/passwd"], "note": 1})
    found = shelf.get(unpacking.import_(str(path), quiet)).prefix("default").topology.domains["vm0"]
    assert found.metadata == {"note": 1}


def rewritten(
    tmp_path: Path, head: Callable[[dict[str, Any]], None], files: Callable[[dict[str, bytes]], None]
) -> Path:
    """Write an archive as a stranger would, of whatever he likes, with checksums that are right."""
    path = exported(tmp_path)
    with path.open("rb") as file:
        reader = archive.Reader(file, "it")
        parts = tmp_path / "parts"
        reader.unpack(lambda name: str(_made(parts / name)), 1 << 30, lambda _: None)
    content = {name: (parts / name).read_bytes() for name in reader.files}
    new_head = {key: value for key, value in reader.head.items() if key != "files"}
    files(content)
    head(new_head)
    for number, name in enumerate(content):
        (tmp_path / f"part{number}").write_bytes(content[name])
    odd = tmp_path / "odd.capsule"
    paths = {name: str(tmp_path / f"part{number}") for number, name in enumerate(content)}
    with archive.appearing(str(odd)) as file:
        archive.write(file, new_head, paths, lambda _: None)
    return odd


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _same(_value: Any) -> None:
    pass


def _file(name: str, data: bytes = b"x") -> Callable[[dict[str, bytes]], None]:
    return lambda content: content.update({name: data})


def _without(name: str) -> Callable[[dict[str, bytes]], None]:
    def changed(content: dict[str, bytes]) -> None:
        del content[name]

    return changed


def _in_json(name: str, change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def changed(content: dict[str, bytes]) -> None:
        found = json.loads(content[name])
        change(found)
        content[name] = json.dumps(found).encode()

    return changed


def _vm(**more: Any) -> Callable[[dict[str, bytes]], None]:
    return _in_json("default/virt/vm-vm0", lambda raw: raw.update(more))


def _disk(**more: Any) -> Callable[[dict[str, bytes]], None]:
    return _in_json("default/virt/vm-vm0", lambda raw: raw["disks"][0].update(more))


def _saved(**more: Any) -> Callable[[dict[str, bytes]], None]:
    return _in_json("default/virt/snapshots", lambda raw: raw["snapshots"][0]["vms"]["vm0"].update(more))


def _with_memory(**more: Any) -> Callable[[dict[str, bytes]], None]:
    """Something else of a machine, in an archive that has a file with memory."""

    def changed(content: dict[str, bytes]) -> None:
        content["default/snapshots/0.vm0.mem"] = b"memory"
        _saved(**more)(content)

    return changed


def _image(**more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda head: head["images"]["default"]["images/vm0_root.raw"].update(more)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], Callable[[dict[str, bytes]], None], str]] = {
    "way out": (_same, _file("default/../../escaped"), "can't be a file of a capsule"),
    "absolute": (_same, _file("/tmp/escaped"), "can't be a file of a capsule"),
    "hidden": (_same, _file("default/images/.x"), "can't be a file of a capsule"),
    "scripts": (_same, _file("default/scripts/run.sh"), "can't be a file of a capsule"),
    "faults": (_same, _file("default/virt/faults", b"{}"), "can't be a file of a capsule"),
    "hypervisor": (_same, _file("default/virt/hypervisor"), "can't be a file of a capsule"),
    "other environment": (_same, _file("other/images/x"), "can't be a file of a capsule"),
    "template": (_same, _file("templates/0"), "is a file of no template"),
    "key missing": (_same, _without("default/id_rsa"), "default/id_rsa is missing"),
    "version": (lambda head: head.update(version=2), _same, "of version 2"),
    "name": (lambda head: head.update(name="../x"), _same, "expected the name of a capsule"),
    "environment name": (
        lambda head: head["about"]["environments"].update({"../x": {"machines": {}, "faults": []}}),
        _same,
        "expected the name of an environment",
    ),
    "share": (_same, _vm(shares=[{"path": "/", "tag": "x"}]), "shares directories of a host"),
    "plugin": (_same, _vm(**{"vm-provider": "other"}), "a plugin runs vm0"),
    "other name": (_same, _vm(name="../vm0"), "is called otherwise"),
    "disk of the host": (_same, _disk(path="/dev/sda"), "is not its own"),
    "disk elsewhere": (_same, _disk(path="$LAGO_PREFIX_PATH/images/../../../x"), "is not its own"),
    "disk of a template": (
        _same,
        _disk(template={"id": "a:b:c", "path": "/etc/shadow", "format": "raw"}),
        "a template that is not told of",
    ),
    "CD of the host": (_same, _disk(format="iso", path="$LAGO_PREFIX_PATH/images/x.iso"), "images/x.iso is missing"),
    "bridge": (
        _same,
        lambda content: content.update(
            {
                "default/virt/env": b'{"nets": ["n"], "vms": ["vm0"]}',
                "default/virt/net-n": b'{"name": "n", "type": "bridge", "management": false, "mapping": {}}',
            }
        ),
        "is a bridge of a host",
    ),
    "saved disk": (_same, _saved(disks={"root": "/etc/shadow"}), "the image /etc/shadow of the disk root is missing"),
    "nvram": (_same, _saved(nvram="/etc/shadow"), "can't be the nvram"),
    "memory": (_same, _with_memory(memory="/dev/mem", state="/dev/mem"), "can't be the memory"),
    "half of memory": (_same, _with_memory(memory="snapshots/0.vm0.mem"), "is not in two files"),
    "format": (_image(format="qcow2"), _same, "two formats"),
    "odd format": (_image(format="vmdk"), _same, "expected raw or qcow2"),
    "over itself": (_image(format="qcow2", over="images/vm0_root.raw"), _same, "lies over itself"),
    "over what": (_image(format="qcow2", over="/etc/shadow"), _same, "which is not there"),
    "over no template": (_image(format="qcow2", over=3), _same, "a template that is not told of"),
    "image of the host": (
        lambda head: head["images"]["default"].update({"/etc/shadow": {"format": "raw", "over": None}}),
        _same,
        "the image /etc/shadow is missing",
    ),
    "uuid": (_same, _in_json("default/metadata", lambda raw: raw.update(libvirt_uuid="../x")), "no libvirt_uuid"),
    "other snapshot": (
        _same,
        _in_json("default/virt/snapshots", lambda raw: raw["snapshots"][0].update(name="x")),
        "other snapshots than failure",
    ),
    "deep": (_same, _file("default/virt/env", b"[" * 100_000), "is damaged"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(what: str, home: Path, tmp_path: Path) -> None:
    head, files, said = HOSTILE[what]
    path = rewritten(tmp_path, head, files)
    before = sorted(os.listdir(home))
    with pytest.raises(LagoError) as caught:
        unpacking.import_(str(path), quiet)
    assert said in caught.value.render()
    assert sorted(os.listdir(home)) == before
    assert not (tmp_path / "escaped").exists()


def test_a_libvirt_of_the_archive_is_not_used_and_a_backing_format_is_told(tmp_path: Path) -> None:
    url = _in_json("default/metadata", lambda raw: raw.update(libvirt_url="qemu+ssh://evil/", template_store="/etc"))
    name = unpacking.import_(str(rewritten(tmp_path, _same, url)), quiet)
    metadata = shelf.get(name).prefix("default").metadata
    assert metadata["libvirt_url"] == "private"
    assert metadata["template_store"] == str(tmp_path / "store")


def test_a_template_that_is_missing_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    one = {"id": "lago:mini:7", "path": "/x", "format": "qcow2", "metadata": {}, "sha256": "0" * 64, "extras": {}}
    path = rewritten(tmp_path, lambda head: head.update(templates=[{**one, "bundled": False}]), _same)
    with pytest.raises(LagoError) as caught:
        unpacking.import_(str(path), quiet)
    assert "needs the template lago:mini:7" in caught.value.what
    assert "lago template fetch mini:7" in caught.value.hint
    assert "--standalone" in caught.value.hint


def test_more_than_may_be_taken_of_the_disk_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(tmp_path, _same, _file("default/images/more", os.urandom(2 * MIB)))
    monkeypatch.setenv("LAGO_CAPSULE_LIMIT", "2")
    before = sorted(os.listdir(home))
    with pytest.raises(LagoError, match="more of the disk than capsules may"):
        unpacking.import_(str(path), quiet)
    assert sorted(os.listdir(home)) == before


def _tar(*members: tarfile.TarInfo) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for one in members:
            tar.addfile(one, io.BytesIO(bytes(one.size)))
    return zstandard.compress(data.getvalue())


def _link() -> tarfile.TarInfo:
    info = tarfile.TarInfo(archive.HEAD)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"
    return info


def _large() -> tarfile.TarInfo:
    info = tarfile.TarInfo(archive.HEAD)
    info.size = 17 * MIB
    return info


@pytest.mark.parametrize(
    "data",
    [b"", b"text", zstandard.compress(b""), zstandard.compress(b"text" * 1000), _tar(), _tar(_link()), _tar(_large())],
)
def test_what_is_no_archive_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(data)
    with pytest.raises(LagoError, match="is no sound capsule"):
        unpacking.import_(str(tmp_path / "odd"), quiet)


def test_one_that_is_cut_off_or_changed_is_refused_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    data = exported(tmp_path).read_bytes()
    plain = bytearray(zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read())
    plain[plain.index(b"key") + 1] ^= 1
    before = sorted(os.listdir(home))
    for wrong in (data[: len(data) // 2], data[:-20], zstandard.compress(bytes(plain))):
        (tmp_path / "odd").write_bytes(wrong)
        with pytest.raises(LagoError, match="is no sound capsule"):
            unpacking.import_(str(tmp_path / "odd"), quiet)
    assert sorted(os.listdir(home)) == before


XML = """<domain type='qemu'><name>01234567-vm0</name><memory>1</memory><metadata/>
<os><type machine='q35'>hvm</type>{os}</os><devices><emulator>/bin/sh</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/there/images/x'/>
<target dev='vda' bus='virtio'/></disk>
<interface type='network'><source network='n' bridge='b'/><script path='/bin/sh'/><rom file='/etc/shadow'/></interface>
<serial type='pty'><source path='/dev/pts/1'/><log file='/there/x'/></serial>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<graphics type='vnc' port='1'><listen type='address' address='127.0.0.1'/></graphics>
{devices}</devices>{root}</domain>"""


def described(tmp_path: Path, **more: str) -> ET.Element:
    """The description of a machine after it was looked at."""
    path = tmp_path / "0.vm0.state"
    text = XML.format(**{"os": "", "devices": "", "root": "", **more}).encode()
    path.write_bytes(b"%d\n" % len(text) + text + b"stream")
    files = {"/there/x.kernel": "/here/x.kernel"}
    description.rewrite(str(path), UUID, domain(), Paths(str(tmp_path)), files, "true")
    length, _, rest = path.read_bytes().partition(b"\n")
    assert rest[int(length) :] == b"stream"
    return ET.fromstring(rest[: int(length)])


def test_a_description_has_nothing_of_another_host_left(tmp_path: Path) -> None:
    found = described(tmp_path, os="<kernel>/there/x.kernel</kernel>")
    assert found.findtext("os/kernel") == "/here/x.kernel"
    assert str(found.findtext("devices/emulator")).endswith("/true")
    assert [one.attrib for one in found.iterfind("devices/disk/source")] == [{"file": str(tmp_path / "images" / "x")}]
    assert [one.attrib for one in found.iterfind("devices/interface/source")] == [{"network": "n"}]
    assert not found.findall("devices/interface/script")
    assert not found.findall("devices/interface/rom"), "the guest reads its ROM, which may be any file"
    assert not found.findall("devices/serial/source")


@pytest.mark.parametrize(
    ("where", "xml", "said"),
    [
        ("os", "<kernel>/etc/shadow</kernel>", "of no template"),
        ("os", "<loader>/tmp/x</loader>", "its firmware"),
        ("os", "<init>/bin/sh</init>", "<init>"),
        ("root", "<idmap/>", "<idmap>"),
        ("root", "<sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/></sysinfo>", "of the type fwcfg"),
        ("root", "<sysinfo type='smbios'/><sysinfo type='fwcfg'/>", "of the type fwcfg"),
        ("devices", "<input type='evdev'><source dev='/dev/input/event0'/></input>", "input of the host: evdev"),
        ("devices", "<input type='passthrough'><source evdev='/dev/x'/></input>", "input of the host: passthrough"),
        ("devices", "<filesystem/>", "<filesystem>"),
        ("devices", "<hostdev mode='subsystem' type='usb'/>", "<hostdev>"),
        ("devices", "<disk type='block'><source dev='/dev/sda'/><target dev='vda'/></disk>", "no file"),
        ("devices", "<disk type='file'><source file='/etc/shadow'/><target dev='vdb'/></disk>", "not its own"),
        ("devices", "<interface type='bridge'><source bridge='br0'/></interface>", "a net of the host"),
        ("devices", "<serial type='file'><source path='/etc/x'/></serial>", "a serial that is a file"),
        ("devices", "<channel type='spicevmc'/>", "spicevmc"),
        ("devices", "<rng><backend model='random'>/etc/shadow</backend></rng>", "random numbers"),
        ("devices", "<graphics type='vnc'><listen type='address' address='0.0.0.0'/></graphics>", "its screen"),
        ("devices", "<graphics type='vnc'><listen type='socket' socket='/x'/></graphics>", "its screen"),
    ],
)
def test_a_description_that_leads_to_the_host_is_refused(tmp_path: Path, where: str, xml: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        described(tmp_path, **{where: xml})


def test_words_for_qemu_itself_are_dropped(tmp_path: Path) -> None:
    words = "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='-x'/></q:commandline>"
    assert not [one for one in described(tmp_path, root=words) if one.tag.startswith("{")]

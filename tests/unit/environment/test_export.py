"""Exports: the init file says the same again, images hold all layers, and what fails leaves nothing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lago.disks import qemu_img
from lago.environment import export
from lago.environment.export import images
from lago.environment.export.initfile import text
from lago.errors import DiskError, LagoError, TemplateError
from lago.host.locks import lock_file
from lago.host.programs import run
from lago.initfile import document, parse
from lago.templates import TemplateRepository, TemplateStore, backing
from lago.templates.choose import Chooser
from lago.topology import resolve
from lago.topology.model import Disk, TemplateImage, Topology

ENVIRONMENT = """
domains:
  web:
    memory: 96
    vcpu: 1
    nics: [{net: front}, {net: back, ip: 192.168.210.9}, {net: wire}]
    disks:
      - {template_name: t}
      - {type: empty, size: 64M, format: raw, name: data, dev: vdx}
      - {path: /images/tools.iso}
      - {size: 1G, skip-export: true}
    metadata: {deploy-scripts: [one.sh], ovirt-scripts: [two.sh], keep: {this: "1.10"}}
    groups: [a, b]
    artifacts: [/var/log/x y]
    root-password: "0123"
    firmware: uefi
    cpu_custom: {"@mode": host-passthrough}
    shares: [{path: /src, tag: src}]
    files: {/etc/motd: {content: hi}, /etc/run: {content: x, mode: "755"}}
  left-out: {skip-export: true, nics: [{net: front}]}
nets:
  front: {management: true, dhcp: {start: 100, end: 150}, dns_domain_name: lab.example, dns_records: {www: web}}
  back: {type: isolated, ipv6: false, mtu: 9000}
  wire: {type: bridge}
"""


def resolved(source: str, layered: dict[str, TemplateImage] | None = None) -> Topology:
    wanted = parse.parse(document.loads(source, "LagoInitFile"))
    known: dict[tuple[str, str | None], TemplateImage] = {
        ("t", None): TemplateImage(id="r:t:1", path="/store/r:t:1", format="qcow2", metadata={"distro": "d"})
    }
    return resolve.resolve(
        wanted, uuid="0" * 32, templates=known, layered=layered, variables={"LAGO_INITFILE_PATH": "/export"}
    )


@pytest.mark.parametrize("out_format", ["yaml", "json"])
def test_the_init_file_of_an_export_makes_the_same_machines(out_format: str) -> None:
    before = resolved(ENVIRONMENT)
    web = before.domains["web"]
    written = text([web], before.nets.values(), images.plan([web]), out_format)
    root = TemplateImage(id="root", path="/export/web_root.qcow2", format="qcow2")
    after = resolved(written, layered={"$LAGO_INITFILE_PATH/web_root.qcow2": root})
    assert list(after.domains) == ["web"]
    again = after.domains["web"]
    assert replace(again, disks=(), shares=web.shares, metadata=web.metadata) == replace(web, disks=())
    assert again.metadata == {"keep": {"this": "1.10"}}
    assert [(disk.name, disk.dev, disk.type, disk.format) for disk in again.disks] == [
        ("root", "vda", "template", "qcow2"),
        ("data", "vdx", "file", "raw"),
        ("disk2", "sda", "file", "iso"),
    ]
    assert again.disks[1].source == "/export/web_data.raw"
    kept = {name: replace(net, mapping={}) for name, net in before.nets.items()}
    assert {name: replace(net, mapping={}) for name, net in after.nets.items()} == kept


def test_the_init_file_of_an_export_says_how_large_machines_are() -> None:
    plain = resolved("domains: {vm0: {}}").domains["vm0"]
    written = yaml.safe_load(text([plain], [], [], "yaml"))["domains"]["vm0"]
    assert (written["memory"], written["vcpu"]) == (plain.memory, plain.vcpu)


def test_an_init_file_in_another_format_is_refused() -> None:
    with pytest.raises(LagoError, match="an init file can't be xml"):
        text([], [], [], "xml")


def test_a_raw_disk_is_packed_as_a_qcow2() -> None:
    web = resolved(ENVIRONMENT).domains["web"]
    assert [one.name for one in images.plan([web], compress=True)] == [
        "web_root.qcow2",
        "web_data.qcow2",
        "web_disk2.iso",
    ]


def test_only_listing_writes_nothing_and_names_the_disks_as_they_are() -> None:
    web = resolved(ENVIRONMENT).domains["web"]
    assert export.sources([web], "/prefix") == {
        "web": ["/prefix/images/web_root.qcow2", "/prefix/images/web_data.raw", "/images/tools.iso"]
    }


def _write(path: Path, at: str, word: str) -> None:
    run(["qemu-io", "-f", "qcow2", "-c", f"write -P {word} {at} 64k", str(path)])


def _holds(path: Path, at: str, word: str) -> bool:
    return b"Pattern verification failed" not in run(["qemu-io", "-c", f"read -P {word} {at} 64k", str(path)]).out


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    """A store with the template `r:t:1`, which has two megabytes and a kernel."""
    repository = _repository(tmp_path)
    made = TemplateStore(str(tmp_path / "store"))
    made.ensure(repository.get_by_name("t").get_version())
    return made


def _repository(tmp_path: Path, seed: str = "0x11") -> TemplateRepository:
    root = tmp_path / f"images{seed}"
    root.mkdir(exist_ok=True)
    qemu_img.create_empty(str(root / "t"), 2 << 20)
    _write(root / "t", "0", seed)
    (root / "t.kernel").write_text("kernel")
    (root / "t.metadata").write_text(json.dumps({"distro": "d"}))
    dom = {
        "name": "r",
        "sources": {"s": {"type": "file", "args": {"root": str(root)}}},
        "templates": {"t": {"versions": {"1": {"source": "s", "handle": "t", "timestamp": 1}}}},
    }
    return TemplateRepository(dom)


@pytest.fixture
def image(tmp_path: Path, store: TemplateStore) -> images.Image:
    """A disk over the template, with three layers that each hold something."""
    template = store.image_at(f"{store.path}/r:t:1")
    assert template is not None
    below, format = template.path, template.format
    for number in range(3):
        path = tmp_path / "prefix" / "images" / f"{number}.qcow2"
        path.parent.mkdir(parents=True, exist_ok=True)
        qemu_img.create_layer(str(path), below, format, 2 << 20)
        _write(path, f"{(number + 1) * 256}k", f"0x{number + 2}")
        below, format = path.name, "qcow2"
    disk = Disk(
        name="root", type="template", dev="vda", format="qcow2", path="images/2.qcow2", serial="1", template=template
    )
    return images.Image("vm0", disk, "qcow2")


@pytest.mark.programs
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("standalone", [False, True])
def test_an_image_holds_what_all_layers_do(
    tmp_path: Path, image: images.Image, store: TemplateStore, standalone: bool, compress: bool
) -> None:
    place = tmp_path / "export"
    place.mkdir()
    images.write(image, str(tmp_path / "prefix"), str(place), standalone=standalone, compress=compress)
    images.write_extras([image], str(place))
    written = place / "vm0_root.qcow2"
    found = backing.image(str(written), Chooser(_repository(tmp_path), store))
    assert found.metadata["distro"] == "d"
    assert Path(found.metadata["kernel"]).read_text() == "kernel"
    assert Path(found.metadata["kernel"]).is_relative_to(place if standalone else store.path)
    assert (qemu_img.info(str(written), "qcow2").get("backing-filename") is None) is standalone
    assert all(_holds(written, f"{n * 256}k", word) for n, word in enumerate(("0x11", "0x2", "0x3", "0x4", "0")))
    assert run(["sha256sum", str(written)]).out.decode().split()[0] == (place / f"{written.name}.hash").read_text()[:-1]


@pytest.mark.programs
def test_no_other_file_of_this_host_is_exported_as_kernel_or_initrd(
    tmp_path: Path, image: images.Image, store: TemplateStore, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    assert image.disk.template is not None
    (tmp_path / "store" / "r:t:1.kernel-efi").symlink_to(secret)
    told = {**image.disk.template.metadata, "initrd": str(secret), "kernel-efi": f"{store.path}/r:t:1.kernel-efi"}
    hostile = replace(image.disk, template=replace(image.disk.template, metadata=told))
    place = tmp_path / "export"
    place.mkdir()
    images.write(image._replace(disk=hostile), str(tmp_path / "prefix"), str(place), standalone=True, compress=False)
    images.write_extras([image._replace(disk=hostile)], str(place))
    ends = {name.removeprefix("vm0_root.qcow2") for name in os.listdir(place)}
    assert ends == {"", ".hash", ".metadata", ".kernel"}
    assert f"{secret} is left out" in caplog.text


@pytest.mark.programs
def test_an_image_over_another_template_of_the_same_name_is_refused(
    tmp_path: Path, image: images.Image, store: TemplateStore
) -> None:
    place = tmp_path / "export"
    place.mkdir()
    images.write(image, str(tmp_path / "prefix"), str(place), standalone=False, compress=False)
    other = Chooser(_repository(tmp_path, "0x99"), TemplateStore(str(tmp_path / "other")))
    with pytest.raises(TemplateError, match="was exported over another r:t:1 than the one that is here") as caught:
        backing.image(str(place / "vm0_root.qcow2"), other)
    assert "--standalone" in caught.value.hint


@pytest.mark.programs
def test_an_image_that_can_not_be_read_leaves_nothing(tmp_path: Path, image: images.Image) -> None:
    (tmp_path / "prefix" / "images" / "1.qcow2").unlink()
    target = tmp_path / "export"
    with (
        pytest.raises(DiskError),
        export._place(str(target), ["LagoInitFile"]) as place,
    ):
        images.write(image, str(tmp_path / "prefix"), place, standalone=True, compress=False)
    assert not target.exists()


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "LagoInitFile").write_text("mine")
    with (
        pytest.raises(LagoError, match="LagoInitFile exists already"),
        export._place(str(tmp_path), ["a.qcow2", "LagoInitFile"]),
    ):
        pass
    assert os.listdir(tmp_path) == ["LagoInitFile"]
    assert (tmp_path / "LagoInitFile").read_text() == "mine"


def test_what_a_killed_export_left_goes_but_not_what_another_one_makes(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".lago-export-1", tmp_path / ".lago-export-2"
    for path in (dead, alive):
        path.mkdir()
    with (
        lock_file(str(alive / ".lock"), what="", timeout=0),
        export._place(str(tmp_path), ["LagoInitFile"]) as place,
    ):
        Path(place, "LagoInitFile").write_text("")
        assert not dead.exists()
        assert alive.exists()
    assert sorted(os.listdir(tmp_path)) == [".lago-export-2", "LagoInitFile"]


def test_machines_that_say_so_are_left_out() -> None:
    domains = resolved(ENVIRONMENT).domains
    assert export.select(domains.values()) == [domains["web"]]
    with pytest.raises(LagoError, match="no machine to export"):
        export.select([domains["left-out"]])


@pytest.mark.programs
def test_a_raw_disk_is_never_taken_for_what_the_guest_wrote_on_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s" * 512)
    (tmp_path / "images").mkdir()
    run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(tmp_path / "secret"), "-F", "raw", f"{tmp_path}/images/d"]
    )
    disk = Disk(name="d", type="empty", dev="vda", format="raw", path="images/d", serial="1")
    images.write(images.Image("vm0", disk, "raw"), str(tmp_path), str(tmp_path), standalone=True, compress=False)
    assert (tmp_path / "vm0_d.raw").read_bytes().startswith(b"QFI")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp/x"])
def test_the_name_of_the_init_file_is_no_path(name: str) -> None:
    class Down:
        def states(self) -> dict[str, str]:
            return {}

    with pytest.raises(LagoError, match="can't be the name of an init file"):
        export.export(
            Down(),  # type: ignore[arg-type]
            [],
            "/nonexistent",
            standalone=False,
            compress=False,
            init_file_name=name,
            out_format="yaml",
            threads=True,
        )


def test_what_belongs_to_an_image_is_left_alone_where_it_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "a.qcow2.metadata").write_text("mine")

    def make() -> None:
        with export._place(str(tmp_path), ["a.qcow2"]) as place:
            for name in ("a.qcow2", "a.qcow2.metadata"):
                Path(place, name).write_text("theirs")

    with pytest.raises(LagoError, match=r"a\.qcow2\.metadata exists already"):
        make()
    assert (tmp_path / "a.qcow2.metadata").read_text() == "mine"
    assert os.listdir(tmp_path) == ["a.qcow2.metadata"]


@pytest.mark.parametrize("linked", [1, 2], ids=["half", "whole"])
def test_an_export_killed_while_its_files_get_their_names_is_none_or_whole(tmp_path: Path, linked: int) -> None:
    dead = tmp_path / ".lago-export-1"
    dead.mkdir()
    names = ["a.qcow2", "LagoInitFile"]
    for number, name in enumerate(names):
        (dead / name).write_text("old")
        if number < linked:
            os.link(dead / name, tmp_path / name)
    (tmp_path / "mine").write_text("mine")

    def again() -> None:
        with export._place(str(tmp_path), names) as place:
            for name in names:
                Path(place, name).write_text("new")

    if linked == len(names):
        with pytest.raises(LagoError, match="exists already"):
            again()
    else:
        again()
    assert sorted(os.listdir(tmp_path)) == ["LagoInitFile", "a.qcow2", "mine"]
    assert (tmp_path / "a.qcow2").read_text() == ("old" if linked == len(names) else "new")


def test_files_of_an_export_that_fails_late_are_taken_back(tmp_path: Path) -> None:
    def make() -> None:
        with export._place(str(tmp_path / "out"), ["a.qcow2", "LagoInitFile"]) as place:
            Path(place, "a.qcow2").write_text("")

    with pytest.raises(FileNotFoundError):
        make()
    assert os.listdir(tmp_path) == []

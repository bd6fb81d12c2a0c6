"""Topology values as libvirt's XML, compared with golden files; `tests/libvirt_test` has libvirt check those."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from lago.topology.address import Address
from lago.topology.given import DhcpRange, Share
from lago.topology.model import Disk, Domain, Net, Nic, TemplateImage
from lago.virt import domain_xml as xml
from lago.virt import network_xml

GOLDEN = Path(__file__).parents[2] / "golden" / "xml"
UUID = "0123456789abcdef0123456789abcdef"
NETS = {"front": "0123-front", "back": "0123-back"}


def disk(number: int, template: TemplateImage | None = None, format_: str = "qcow2", dev: str = "") -> Disk:
    return Disk(
        name=f"disk{number}",
        type="template" if template else "empty",
        dev=dev or f"vd{'abcdef'[number]}",
        format=format_,  # type: ignore[arg-type]
        path=f"images/disk{number}",
        serial=str(number + 1),
        size=1 << 30,
        template=template,
    )


def domain(disks: tuple[Disk, ...], nets: tuple[str, ...] = ("front",)) -> Domain:
    nics = tuple(
        Nic(index=i, net=net, mac=f"54:52:c0:a8:c{8 + i}:02", ip=Address(f"192.168.20{i}.2"))
        for i, net in enumerate(nets)
    )
    return Domain(name="vm0", memory=512, vcpu=2, nics=nics, disks=disks, mgmt_net="front")


def image(**metadata: object) -> TemplateImage:
    return TemplateImage(id="lago:mini:1", path="/store/mini", format="raw", metadata=metadata)


def domain_xml(of: Domain, *, kvm: bool = False, seeds: tuple[str, ...] = (), oem_strings: tuple[str, ...] = ()) -> str:
    files = xml.DomainFiles(
        disks=tuple(f"/prefix/{one.path}" for one in of.disks),
        seeds=seeds,
        console_log="/prefix/logs/vm0.console.log",
        oem_strings=oem_strings,
        nvram="/prefix/images/vm0_nvram.fd",
    )
    return xml.domain_xml(of, name="01234567-vm0", uuid=UUID, files=files, kvm=kvm, nets=NETS)


def network(
    net: Net, addresses: tuple[str, ...], records: dict[str, list[str]], options: network_xml.NetworkOptions
) -> str:
    nics = [Nic(index=0, net=net.name, mac=f"54:52:c0:a8:c8:0{ip[-1]}", ip=Address(ip)) for ip in addresses]
    return network_xml.network_xml(
        net, name=f"0123-{net.name}", uuid=UUID, bridge="lago-0123456789", nics=nics, records=records, options=options
    )


def management(dhcp: DhcpRange | None, options: network_xml.NetworkOptions) -> str:
    mapping = {"vm0": "192.168.200.2", "vm0-front": "192.168.200.2", "vm1": "192.168.200.3"}
    records = {"192.168.200.2": ["vm0", "vm0-front"], "192.168.200.3": ["vm1"], "192.168.201.2": ["vm0-back"]}
    net = Net(name="front", type="nat", management=True, gw=Address("192.168.200.1"), dhcp=dhcp, mapping=mapping)
    return network(net, ("192.168.200.2", "192.168.200.3"), records, options)


def other() -> str:
    net = Net(
        name="back",
        type="nat",
        management=False,
        gw=Address("192.168.201.1"),
        dhcp=None,
        mapping={"vm0-back": "192.168.201.2"},
    )
    return network(net, ("192.168.201.2",), {"192.168.7.7": ["not used"]}, network_xml.NetworkOptions())


_DIRECT = image(kernel="/store/kernel", initrd="/store/initrd", cmdline="console=ttyS0", **{"guest-agent": False})

CASES = {
    "domain-direct-kernel": lambda: domain_xml(domain((disk(0, _DIRECT),)), seeds=("/prefix/images/vm0_seed.iso",)),
    "domain-boot-loader": lambda: domain_xml(
        domain((disk(0, image()), disk(1), disk(2, format_="raw")), ("front", "back")), kvm=True
    ),
    "domain-credentials": lambda: domain_xml(
        domain((disk(0, image(kernel="/store/kernel")),)), oem_strings=("io.systemd.credential:a=<&>", "two")
    ),
    "domain-bare": lambda: domain_xml(domain((), ())),
    "domain-firmware": lambda: domain_xml(
        replace(
            domain((disk(0, image(kernel="/store/kernel", **{"kernel-efi": "/store/kernel-efi"})),)),
            firmware="uefi",
            secure_boot=True,
            tpm=True,
            shares=(Share(path="/src", tag="src"),),
        )
    ),
    "network-management": lambda: management(
        None, network_xml.NetworkOptions(filtered=False, forwarders=("100.64.77.3",))
    ),
    "network-dhcp-filtered": lambda: management(DhcpRange(start=100, end=254), network_xml.NetworkOptions()),
    "network-other": other,
}


@pytest.mark.parametrize("name", CASES)
def test_xml_is_as_in_the_golden_file(name: str) -> None:
    root = ET.fromstring(CASES[name]())
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode") + "\n"
    path = GOLDEN / f"{name}.xml"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        pytest.fail(f"{path} was missing and is written; look at it")
    assert text == path.read_text()


def test_many_devices_are_left_to_libvirt_to_place() -> None:
    many = domain(tuple(disk(i % 6) for i in range(30)), ())
    root = ET.fromstring(domain_xml(many))
    assert not root.findall("devices/disk/address")


def test_seeds_come_after_all_disks() -> None:
    root = ET.fromstring(domain_xml(domain((disk(0), disk(2))), seeds=("/a", "/b")))
    targets = {one.find("source").get("file"): one.find("target").get("dev") for one in root.iter("disk")}  # type: ignore[union-attr]
    assert targets == {"/prefix/images/disk0": "vda", "/prefix/images/disk2": "vdc", "/a": "vdb", "/b": "vdd"}


def test_seeds_of_many_disks_go_on_behind_vdz() -> None:
    disks = tuple(disk(0, dev=f"vd{letter}") for letter in "abcdefghijklmnopqrstuvwxyz")
    root = ET.fromstring(domain_xml(domain(disks), seeds=("/a", "/b")))
    assert [one.get("dev") for one in root.iterfind("devices/disk/target")][-3:] == ["vdz", "vdaa", "vdab"]


def test_cds_find_names_beside_any_number_of_scsi_disks() -> None:
    disks = tuple(disk(0, dev=f"{bus}{letter}") for bus in ("hd", "sd") for letter in "abcdefghijklmnopqrstuvwxyz")
    root = ET.fromstring(domain_xml(domain(disks)))
    names = [one.get("dev") for one in root.iterfind("devices/disk/target")]
    assert len({*names}) == 52
    assert names[:2] == ["sdaa", "sdab"]


def test_a_block_device_of_the_host_is_no_file() -> None:
    vm0 = domain((Disk(name="d", type="file", dev="vda", format="raw", path="/dev/loop0", serial="1"),))
    files = xml.DomainFiles(disks=("/dev/loop0",), devices=frozenset({"/dev/loop0"}), console_log="/log")
    text = xml.domain_xml(vm0, name="01234567-vm0", uuid=UUID, files=files, kvm=False, nets=NETS)
    disk = ET.fromstring(text).find("devices/disk")
    assert disk is not None
    assert disk.get("type") == "block"
    assert [source.attrib for source in disk.iter("source")] == [{"dev": "/dev/loop0"}]


def test_an_object_has_one_uuid_for_ever() -> None:
    assert xml.object_uuid(UUID, "a") == xml.object_uuid(UUID, "a")
    assert len({xml.object_uuid(*pair) for pair in ((UUID, "a"), (UUID, "b"), ("f" * 32, "a"))}) == 3

"""What the keys of an init file come to, and defects of earlier releases that must not come back (D-nn)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from lago.errors import LagoError
from lago.topology.model import Topology
from lago.topology.names import bridge_name
from lago.virt import cpu, domain_xml, network_xml

from ..initfile.test_spec import mistakes, parsed
from ..topology.test_topology import UUID, resolved


def element(text: str, *, kvm: bool = False, **more: Any) -> ET.Element:
    """The domain element of vm0."""
    found = resolved(text, **more)
    vm = found.domains["vm0"]
    files = domain_xml.DomainFiles(disks=tuple(disk.path for disk in vm.disks), console_log="/log", nvram="/nvram")
    nets = {name: f"lib-{name}" for name in found.nets}
    return ET.fromstring(
        domain_xml.domain_xml(vm, name="x", uuid=UUID, files=files, kvm=kvm, nets=nets, specs=found.nets)
    )


def net_element(found: Topology, name: str, **options: Any) -> ET.Element:
    nics = [nic for vm in found.domains.values() for nic in vm.nics if nic.net == name]
    text = network_xml.network_xml(
        found.nets[name],
        name="n",
        uuid=UUID,
        bridge="b",
        nics=nics,
        records={"1.2.3.4": ["www"]},
        options=network_xml.NetworkOptions(**options),
    )
    return ET.fromstring(text)


def test_d20_prototypes_chain_and_merge_mappings() -> None:
    env = parsed(
        """
        prototypes:
          base: {memory: 64, vcpu: 4, metadata: {a: {b: 1, c: 2}, d: [1, 2]}}
          more: {based-on: base, memory: 128, groups: [web]}
        domains:
          vm0: {based-on: more, vcpu: 1, metadata: {a: {c: 3}, d: [4]}}
          vm1: {based-on: more}
        """
    )
    vm0, vm1 = env.domains["vm0"], env.domains["vm1"]
    assert (vm0.memory, vm0.vcpu, vm0.groups) == (128, 1, ("web",))
    assert vm0.metadata == {"a": {"b": 1, "c": 3}, "d": [4]}
    assert (vm1.vcpu, vm1.metadata) == (4, {"a": {"b": 1, "c": 2}, "d": [1, 2]})


def test_d20_a_mistake_in_a_prototype_is_told_once_and_where_it_stands() -> None:
    text = "prototypes: {p: {vcpu: 0}}\ndomains: {a: {based-on: p}, b: {based-on: p}}\n"
    assert [line.split(": ")[:2] for line in mistakes(text)] == [["LagoInitFile:1:24", "prototypes.p.vcpu"]]


def test_d33_a_processor_of_the_users_own() -> None:
    custom = "{'@mode': custom, model: {'@fallback': allow, '#text': Westmere}, feature: [{'@name': a}, {'@name': b}]}"
    found = element(f"domains: {{vm0: {{vcpu: 3, cpu_custom: {custom}}}}}").find("cpu")
    assert found is not None
    assert ET.tostring(found, encoding="unicode") == (
        '<cpu mode="custom"><model fallback="allow">Westmere</model><feature name="a" /><feature name="b" />'
        '<topology sockets="3" cores="1" threads="1" /></cpu>'
    )


@pytest.mark.parametrize(("vcpu", "cells"), [(1, 1), (2, 2), (3, 3), (4, 2), (6, 3), (7, 7), (8, 2), (12, 3), (10, 5)])
def test_d37_cells_of_memory_also_where_memory_is_left_out(vcpu: int, cells: int) -> None:
    found = element(f"domains: {{vm0: {{vcpu: {vcpu}}}}}", kvm=True).find("cpu")
    assert found is not None
    memory = [int(cell.attrib["memory"]) for cell in found.iter("cell")]
    assert found.attrib == {"mode": "host-passthrough"}
    assert cpu.cells(vcpu) == cells
    assert len(memory) == (cells if cells > 1 else 0)
    assert not memory or sum(memory) == 1024


def test_a_named_processor_may_run_guests_if_the_host_is_of_its_vendor(tmp_path: Any) -> None:
    (tmp_path / "x86_M.xml").write_text("<cpus><model name='M'><vendor name='Intel'/></model></cpus>")
    host = tmp_path / "cpuinfo"
    host.write_text("vendor_id : GenuineIntel\nflags\t: fpu vmx\n")
    assert cpu.nested_flag("M", str(tmp_path), str(host)) == "vmx"
    host.write_text("vendor_id : AuthenticAMD\nflags\t: fpu svm\n")
    assert cpu.nested_flag("M", str(tmp_path), str(host)) is None
    assert cpu.nested_flag("none", str(tmp_path), str(host)) is None
    assert element("domains: {vm0: {cpu_model: M}}", kvm=True).findtext("cpu/model") == "M"


def test_disks_are_on_the_bus_of_their_names() -> None:
    text = (
        "domains: {vm0: {machine: %s, disks: [{template_name: mini, size: 20G}, {size: 1G, dev: sdb}, "
        "{path: /cd.iso}, {path: b.iso, dev: hdc}]}}"
    )
    for machine, last in (("q35", ("sdz", "sata")), ("pc", ("hdc", "ide"))):
        disks = element(text % machine, variables={"LAGO_INITFILE_PATH": "/here"}).findall("devices/disk")
        targets = [(t.attrib["dev"], t.attrib["bus"]) for d in disks for t in d.findall("target")]
        assert targets == [("vda", "virtio"), ("sdb", "scsi"), ("sda", "scsi"), last]
        assert [d.attrib["device"] for d in disks] == ["disk", "disk", "cdrom", "cdrom"]
        assert [d.find("readonly") is not None for d in disks] == [False, False, True, True]
        assert disks[3].find("source[@file='/here/b.iso']") is not None
        assert disks[2].find("driver[@type='raw']") is not None


def test_firmware_tpm_and_shares() -> None:
    text = "domains: {vm0: {firmware: uefi, secure_boot: true, tpm: true, shares: [{path: ~/src, tag: src}]}}"
    found = element(text, variables={"HOME": "/home/x"})
    assert found.find("os[@firmware='efi']/firmware/feature[@name='secure-boot'][@enabled='yes']") is not None
    assert found.findtext("os/nvram") == "/nvram"
    assert found.find("features/smm[@state='on']") is not None
    assert found.find("devices/tpm/backend[@type='emulator']") is not None
    assert found.find("memoryBacking/access[@mode='shared']") is not None
    assert found.find("devices/filesystem/source[@dir='/home/x/src']") is not None


@pytest.mark.parametrize(("boot", "direct"), [("", True), ("boot: kernel, ", True), ("boot: disk, ", False)])
def test_a_machine_boots_from_the_kernel_of_its_template_or_from_its_disk(boot: str, direct: bool) -> None:
    text = f"domains: {{vm0: {{{boot}disks: [{{template_name: mini}}]}}}}"
    assert (element(text, metadata={"kernel": "/k"}).findtext("os/kernel") == "/k") is direct


@pytest.mark.parametrize(
    ("firmware", "metadata", "kernel"),
    [
        ("bios", {"kernel": "/k", "kernel-efi": "/e"}, "/k"),
        ("uefi", {"kernel": "/k", "kernel-efi": "/e"}, "/e"),
        ("uefi", {"kernel": "/k"}, "/k"),
        ("uefi", {}, None),
    ],
)
def test_uefi_firmware_gets_a_kernel_of_its_own(firmware: str, metadata: dict[str, str], kernel: str | None) -> None:
    text = f"domains: {{vm0: {{firmware: {firmware}, disks: [{{template_name: mini}}]}}}}"
    assert element(text, metadata=metadata).findtext("os/kernel") == kernel


def test_a_kernel_that_is_not_there_is_told() -> None:
    with pytest.raises(LagoError, match="vm0 shall boot from the kernel of its template, which has none"):
        resolved("domains: {vm0: {boot: kernel, disks: [{template_name: mini}]}}")


def test_d29_variables_in_paths_are_filled_in_by_us_and_must_be_there() -> None:
    text = "domains: {vm0: {disks: [{path: '$A/${B}.qcow2'}]}}"
    assert resolved(text, variables={"A": "/a b", "B": "c$d"}).domains["vm0"].disks[0].path == "/a b/c$d.qcow2"
    with pytest.raises(LagoError, match=r"the variable B in \$A/\$\{B\}.qcow2 is not set"):
        resolved(text, variables={"A": "/a"})


def test_a_file_is_used_in_place_or_copied() -> None:
    text = "domains: {vm0: {disks: [{path: /a.qcow2}, {path: /b.raw, make_a_copy: 1}]}}"
    in_place, copied = resolved(text).domains["vm0"].disks
    assert (in_place.path, in_place.source) == ("/a.qcow2", None)
    assert (copied.path, copied.source, copied.format) == ("images/vm0_disk1.raw", "/b.raw", "raw")


MIXED = """
domains:
  vm0: {nics: [{net: lab}, {net: wire}, {net: lab}, {net: data}]}
nets:
  data: {type: isolated, gw: 10.1.2.1}
  lab: {management: true, mtu: 9000, dns_domain_name: lab.example, dns_records: {www: web, web: vm0, six: "fd00::1"}}
  wire: {type: bridge}
"""


def test_d08_a_nic_on_a_bridge_has_no_address_but_always_the_same_mac() -> None:
    found = resolved(MIXED)
    nic = found.domains["vm0"].nics[1]
    assert (nic.ip, nic.ip6, found.nets["wire"].gw, found.nets["wire"].mapping) == (None, None, None, {})
    assert nic.mac == resolved(MIXED).domains["vm0"].nics[1].mac
    assert nic.mac.startswith("52:54:")
    root = net_element(found, "wire")
    assert [child.tag for child in root] == ["name", "uuid", "mac", "bridge"]
    assert net_element(found, "wire", own_bridge=True).find("forward[@mode='bridge']") is not None


def test_d10_a_bridge_is_not_taken_for_management_when_there_is_another_net() -> None:
    env = parsed("{domains: {}, nets: {a: {type: bridge}, b: {}}}")
    assert [net.management for net in env.nets.values()] == [False, True]
    assert parsed("domains: {}").nets == {}


def test_d09_nets_of_one_prefix_have_devices_of_their_own() -> None:
    names = {bridge_name(UUID, name, isolated=kind) for name in ("net-front1", "net-front2") for kind in (True, False)}
    assert len(names) == 4
    assert {len(name) for name in names} == {15}


def test_d11_nobody_gets_the_address_of_a_gateway_or_one_of_the_dynamic_range() -> None:
    text = "{domains: {vm0: {nics: [{net: a}]}}, nets: {a: {gw: 192.168.210.2, dhcp: {start: 3, end: 254}}}}"
    with pytest.raises(LagoError, match="no address left"):
        resolved(text)


def test_d30_a_gateway_outside_the_leased_range_is_as_good() -> None:
    assert resolved("{domains: {}, nets: {a: {gw: 172.20.1.9}}}").nets["a"].gw == "172.20.1.9"


def test_d51_a_file_without_nets_and_nics_is_fine_and_an_unknown_type_is_told() -> None:
    assert resolved("domains: {vm0: {}}").domains["vm0"].mgmt_net is None
    assert "expected nat or isolated or bridge" in mistakes("{domains: {}, nets: {a: {type: vpn}}}")[0]


def test_d61_an_mtu_that_is_the_default_is_not_mentioned() -> None:
    found = resolved("{domains: {vm0: {nics: [{net: a}]}}, nets: {a: {mtu: 1500}, b: {mtu: 1400}}}")
    assert net_element(found, "a").find("mtu") is None
    assert net_element(found, "b").find("mtu[@size='1400']") is not None
    assert net_element(resolved(MIXED), "lab").find("mtu[@size='9000']") is not None
    assert element(MIXED).find("devices/interface/mtu[@size='9000']") is not None


def test_records_lead_to_addresses_however_many_names_are_between() -> None:
    found = resolved(MIXED).nets["lab"]
    assert found.dns_records == {"www": "192.168.200.2", "web": "192.168.200.2", "six": "fd00::1"}


def test_guests_have_one_ipv6_address_by_dhcp_and_by_themselves() -> None:
    found = resolved(MIXED)
    first = found.domains["vm0"].nics[0]
    assert (found.nets["lab"].ipv6, first.ip6) == (
        "fd8f:1391:3a82:200",
        "fd8f:1391:3a82:200:5652:c0ff:fea8:c802",
    )
    assert found.nets["data"].ipv6 not in (None, found.nets["lab"].ipv6)
    host = net_element(found, "lab").find("ip[@family='ipv6']/dhcp/host")
    assert host is not None
    assert host.attrib == {"id": f"0:3:0:1:{first.mac}", "name": "vm0", "ip": first.ip6}
    for without in ("ipv6: false", "mtu: 1000"):
        assert resolved(f"{{domains: {{}}, nets: {{a: {{{without}}}}}}}").nets["a"].ipv6 is None


def test_an_isolated_net_forwards_nothing_and_asks_nobody() -> None:
    found = resolved(MIXED.replace("type: isolated", "type: isolated, management: true").replace("{net: data}", ""))
    root = net_element(found, "data")
    assert root.find("forward") is None
    assert any(option.get("value") == "no-resolv" for option in root.iter())
    assert net_element(found, "lab").find("forward[@mode='nat']") is not None


def test_a_password_of_the_configuration_is_for_those_that_have_none() -> None:
    text = "domains: {vm0: {root-password: own}, vm1: {disks: [{template_name: mini}]}, vm2: {}}"
    found = resolved(
        text, defaults={"root_password": "general", "vm_type": "other"}, metadata={"root-password": "template"}
    ).domains
    assert [vm.root_password for vm in found.values()] == ["own", "general", "general"]
    assert {vm.vm_type for vm in found.values()} == {"other"}


def test_spellings_of_earlier_releases() -> None:
    text = "domains: {a: {bootstrap: false}, b: {bootstrap: true}, c: {service_class: systemdcontainer, groups: web}}"
    a, b, c = parsed(text).domains.values()
    assert (a.bootstrap, b.bootstrap, c.service_provider, c.groups) == ("none", None, "systemd_container", ("web",))


def test_d06_an_address_that_is_given_twice_is_told_where_it_stands() -> None:
    text = """
nets: {lab: {gw: 192.168.200.1}}
domains:
  a: {nics: [{net: lab, ip: 192.168.200.7}]}
  b: {nics: [{net: lab, ip: 192.168.200.7}]}
"""
    (line,) = mistakes(text)
    assert line.startswith("LagoInitFile:5:")
    assert "192.168.200.7" in line
    assert "%" not in line


def test_d38_without_kvm_the_domain_is_emulated_on_a_machine_of_today() -> None:
    text = "domains: {vm0: {disks: [{path: /a.iso}, {size: 1G}]}}"
    emulated, accelerated = element(text), element(text, kvm=True)
    assert (emulated.get("type"), accelerated.get("type")) == ("qemu", "kvm")
    for found in (emulated, accelerated):
        assert str(found.find("os/type").get("machine")).startswith("q35")  # type: ignore[union-attr]
        assert found.find("devices/emulator") is None
        assert {disk.get("bus") for disk in found.iterfind("devices/disk/target")} == {"scsi", "virtio"}


def test_d45_a_group_may_be_a_text() -> None:
    a, b = parsed("domains: {a: {groups: web}, b: {groups: [web, db]}}").domains.values()
    assert (a.groups, b.groups) == (("web",), ("web", "db"))


def test_d52_names_are_whole_names() -> None:
    found = resolved("domains: {vm: {nics: [{net: lab}]}, vm-0: {nics: [{net: lab}]}}\nnets: {lab: {}}")
    mapping = found.nets["lab"].mapping
    assert mapping["vm"] != mapping["vm-0"]
    assert {name for name, ip in mapping.items() if ip == mapping["vm"]} == {"vm", "vm-eth0", "vm-lab", "vm-lab-0"}


def test_deploy_scripts_are_a_list_of_paths() -> None:
    text = "domains: {a: {metadata: {deploy-scripts: one.sh}}, b: {metadata: {deploy-scripts: [1], ovirt-scripts: a}}}"
    assert [line.partition(": ")[2] for line in mistakes(text)] == [
        'domains.a.metadata.deploy-scripts: expected a list of scripts such as [setup.sh], found text "one.sh"',
        "domains.b.metadata.deploy-scripts[0]: expected the path of a script, found the number 1",
        'domains.b.metadata.ovirt-scripts: expected a list of scripts such as [setup.sh], found text "a"',
    ]

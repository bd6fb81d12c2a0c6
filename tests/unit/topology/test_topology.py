"""Names, addresses and paths that follow from an init file."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lago.errors import LagoError
from lago.initfile import document, parse
from lago.topology import resolve, spec
from lago.topology.address import Address
from lago.topology.model import TemplateImage, Topology
from lago.topology.names import bridge_name, libvirt_domain_name, libvirt_net_name

UUID = "0123456789abcdef0123456789abcdef"
GOLDEN = Path(__file__).parents[2] / "golden" / "good"
ODD = GOLDEN.with_name("odd")
GOOD = sorted([*GOLDEN.glob("*.yaml"), GOLDEN / "one-net.json", *ODD.glob("*.yaml")])


def env_of(text: str) -> spec.EnvSpec:
    return parse.parse(document.loads(text, "LagoInitFile"))


def resolved(
    text: str, subnets: Mapping[str, str] | None = None, metadata: Mapping[str, Any] | None = None, **more: Any
) -> Topology:
    env = env_of(text)
    images = {
        (name, version): TemplateImage(
            id=f"local:{name}:{version or '1'}",
            path=f"/store/{name}",
            format="raw",
            metadata={"distro": name, **(metadata or {})},
        )
        for name, version in env.templates()
    }
    layered = {path: TemplateImage(id=path, path=path, format="qcow2") for path in env.layered()}
    leased = {net: Address(gw) for net, gw in (subnets or {}).items()}
    return resolve.resolve(env, uuid=UUID, templates=images, subnets=leased, layered=layered, **more)


def ips(found: Topology) -> dict[str, list[str | None]]:
    return {vm.name: [nic.ip for nic in vm.nics] for vm in found.domains.values()}


def plain(value: Any) -> Any:
    """A value for a golden file, without what is as by default, but for the size of machines and modes of files."""
    if dataclasses.is_dataclass(value):
        told = {}
        for one in dataclasses.fields(value):
            default = one.default_factory() if callable(one.default_factory) else one.default
            if getattr(value, one.name) != default or one.name in ("memory", "vcpu", "mode"):
                told[one.name] = plain(getattr(value, one.name))
        return told
    if isinstance(value, Mapping):
        return {key: plain(below) for key, below in value.items()}
    return [plain(below) for below in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_a_good_file_resolves_to_this_topology(path: Path) -> None:
    found = json.dumps(plain(resolved(path.read_text())), indent=2) + "\n"
    expected = path.with_name(f"{path.stem}.topology.json")
    if not expected.exists():
        expected.write_text(found)
        pytest.fail(f"{expected} was missing; it is written now: read it")
    assert found == expected.read_text()


def test_the_same_input_gives_the_same_topology() -> None:
    text = (GOLDEN / "three-vms.yaml").read_text()
    assert resolved(text) == resolved(text)


def test_free_addresses_avoid_gateway_static_addresses_and_dhcp_range() -> None:
    found = resolved(
        """
        domains:
          vm0: {nics: [{net: lab}, {net: lab}, {net: lab}]}
          vm1: {nics: [{net: lab, ip: 192.168.200.4}]}
        nets:
          lab: {gw: 192.168.200.2, dhcp: {start: 5, end: 200}}
        """
    )
    assert ips(found)["vm0"] == ["192.168.200.3", "192.168.200.201", "192.168.200.202"]


def test_what_programs_are_told_of_addresses_is_plain_text() -> None:
    text = "{domains: {vm0: {nics: [{net: lab}]}}, nets: {lab: {dns_records: {a: vm0, b: 10.0.0.1, c: 'fd00::1'}}}}"
    found = resolved(text)
    lab = found.nets["lab"]
    assert {type(one) for one in [*lab.mapping.values(), *lab.dns_records.values(), found.domains["vm0"].ip]} == {str}


def test_macs_follow_from_addresses() -> None:
    (nic,) = resolved("{domains: {vm0: {nics: [{net: lab}]}}, nets: {lab: }}").domains["vm0"].nics
    assert (nic.name, nic.ip, nic.mac) == ("eth0", "192.168.200.2", "54:52:c0:a8:c8:02")


def test_a_leased_subnet_keeps_the_last_number_of_static_addresses() -> None:
    found = resolved(
        "{domains: {vm0: {nics: [{net: lab, ip: 192.168.203.9}, {net: lab}]}}, nets: {lab: }}",
        subnets={"lab": "192.168.207.1"},
    )
    assert found.nets["lab"].gw == "192.168.207.1"
    assert ips(found)["vm0"] == ["192.168.207.9", "192.168.207.2"]


def test_a_leased_gateway_on_a_static_address_is_an_error() -> None:
    text = "{domains: {vm0: {nics: [{net: lab, ip: 192.168.203.9}]}}, nets: {lab: }}"
    with pytest.raises(LagoError, match=r"192.168.203.9 of vm0 would be 192.168.207.9 .* as is the gateway"):
        resolved(text, subnets={"lab": "192.168.207.9"})


def test_dns_knows_a_machine_by_its_name_and_each_nic_by_index_and_net() -> None:
    found = resolved(
        "{domains: {vm0: {nics: [{net: back}, {net: lab}, {net: back}]}}, nets: {lab: {management: true}, back: }}"
    )
    assert found.nets["lab"].mapping == {
        "vm0": "192.168.200.2",
        "vm0-eth1": "192.168.200.2",
        "vm0-lab": "192.168.200.2",
        "vm0-lab-0": "192.168.200.2",
    }
    assert found.nets["back"].mapping == {
        "vm0-eth0": "192.168.201.2",
        "vm0-back": "192.168.201.2",
        "vm0-back-0": "192.168.201.2",
        "vm0-eth2": "192.168.201.3",
        "vm0-back-1": "192.168.201.3",
    }
    assert found.domains["vm0"].ip == "192.168.200.2"


def test_more_nets_than_subnets_is_a_clear_error() -> None:
    nets = ", ".join(f"n{i}: " for i in range(57))
    with pytest.raises(LagoError, match="no subnet is left for the net n56") as caught:
        resolved(f"{{domains: {{}}, nets: {{{nets}}}}}")
    assert "gw:" in caught.value.hint


def test_a_full_net_is_a_clear_error() -> None:
    nics = ", ".join(["{net: lab}"] * 254)
    with pytest.raises(LagoError, match="the net lab has no address left for vm0"):
        resolved(f"{{domains: {{vm0: {{nics: [{nics}]}}}}, nets: {{lab: }}}}")


def test_libvirt_names() -> None:
    assert libvirt_domain_name(UUID, "vm0") == "01234567-vm0"
    assert libvirt_net_name(UUID, "ten-chars-") == "0123-ten-chars-"
    assert libvirt_net_name("4567" + UUID, "lago_functional_tests") == "4567-785d5195a1"


def test_bridges_of_nets_with_a_common_start_differ() -> None:
    names = {bridge_name(uuid, f"net-front{n}") for uuid in (UUID, UUID[::-1]) for n in range(100)}
    assert len(names) == 200
    assert {len(name) for name in names} == {15}


def test_nets_that_would_share_a_libvirt_name_are_refused() -> None:
    with pytest.raises(LagoError, match="would both be called 0123-785d5195a1"):
        resolved("{domains: {}, nets: {lago_functional_tests: , 785d5195a1: }}")


def test_a_thousand_machines_resolve_in_a_moment() -> None:
    nets = "".join(f"  n{i}: {{management: true}}\n" for i in range(20))
    vms = "".join(f"  vm{i}: {{nics: [{{net: n{i % 20}}}], disks: [{{size: 1G}}]}}\n" for i in range(1000))
    env = env_of(f"nets:\n{nets}domains:\n{vms}")
    spent = []
    for _ in range(3):
        began = time.process_time()
        found = resolve.resolve(env, uuid=UUID, templates={})
        spent.append(time.process_time() - began)
    assert min(spent) < 0.2
    assert len({nic.mac for vm in found.domains.values() for nic in vm.nics}) == 1000

"""Networks and what machines need, at libvirt's test driver."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lago import brctl
from lago.errors import HostError, HypervisorError, LagoError, VMError
from lago.hypervisor.shared import Shared
from lago.paths import Paths
from lago.topology import state
from lago.topology.address import Address
from lago.topology.model import Disk, Domain, Net, TemplateImage, Topology
from lago.virt import BridgeNetwork, IsolatedNetwork, NATNetwork, VirtEnv, preflight
from lago.virt.stuck import firmware_gave_up

UUID = "fedcba9876543210" * 2


class Home:
    def __init__(self, path: Path) -> None:
        self.paths = Paths(str(path))
        self.libvirt_uuid = UUID
        self.hypervisor = Shared("test:///default", UUID)
        self.topology = Topology(domains={}, nets={})

    def create_snapshots(self, name: str, *, vms: Any = ()) -> Any:
        raise NotImplementedError(name)

    def revert_snapshots(self, name: str, *, vms: Any = ()) -> None:
        raise NotImplementedError(name)

    def resume(self) -> None:
        raise NotImplementedError

    def fault(self, kind: str, *targets: str, **settings: Any) -> Any:
        raise NotImplementedError(kind)


def net(name: str, **more: Any) -> Net:
    values = {"type": "nat", "management": False, "gw": Address("10.9.8.1"), "dhcp": None, "mapping": {}, **more}
    return Net(name=name, **values)


@pytest.fixture
def env(tmp_path: Path) -> Iterator[VirtEnv]:
    nets = [
        net("lab", management=True, mapping={"vm0": "10.9.8.2"}, dns_records={"www": "10.9.8.2"}),
        net("data", type="isolated", gw=Address("10.9.7.1")),
        net("wire", type="bridge", gw=None),
    ]
    specs = {one.name: one for one in nets}
    home = Home(tmp_path)
    state.save(home.paths, Topology(domains={}, nets=specs))
    env = VirtEnv(home, {}, specs)
    yield env
    for one in env.get_nets().values():
        if not isinstance(one, BridgeNetwork):
            one.stop()
    env.close()


def test_nets_have_classes_by_type(env: VirtEnv) -> None:
    kinds = [type(one) for one in env.get_nets().values()]
    assert kinds == [NATNetwork, IsolatedNetwork, BridgeNetwork]
    assert [one.gw() for one in env.get_nets().values()] == ["10.9.8.1", "10.9.7.1", None]
    assert {type(one.gw()) for one in env.get_nets().values()} == {str, type(None)}
    assert env.get_net().is_management()


def test_a_net_starts_once_and_stops_once(env: VirtEnv) -> None:
    for name in ("lab", "data"):
        one = env.get_net(name)
        assert not one.alive()
        one.start()
        one.start()
        assert one.alive()
        one.stop()
        one.stop()
        assert not one.alive()


def test_names_are_resolved_added_and_kept(env: VirtEnv) -> None:
    lab = env.get_net("lab")
    assert (lab.resolve("vm0"), lab.resolve("www")) == ("10.9.8.2", "10.9.8.2")
    with pytest.raises(LagoError, match="net lab has no name x") as caught:
        lab.resolve("x")
    assert "vm0" in caught.value.hint
    lab.add_mapping("x", "10.9.8.3", save=False)
    assert lab.resolve("x") == "10.9.8.3"
    assert "x" not in state.load(env.paths).nets["lab"].mapping
    lab.add_mappings({"y": "10.9.8.4", "z": "10.9.8.5"})
    assert set(state.load(env.paths).nets["lab"].mapping) == {"vm0", "x", "y", "z"}


def test_d08_d39_a_bridge_is_there_before_its_net_and_goes_after_it_and_on_failure(
    env: VirtEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridges: set[str] = set()
    monkeypatch.setattr(brctl, "exists", lambda name: name in bridges)
    monkeypatch.setattr(brctl, "create", lambda name, _stp=True: bridges.add(name))
    monkeypatch.setattr(brctl, "destroy", bridges.remove)
    wire = env.get_net("wire")
    wire.start()
    assert bridges == {wire.bridge_name()}
    assert wire.alive()
    # The net is gone but the bridge is not: starting makes the net.
    super(BridgeNetwork, wire).stop()  # type: ignore[misc]
    wire.start()
    assert wire.alive()
    wire.stop()
    assert not bridges

    def refuse(*_: object) -> None:
        raise HypervisorError("no")

    monkeypatch.setattr("lago.virt.network.Network.start", refuse)
    with pytest.raises(HypervisorError, match="no"):
        wire.start()
    assert not bridges


def test_d54_a_host_that_would_lose_its_ipv6_route_is_explained(env: VirtEnv) -> None:
    said = HypervisorError("net lab does not start: internal error: Check the host setup: interface eth0 accept_ra")
    told = env.get_net("lab")._explain(said)
    assert "ipv6: false" in told.hint
    assert env.get_net("lab")._explain(HypervisorError("x")).hint == ""


MACHINE = Domain(name="vm0", memory=64, vcpu=1, nics=(), disks=(), mgmt_net=None)


@pytest.mark.parametrize(
    ("more", "message", "hint"),
    [
        ({"firmware": "uefi"}, "vm0 needs UEFI firmware", "ovmf"),
        ({"tpm": True}, "vm0 needs the program swtpm", "swtpm-tools"),
    ],
)
def test_what_the_host_lacks_is_told_with_its_package(
    more: dict[str, Any], message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_any", lambda _patterns: False)
    monkeypatch.setattr(preflight, "which", lambda _program: None)
    hypervisor = Shared("qemu:///system", UUID)
    preflight.check(MACHINE, hypervisor)
    with pytest.raises(HostError, match=message) as caught:
        preflight.check(replace(MACHINE, **more), hypervisor)
    assert hint in caught.value.hint


def test_uefi_firmware_needs_a_kernel_that_is_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kernel"
    template = TemplateImage(id="r:t:1", path="/t", format="qcow2", metadata={"kernel": str(path)})
    disk = Disk(
        name="root", type="template", dev="vda", format="qcow2", path="d", serial="1", size=None, template=template
    )
    machine = replace(MACHINE, disks=(disk,), firmware="uefi")
    monkeypatch.setattr(preflight, "_any", lambda _patterns: True)
    path.write_bytes(b"\x7fELF")
    with pytest.raises(VMError, match="vm0 has firmware: uefi, which can't start the kernel"):
        preflight.check(machine, Shared("qemu:///system", UUID))
    preflight.check(replace(machine, boot="disk"), Shared("qemu:///system", UUID))
    preflight.check(replace(machine, firmware="bios"), Shared("qemu:///system", UUID))
    preflight.check(machine, Shared("qemu+ssh://host/system", UUID))
    path.write_bytes(b"MZ")
    preflight.check(machine, Shared("qemu:///system", UUID))


def test_firmware_that_starts_nothing_is_understood() -> None:
    assert firmware_gave_up("BdsDxe: starting Boot0001\n") is None
    end = "BdsDxe: No bootable option or device was found.\n"
    assert firmware_gave_up(end) == "its UEFI firmware finds nothing to start"
    refused = "BdsDxe: failed to load Boot0001 from PciRoot(0x0): Access Denied\n"
    assert "secure_boot" in str(firmware_gave_up(refused + end))


def test_shares_need_a_directory_and_virtiofsd_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lago.topology.given import Share

    sharing = replace(MACHINE, shares=(Share(path=str(tmp_path / "x"), tag="x"),))
    with pytest.raises(VMError, match="its hypervisor is another"):
        preflight.check(sharing, Shared("qemu+ssh://host/system", UUID))
    monkeypatch.setattr(preflight, "_any", lambda _patterns: False)
    with pytest.raises(HostError, match="virtiofsd"):
        preflight.check(sharing, Shared("qemu:///system", UUID))
    monkeypatch.setattr(preflight, "_any", lambda _patterns: True)
    with pytest.raises(VMError, match="is no directory"):
        preflight.check(sharing, Shared("qemu:///system", UUID))

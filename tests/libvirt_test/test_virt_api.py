"""The documented names of `lago.virt`, on libvirt's test driver as far as that goes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import Prefix
from lago.errors import HostError, InitFileError, LagoError, PrefixError, VMNotFound
from lago.virt import VM, BridgeNetwork, NATNetwork, Network, ServiceState, VirtEnv

from ..unit.conftest import make_prefix


@pytest.fixture
def env(tmp_path: Path) -> Iterator[VirtEnv]:
    """An environment whose libvirt is the test driver."""
    path = make_prefix(tmp_path / "p")
    path.joinpath("metadata").write_text('{"libvirt_url": "test:///default"}')
    found = Prefix(str(path)).virt_env
    yield found
    found.close()


def test_machines_and_nets_are_had_by_name(env: VirtEnv) -> None:
    assert list(env.get_vms()) == ["vm0"]
    assert list(env.get_nets()) == ["lan"]
    assert env.get_net() is env.get_net("lan") is env.get_nets()["lan"]
    assert env.libvirt_con.getURI() == "test:///default"
    with pytest.raises(VMNotFound):
        env.get_vm("nobody")
    with pytest.raises(LagoError):
        env.get_net("nowhere")


def test_a_machine_tells_about_itself(env: VirtEnv) -> None:
    vm = env.get_vm("vm0")
    assert isinstance(vm, VM)
    assert (vm.name(), vm.ip(), vm.distro(), dict(vm.metadata)) == ("vm0", "192.168.200.2", None, {})
    assert [nic.net for nic in vm.nics()] == ["lan"]
    assert vm.root_password() in (None, "123456")
    assert not vm.alive()


def test_d44_an_initiator_has_the_name_of_its_machine_once(env: VirtEnv) -> None:
    assert env.get_vm("vm0").iscsi_name() == "iqn.2014-07.org.lago:vm0"


def test_an_environment_is_what_its_prefix_has_on_disk(env: VirtEnv) -> None:
    prefix = Prefix(env.paths.prefix())
    same = VirtEnv.from_prefix(prefix)
    assert same.get_vm("vm0").spec == env.get_vm("vm0").spec
    assert same.get_vm("vm0").virt_env() is same
    assert same.prefixed_name("vm0") == f"{prefix.uuid[:8]}-vm0"
    assert same.virt_path("vm-vm0") == f"{env.paths.prefix()}/virt/vm-vm0"


def test_what_was_changed_is_saved_with_the_environment_or_to_a_file(env: VirtEnv, tmp_path: Path) -> None:
    prefix = Prefix(env.paths.prefix())
    vm = prefix.virt_env.get_vm("vm0")
    vm.spec = dataclasses.replace(vm.spec, distro="debian12")
    vm.save(str(tmp_path / "copy"))
    assert json.loads((tmp_path / "copy").read_text())["distro"] == "debian12"
    assert Prefix(env.paths.prefix()).virt_env.get_vm("vm0").distro() is None
    vm.save()
    assert Prefix(env.paths.prefix()).virt_env.get_vm("vm0").distro() == "debian12"
    vm.spec = dataclasses.replace(vm.spec, distro="debian13")
    prefix.save()
    assert Prefix(env.paths.prefix()).virt_env.get_vm("vm0").distro() == "debian13"


def test_services_have_the_states_that_they_always_had() -> None:
    assert (ServiceState.MISSING, ServiceState.INACTIVE, ServiceState.ACTIVE) == (0, 1, 2)


def test_a_prefix_is_made_by_hand(tmp_path: Path) -> None:
    prefix = Prefix(str(tmp_path / "a" / "prefix"))
    prefix.initialize()
    with pytest.raises(PrefixError, match="exists already"):
        prefix.initialize()
    assert issubclass(PrefixError, RuntimeError)  # which earlier releases raised
    prefix.virt_conf({"domains": {"vm0": {"nics": [{"net": "lan"}], "disks": [{"size": "1M"}]}}, "nets": {"lan": {}}})
    assert Path(prefix.paths.images("vm0_root.qcow2")).exists()
    prefix.virt_env.bootstrap()
    prefix.virt_env.get_vm("vm0").bootstrap()
    assert prefix.status().machines["vm0"].state == "down"
    with pytest.raises(InitFileError, match="nics"):
        prefix.virt_conf({"domains": {"vm0": {"nics": [{"net": "wan"}]}}, "nets": {"lan": {}}})
    prefix.destroy()
    assert not (tmp_path / "a" / "prefix").exists()


def test_a_prefix_that_cannot_be_initialised_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="ssh-keygen"):
        Prefix(str(tmp_path / "prefix")).initialize()
    assert not (tmp_path / "prefix").exists()


def test_a_net_is_started_and_stopped(env: VirtEnv) -> None:
    net = env.get_net("lan")
    assert isinstance(net, NATNetwork)
    assert isinstance(net, Network)
    assert not isinstance(net, BridgeNetwork)
    assert (net.name(), net.gw(), net.is_management(), net.resolve("vm0")) == (
        "lan",
        "192.168.200.1",
        True,
        "192.168.200.2",
    )
    assert not net.alive()
    net.start()
    assert net.alive()
    net.stop()
    assert not net.alive()


def test_names_can_be_added_to_a_net_and_are_saved(env: VirtEnv) -> None:
    net = env.get_net("lan")
    net.add_mapping("more", "192.168.200.50", save=False)
    net.add_mappings({"most": "192.168.200.51"})
    net.save()
    assert Prefix(env.paths.prefix()).virt_env.get_net("lan").resolve("more") == "192.168.200.50"
    assert Prefix(env.paths.prefix()).virt_env.get_net("lan").resolve("most") == "192.168.200.51"

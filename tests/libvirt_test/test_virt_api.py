"""The documented names of `lago.virt`, on libvirt's test driver as far as that goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import Prefix
from lago.errors import LagoError, VMNotFound
from lago.virt import VM, BridgeNetwork, NATNetwork, Network, VirtEnv

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

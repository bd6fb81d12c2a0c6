"""Machines that somebody else made, and errors, with libvirt's own test driver, `test:///default`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from lago.hypervisor.shared import Shared
from lago.paths import Paths
from lago.topology.address import Address
from lago.topology.model import Domain, Net, Nic, Topology
from lago.topology.names import libvirt_domain_name
from lago.virt import VirtEnv

UUID = "0123456789abcdef0123456789abcdef"
NETS = {
    "front": Net(
        name="front",
        type="nat",
        management=True,
        gw=Address("192.168.210.1"),
        dhcp=None,
        mapping={"vm0": "192.168.210.2", "vm1": "192.168.210.3"},
    ),
    "back": Net(name="back", type="nat", management=False, gw=Address("192.168.211.1"), dhcp=None, mapping={}),
}
VMS = {
    name: Domain(
        name=name,
        memory=128,
        vcpu=1,
        nics=(Nic(index=0, net="front", mac=f"54:52:c0:a8:d2:0{number}", ip=Address(f"192.168.210.{number}")),),
        disks=(),
        mgmt_net="front",
    )
    for number, name in enumerate(("vm0", "vm1"), 2)
}
_PLAIN = "<domain type='test'><name>{}</name><memory>1024</memory><os><type>hvm</type></os></domain>"


class _Home:
    """A prefix as far as an environment asks for one."""

    def __init__(self, place: Path, url: str) -> None:
        self.paths = Paths(str(place))
        self.libvirt_uuid = UUID
        self.hypervisor = Shared(url, UUID)
        self.topology = Topology(domains={}, nets={})

    def create_snapshots(self, name: str, *, vms: Any = ()) -> Any:
        raise NotImplementedError(name)

    def revert_snapshots(self, name: str, *, vms: Any = ()) -> None:
        raise NotImplementedError(name)

    def resume(self) -> None:
        raise NotImplementedError

    def fault(self, kind: str, *targets: str, **settings: Any) -> Any:
        raise NotImplementedError(kind)


def _env(place: Path, url: str = "test:///default") -> VirtEnv:
    for directory in ("logs", "virt"):
        (place / directory).mkdir(exist_ok=True)
    (place / "id_rsa.pub").write_text("ssh-ed25519 AAAA lago\n")
    return VirtEnv(_Home(place, url), VMS, NETS)


@pytest.fixture
def env(tmp_path: Path) -> Iterator[VirtEnv]:
    """An environment whose libvirt is the test driver's; every connection is a world of its own."""
    made = _env(tmp_path)
    yield made
    made.close()


def test_a_machine_that_nobody_defined_has_states_and_is_stopped(env: VirtEnv) -> None:
    assert env.states() == {"vm0": "down", "vm1": "down"}
    domain = env.libvirt_con.createXML(_PLAIN.format(libvirt_domain_name(UUID, "vm0")))
    assert env.states() == {"vm0": "running", "vm1": "down"}
    domain.suspend()
    assert env.states()["vm0"] == "paused"
    assert env.get_vm("vm0").alive()
    env.get_vm("vm0").stop()
    assert env.states()["vm0"] == "down"


def test_somebody_elses_machines_are_not_ours(env: VirtEnv) -> None:
    env.libvirt_con.createXML(_PLAIN.format("fedcba98-vm0"))
    assert env.states() == {"vm0": "down", "vm1": "down"}
    assert not env.get_vm("vm0").alive()


def test_libvirts_errors_are_not_printed(env: VirtEnv, capfd: pytest.CaptureFixture[str]) -> None:
    assert env.get_vm("vm0").state() == "down"
    with pytest.raises(libvirt.libvirtError):
        env.libvirt_con.lookupByName("nobody")
    assert capfd.readouterr().err == ""
